/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Data unit numbers at the end of their width: what each policy stores, unit by unit, as libcrypto
 * has it, whole and in parts that no data unit respects.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "libcrypto_ref.h"
#include "rig.h"
#include "tap.h"
#include "virtio/blk.h"
#include <errno.h>

#define UNIT    512u
#define UNITS   8u
#define BYTES   (UNIT * UNITS)
#define SECTORS 64u
#define SLOT    1u

static struct rig rig;
static struct ice_attachment *a;
static uint8_t plain[BYTES], expected[BYTES], media[BYTES], back[BYTES];

static void open_rig(const struct dialect *dialect, unsigned bits, enum overflow_policy policy)
{
    struct function_params params = {
        .dialect = dialect, .dun_bits = bits, .on_overflow = policy, .key_types = ICE_KEY_TYPE_RAW};

    rig_open_as(&rig, 2, SECTORS, NULL, params);
    a = rig_attach(&rig, RIG_ALL);
    for (unsigned i = 0; i < BYTES; i++)
        plain[i] = (uint8_t)(i * 5 + i / 512);
}

static void close_rig(void)
{
    attachment_close(a);
    rig_close(&rig);
}

static void read_media(void)
{
    struct iovec iov = {media, BYTES};

    rig.store->ops->read(rig.store, 0, &iov, 1, NULL);
}

/* The width that counts: a cipher's IV has no more than 128 bits. */
static unsigned effective(unsigned bits)
{
    return bits < 128 ? bits : 128;
}

/* 2^bits + offset, modulo 2^256. */
static struct dun near_end(unsigned bits, int offset)
{
    struct dun dun = {{0}};

    if (offset >= 0) {
        dun.limb[bits / 64] = UINT64_C(1) << bits % 64;
        dun_add(&dun, (unsigned)offset);
        return dun;
    }
    for (unsigned i = 0; i < 4; i++)
        dun.limb[i] = UINT64_MAX;
    dun_mask(&dun, bits);
    dun.limb[0] -= (unsigned)-offset - 1;
    return dun;
}

static struct command at_dun(struct command command, struct dun dun)
{
    command.tagged = true;
    command.slot = SLOT;
    command.dun = dun;
    return command;
}

/* What `n` units of `plain` from `from` on become at `dun`, which libcrypto counts in 128 bits. */
static void encrypt_as_libcrypto(const char *algorithm, unsigned from, unsigned n, ref_dun dun)
{
    uint8_t key[KEY_BYTES_MAX];

    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(7 + i);
    for (unsigned i = from; i < from + n; i++, dun++)
        if (!libcrypto_ref(algorithm_by_name(algorithm), UNIT, dun, key, true, plain + i * UNIT,
                           expected + i * UNIT, UNIT))
            ok(false, "libcrypto encrypts");
}

static ref_dun last_number(unsigned bits)
{
    return bits == 128 ? ~(ref_dun)0 : ((ref_dun)1 << bits) - 1;
}

/* Both ways: stored as expected, read back as sent. */
static void stored(const char *name, struct dun dun)
{
    struct command write = at_dun(rig_write(0), dun), read = at_dun(rig_read(0), dun);

    is_int(rig_run(a, &write, plain, BYTES, NULL, 0).status, 0, "%s: written", name);
    read_media();
    is_mem(media, expected, BYTES, "%s: as libcrypto has it", name);
    is_int(rig_run(a, &read, NULL, 0, back, BYTES).status, 0, "%s: read", name);
    is_mem(back, plain, BYTES, "%s: the plaintext", name);
}

static void refused(const char *name, struct dun dun, const char *text)
{
    static const uint8_t zeros[BYTES];
    struct command write = at_dun(rig_write(0), dun);
    struct answer answer = rig_run(a, &write, plain, BYTES, NULL, 0);

    ok(answer.status == VIRTIO_BLK_S_IOERR && answer.why.err == EOVERFLOW, "%s: refused", name);
    is_str(answer.why.text, text, "%s: why", name);
    read_media();
    is_mem(media, zeros, BYTES, "%s: the media is untouched", name);
}

