/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests of a driver who negotiated any of the features of any dialect: header, payload, body, in
 * any segments, over 1 MiB of RAM and 4 slots, or with keys that come along. What the device must
 * not do: answer twice or not at all, write where it did not say so, give data with an error.
 */
#include "device/device.h"
#include "cipher/cipher.h"
#include "fuzz.h"
#include "virtio/blk.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"

#define SLOTS     4
#define SIZE      (1u << 20)
#define PARTS     8
#define REQUESTS  8
#define UNTOUCHED 0xe7

static struct engine *engine;
static struct store *store;
/* What the first byte of an input chooses: each function has the same window, one is used at a
 * time. */
#define DIALECTS  3
#define STRICT    1u
#define TRIMMED   2u
#define VIRTUAL   4u
#define READ_ONLY 8u
#define WRAP      16u
#define INLINE    32u
#define VARIANTS  64u
static struct ice_function *functions[DIALECTS * VARIANTS];

static struct ice_function *choose_function(unsigned number)
{
    unsigned variant = number / DIALECTS % VARIANTS;
    struct ice_function **function = &functions[number % (DIALECTS * VARIANTS)];
    const struct dialect *dialect = dialect_at(number % DIALECTS);
    bool keys_inline = variant & INLINE && dialect->keys_inline && !(variant & STRICT);
    const struct function_params params = {
        .name = "vm0",
        .dialect = dialect,
        .engine = engine,
        .first_slot = 1,
        .slots = keys_inline ? 0 : SLOTS - 1,
        .keys_inline = keys_inline,
        .store = store,
        .first_sector = 8,
        .sectors = SIZE / 512 - 16,
        .addressing = variant & VIRTUAL ? SLOTS_VIRTUAL : SLOTS_PHYSICAL,
        .strict = variant & STRICT,
        .trimmed_headers = variant & TRIMMED,
        .read_only = variant & READ_ONLY,
        .dun_bits = variant & WRAP ? 32 : 0,
        .on_overflow = variant & WRAP ? OVERFLOW_WRAP : OVERFLOW_REJECT,
    };
    struct ice_why why;
    if (!*function)
        HOLDS(!function_new(&params, function, &why));
    return *function;
}

static void start(void)
{
    struct ice_why why;
    HOLDS(!cipher_init(&why) && !engine_new(SLOTS, &engine, &why) &&
          !store_open_ram(SIZE, &store, &why));
}

/* The features that a driver has: those of the mask, in the order in which they are offered. */
static uint64_t choose(uint64_t offered, uint32_t mask)
{
    uint64_t chosen = VIRTIO_FEATURE(VIRTIO_F_VERSION_1);
    for (unsigned bit = 0, n = 0; bit < 64; bit++)
        if (offered & VIRTIO_FEATURE(bit) && mask & 1u << (n++ % 32))
            chosen |= VIRTIO_FEATURE(bit);
    return chosen;
}

static void negotiate(struct ice_attachment *attachment, uint32_t mask)
{
    static const uint8_t steps[] = {1, 3, 11, 15};
    struct ice_why why = {0};
    for (unsigned i = 0; i < sizeof(steps); i++) {
        if (steps[i] == 11)
            HOLDS(!attachment_set_features(attachment, choose(attachment_offered(attachment), mask),
                                           &why));
        attachment_set_status(attachment, steps[i], &why);
    }
}

struct submitted {
    struct ice_request request;
    unsigned done;
    size_t written;
    bool refused;
};

static void on_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct submitted *submitted = (struct submitted *)request;
    submitted->done++;
    submitted->written = written;
    submitted->refused = why;
    HOLDS(!why || (why->err > 0 && why->text[0]));
}

/* Cuts `len` bytes into parts, each in memory of its own; returns how many. */
static unsigned cut(struct input *input, size_t len, struct iovec parts[PARTS])
{
    unsigned n = 0;
    while (len && n < PARTS) {
        size_t part = n == PARTS - 1 ? len : input_byte(input);
        part = part > len || part == 255 ? len : part;
        parts[n++] = (struct iovec){malloc(part ? part : 1), part};
        HOLDS(parts[n - 1].iov_base);
        len -= part;
    }
    return n;
}

static void check(const struct submitted *submitted, const struct iovec *parts, unsigned n,
                  size_t writable)
{
    uint8_t status = UNTOUCHED;
    size_t touched = 0;
    HOLDS(submitted->done == 1);
    HOLDS(submitted->written <= 1 || submitted->written == writable);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *bytes = parts[i].iov_base;
        for (size_t k = 0; k < parts[i].iov_len; k++) {
            touched += bytes[k] != UNTOUCHED;
            status = bytes[k];
        }
    }
    if (submitted->written == 0)
        HOLDS(touched == 0 && submitted->refused);
    else
        HOLDS(status <= 2 && (status != 0) == submitted->refused);
    if (submitted->written == 1)
        HOLDS(touched == 1);
    HOLDS(submitted->written <= 1 || status == 0);
}

static void submit(struct ice_attachment *attachment, struct input *input)
{
    struct iovec readable[PARTS], writable[PARTS];
    struct submitted submitted = {.request = {.expect = EXPECT_ANY, .done = on_done}};
    uint8_t sizes = input_byte(input);
    size_t out = input_byte(input) + (sizes & 1 ? 512u << (sizes >> 5) : 0);
    size_t in = input_word(input) % (16384 + 2);
    unsigned nout, nin;
    submitted.request.queue = sizes & 2 ? input_byte(input) : 0;
    nout = cut(input, out, readable);
    nin = cut(input, in, writable);
    for (unsigned i = 0; i < nout; i++)
        for (size_t k = 0; k < readable[i].iov_len; k++)
            ((uint8_t *)readable[i].iov_base)[k] = input_byte(input);
    for (unsigned i = 0; i < nin; i++)
        memset(writable[i].iov_base, UNTOUCHED, writable[i].iov_len);
    submitted.request.readable = readable;
    submitted.request.nreadable = nout;
    submitted.request.writable = writable;
    submitted.request.nwritable = nin;
    device_submit(attachment, &submitted.request);
    check(&submitted, writable, nin, in);
    for (unsigned i = 0; i < nout; i++)
        free(readable[i].iov_base);
    for (unsigned i = 0; i < nin; i++)
        free(writable[i].iov_base);
}

/* Nothing outside the function's sectors and slots has changed. */
static void check_neighbours(void)
{
    uint8_t bytes[4096] = {1}; /* to be overwritten */
    struct ice_why why;
    for (unsigned end = 0; end < 2; end++) {
        struct iovec iov = {bytes, sizeof(bytes)};
        HOLDS(!store->ops->read(store, end ? SIZE - sizeof(bytes) : 0, &iov, 1, &why));
        for (size_t i = 0; i < sizeof(bytes); i++)
            HOLDS(bytes[i] == 0);
    }
    struct slot_info info;
    engine_slot_info(engine, 0, &info);
    HOLDS(!info.programmed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct ice_attachment *attachment;
    struct ice_function *function;
    struct ice_why why;
    uint32_t mask;
    if (!engine)
        start();
    function = choose_function(input_byte(&input));
    HOLDS(!attachment_open(function, NULL, NULL, &attachment, &why));
    mask = input_word(&input);
    mask |= (uint32_t)input_word(&input) << 16;
    negotiate(attachment, mask);
    for (unsigned i = 0; i < REQUESTS && input.left; i++)
        submit(attachment, &input);
    attachment_close(attachment);
    function_reset(function);
    check_neighbours();
    return 0;
}