static void test_width(const struct dialect *dialect, unsigned bits, const char *algorithm)
{
    unsigned width = effective(bits), fits = 3;
    bool room_above = width < dialect->dun_bits;
    char name[64], text[2][64];

    snprintf(name, sizeof(name), "%s, %s, %u bits", dialect->name, algorithm, bits);
    snprintf(text[0], sizeof(text[0]), "the DUN of data unit 7 overflows %u bits", width);
    snprintf(text[1], sizeof(text[1]), "the DUN of data unit 0 overflows %u bits", width);

    open_rig(dialect, bits, OVERFLOW_REJECT);
    is_int(rig_program(a, SLOT, algorithm, UNIT, 7).status, 0, "%s: program", name);
    refused(name, near_end(width, -7), text[0]);
    if (room_above)
        refused(name, near_end(width, 5), text[0]);
    encrypt_as_libcrypto(algorithm, 0, UNITS, last_number(width) - 7);
    stored(name, near_end(width, -8));
    close_rig();

    open_rig(dialect, bits, OVERFLOW_WRAP);
    rig_program(a, SLOT, algorithm, UNIT, 7);
    if (room_above)
        refused(name, near_end(width, 5), text[1]);
    encrypt_as_libcrypto(algorithm, 0, fits, last_number(width) - 2);
    encrypt_as_libcrypto(algorithm, fits, UNITS - fits, 0);
    stored(name, near_end(width, -3));
    close_rig();

    open_rig(dialect, bits, OVERFLOW_TRUNCATE);
    rig_program(a, SLOT, algorithm, UNIT, 7);
    stored(name, near_end(width, -3));
    encrypt_as_libcrypto(algorithm, 0, UNITS, 5);
    if (room_above)
        stored(name, near_end(width, 5));
    close_rig();
}

/* ---- the wrap inside a run, inside a part, between parts ---- */

static void ignore(struct ice_request *request, size_t written, const struct ice_why *why)
{
    (void)request, (void)written, (void)why;
}

static void test_parts(void)
{
    static const size_t parts[] = {300, 512, 1000, 1536, 2048, 4096};
    struct dun dun = near_end(32, -3);
    struct command write = at_dun(rig_write(0), dun), read = at_dun(rig_read(0), dun);

    open_rig(&dialect_inline, 32, OVERFLOW_WRAP);
    rig_program(a, SLOT, "aes-256-xts", UNIT, 7);
    encrypt_as_libcrypto("aes-256-xts", 0, 3, last_number(32) - 2);
    encrypt_as_libcrypto("aes-256-xts", 3, UNITS - 3, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        uint8_t head[DIALECT_HEAD_MAX], status = 0xee, zeros[BYTES] = {0};
        struct iovec readable[1 + BYTES / 300 + 1], writable[1 + BYTES / 300 + 1];
        struct ice_request request = {
            .readable = readable, .writable = writable, .expect = EXPECT_ANY, .done = ignore};

        for (unsigned way = 0; way < 2; way++) {
            struct iovec *list = way ? writable : readable + 1;
            unsigned n = 0;

            readable[0].iov_base = head;
            readable[0].iov_len =
                dialect_inline.build(attachment_features(a), way ? &read : &write, head);
            for (size_t at = 0; at < BYTES; at += parts[i])
                list[n++] =
                    (struct iovec){(way ? back : plain) + at, min_u64(parts[i], BYTES - at)};
            request.nreadable = way ? 1 : n + 1;
            request.nwritable = way ? n + 1 : 1;
            writable[request.nwritable - 1] = (struct iovec){&status, 1};
            device_submit(a, &request);
            is_int(status, 0, "parts of %zu: %s", parts[i], way ? "read" : "write");
        }
        read_media();
        is_mem(media, expected, BYTES, "parts of %zu: stored as libcrypto has it", parts[i]);
        is_mem(back, plain, BYTES, "parts of %zu: read back", parts[i]);
        write = at_dun(rig_write(0), dun_from_u64(0));
        rig_run(a, &write, zeros, BYTES, NULL, 0);
        write.dun = dun;
    }
    close_rig();
}

/* What a driver promises at KEYSLOT_PROGRAM must be what the device keeps apart. */
static void test_promise(unsigned bits, unsigned most)
{
    uint8_t *bytes = secret_alloc(64);
    struct command key = rig_key(SLOT, "aes-256-xts", UNIT, bytes);
    struct answer answer;

    bytes[0] = 1;
    open_rig(&dialect_inline, bits, OVERFLOW_REJECT);
    is_int(rig_config(a).dun_bytes, bits / 8, "%u bits: as the configuration space says", bits);
    key.key.dun_bytes = most;
    is_int(rig_run(a, &key, NULL, 0, NULL, 0).status, 0, "%u bits: dun_bytes %u", bits, most);
    key.key.dun_bytes = most + 1;
    answer = rig_run(a, &key, NULL, 0, NULL, 0);
    ok(answer.status == VIRTIO_BLK_S_IOERR && answer.why.err == EINVAL, "%u bits: not %u", bits,
       most + 1);
    close_rig();
    secret_free(bytes);
}

int main(void)
{
    test_width(&dialect_inline, 32, "aes-256-xts");
    test_width(&dialect_inline, 64, "aes-256-xts");
    test_width(&dialect_inline, 128, "aes-256-xts");
    test_width(&dialect_inline, 256, "aes-256-xts");
    test_width(&dialect_ice2, 32, "aes-256-xts");
    test_width(&dialect_ice2, 64, "aes-128-xts");
    test_width(&dialect_ice2, 32, "aes-128-cbc-essiv");
    test_width(&dialect_ice1, 64, "aes-256-xts");
    test_parts();
    test_promise(32, 4);
    test_promise(64, 8);
    test_promise(256, 16);
    return tap_done();
}
