/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys that come with each request: ciphertext as libcrypto has it, what is refused, and the few
 * keys that are kept ready, under threads too.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "gate_store.h"
#include "libcrypto_ref.h"
#include "rig.h"
#include "tap.h"
#include "virtio/blk.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define SECTORS   512u
#define MEDIA     (SECTORS * SECTOR_SIZE)
#define LIVE_KEYS 100u /* more than are kept ready */

static struct rig rig;
static struct gate_store *gate;
static struct ice_attachment *a;
static uint8_t data[MEDIA / 2], media[MEDIA], want[MEDIA / 2], got[MEDIA];

static void open_rig(struct function_params params)
{
    struct store *ram;

    if (store_open_ram(MEDIA, &ram, NULL))
        exit(1);
    gate = gate_store_new(ram);
    params.keys_inline = true;
    rig_open_as(&rig, 4, SECTORS, gate_store(gate), params);
    a = rig_attach(&rig, RIG_ALL);
}

static void close_rig(void)
{
    attachment_close(a);
    rig_close(&rig);
}

static void fill_key(unsigned number, uint8_t key[static KEY_BYTES_MAX])
{
    for (unsigned i = 0; i < KEY_BYTES_MAX; i++)
        key[i] = (uint8_t)(number + i * 7);
}

static struct command keyed(enum command_kind kind, uint64_t sector, const char *name,
                            uint32_t unit, const uint8_t *key, uint64_t dun)
{
    struct command command = rig_key(0, name, unit, key);

    command.kind = kind;
    command.sector = sector;
    command.keyed = command.tagged = kind != COMMAND_KEY_FORGET;
    command.dun = dun_from_u64(command.tagged ? dun : 0);
    return command;
}

static struct answer forget(const char *name, uint32_t unit, const uint8_t *key)
{
    struct command command = keyed(COMMAND_KEY_FORGET, 0, name, unit, key, 0);

    return rig_run(a, &command, NULL, 0, NULL, 0);
}

static void read_media(uint8_t *to)
{
    struct iovec iov = {to, MEDIA};

    rig.store->ops->read(rig.store, 0, &iov, 1, NULL);
}

/* ---- ciphertext ---- */

static void check_cipher(const struct algorithm *algorithm, uint32_t unit)
{
    uint8_t key[KEY_BYTES_MAX];
    size_t len = 2 * (size_t)unit;
    struct command write, read;

    fill_key((unsigned)algorithm->name[4] + unit, key);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 11 + unit);
    write = keyed(COMMAND_WRITE, 8, algorithm->name, unit, key, 1000);
    read = keyed(COMMAND_READ, 8, algorithm->name, unit, key, 1000);
    is_int(rig_run(a, &write, data, len, NULL, 0).status, 0, "%s at %u: write", algorithm->name,
           unit);
    read_media(media);
    libcrypto_ref(algorithm, unit, 1000, key, true, data, want, len);
    is_mem(media + 8 * SECTOR_SIZE, want, len, "  the ciphertext is libcrypto's");
    is_int(rig_run(a, &read, NULL, 0, got, len).status, 0, "  read");
    is_mem(got, data, len, "  comes back");
}

static void test_ciphers(void)
{
    open_rig((struct function_params){0});
    for (size_t i = 0; i < ALGORITHM_COUNT; i++)
        for (uint32_t unit = DATA_UNIT_MIN; unit <= DATA_UNIT_MAX; unit *= 2)
            check_cipher(&algorithms[i], unit);
    close_rig();
}

static void test_wrapped(void)
{
    uint8_t raw[KEY_BYTES_MAX], blob[KEY_BLOB_BYTES], passing[KEY_BLOB_BYTES];
    struct command import = {.kind = COMMAND_KEY_IMPORT,
                             .key = {.len = MASTER_KEY_BYTES, .bytes = raw}};
    struct command prepare = {.kind = COMMAND_KEY_PREPARE}, write;

    open_rig((struct function_params){0});
    fill_key(3, raw);
    is_int(rig_run(a, &import, NULL, 0, blob, sizeof(blob)).status, 0, "import");
    prepare.key.len = (uint16_t)load_le32(blob);
    prepare.key.bytes = blob + 4;
    is_int(rig_run(a, &prepare, NULL, 0, passing, sizeof(passing)).status, 0, "prepare");
    write = keyed(COMMAND_WRITE, 0, "aes-256-xts", 512, passing + 4, 0);
    write.key.type = ICE_KEY_TYPE_WRAPPED;
    write.key.len = (uint16_t)load_le32(passing);
    is_int(rig_run(a, &write, data, 512, NULL, 0).status, 0, "a wrapped key along with a write");
    read_media(media);
    engine_reset(rig.engine);
    is_int(rig_run(a, &write, data, 512, NULL, 0).status, 0,
           "after an engine reset too, unacknowledged");
    read_media(got);
    is_mem(got, media, 512, "the ciphertext is the same");
    passing[40] ^= 1;
    is_int(rig_run(a, &write, data, 512, NULL, 0).why.err, EBADMSG, "not one that was changed");
    close_rig();
}

/* ---- what is refused ---- */

static void refused(const struct command *command, size_t len, int status, int err,
                    const char *text)
{
    bool write = command->kind == COMMAND_WRITE;
    struct answer answer = rig_run(a, command, data, write ? len : 0, got, write ? 0 : len);

    is_int(answer.status, status, "status: %s", text);
    is_int(answer.why.err, err, "  errno");
    is_str(answer.why.text, text, "  in words");
    is_int((intmax_t)answer.written, 1, "  the status alone is written");
}

static void test_refused(void)
{
    uint8_t key[KEY_BYTES_MAX], zeros[KEY_BYTES_MAX] = {0}, before[MEDIA];
    struct command command;

    open_rig((struct function_params){.dun_bits = 32, .block_size = 512});
    fill_key(1, key);
    read_media(before);
    command = keyed(COMMAND_WRITE, 0, "aes-256-xts", 4096, key, 0);
    refused(&command, 512, 1, EINVAL,
            "512 bytes of data are not a multiple of the data unit of 4096");
    command.dun = dun_from_u64(UINT32_MAX);
    refused(&command, 8192, 1, EOVERFLOW, "the DUN of data unit 1 overflows 32 bits");
    command.dun = dun_from_u64(0);
    command.key.bytes = zeros;
    refused(&command, 4096, 1, EINVAL, "the two halves of the XTS key are equal");
    command.key.bytes = key;
    command.key.len = 63;
    refused(&command, 4096, 1, EINVAL, "aes-256-xts takes a key of 64 bytes, not 63");
    command.key.len = 64;
    command.key.type = 7;
    refused(&command, 4096, 1, EINVAL, "key type 7 is neither raw nor wrapped");
    command.key.type = ICE_KEY_TYPE_RAW;
    command.key.alg = 9;
    refused(&command, 4096, 2, EOPNOTSUPP, "an algorithm that is not known");
    command = rig_tagged(rig_write(0), 0, 0);
    refused(&command, 512, 1, EINVAL, "vm0 has no slots: its keys come with each request");
    command = rig_key(0, "aes-256-xts", 512, key);
    refused(&command, 0, 1, EINVAL, "vm0 has no slots: its keys come with each request");
    command = (struct command){.kind = COMMAND_KEY_EVICT};
    refused(&command, 0, 1, EINVAL, "vm0 has no slots: its keys come with each request");
    read_media(media);
    is_mem(media, before, MEDIA, "nothing was written");
    close_rig();

    open_rig((struct function_params){.key_types = ICE_KEY_TYPE_WRAPPED});
    command = keyed(COMMAND_READ, 0, "aes-256-xts", 4096, key, 0);
    refused(&command, 4096, 2, EOPNOTSUPP, "vm0 takes wrapped keys only");
    close_rig();
}

static void test_offered(void)
{
    static const struct command ask = {.kind = COMMAND_GET_CAPABILITIES};
    uint8_t reply[CAPABILITY_REPLY_MAX];
    struct capability list[CAPABILITIES_MAX];
    struct function_config config;

    open_rig((struct function_params){0});
    config = rig_config(a);
    ok(!config.max_slots && !config.slot_offset && config.capability_count == 88,
       "no slots, but capabilities");
    ok(attachment_offered(a) & VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEYS_INLINE), "bit 57 is offered");
    is_int(rig_run(a, &ask, NULL, 0, reply, 88 * 4).status, 0, "capabilities are asked for");
    is_int(dialect_ice2.parse_capabilities(reply, 88 * 4, list), 88, "all of them");
    close_rig();

    rig_open(&rig, 4, SECTORS, NULL);
    a = rig_attach(&rig, RIG_ALL);
    ok(!(attachment_offered(a) & VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEYS_INLINE)),
       "a function with slots does not offer it");
    close_rig();
    rig_open_as(&rig, 4, SECTORS, NULL, (struct function_params){.integrity = true});
    a = rig_attach(&rig, RIG_ALL);
    ok(!(attachment_offered(a) &
         (dialect_ice2.features | dialect_ice2.own_features | dialect_ice2.keys_inline)) &&
           function_has_integrity(rig.function),
       "one with integrity offers no inline crypto at all");
    ok(!rig_config(a).capability_count && !rig_config(a).max_slots, "nor are there capabilities");
    close_rig();
}

/* ---- keys that are kept ready ---- */

/* What tells whether a key is there: in_use counts it, and a second function never sees it. */
static struct answer write_with(unsigned number, uint64_t sector)
{
    uint8_t key[KEY_BYTES_MAX];
    struct command write;

    fill_key(number, key);
    write = keyed(COMMAND_WRITE, sector, "aes-256-xts", 512, key, sector);
    return rig_run(a, &write, data, 512, NULL, 0);
}

static bool is_number(unsigned number, uint64_t sector)
{
    uint8_t key[KEY_BYTES_MAX];

    fill_key(number, key);
    libcrypto_ref(algorithm_by_name("aes-256-xts"), 512, sector, key, true, data, want, 512);
    read_media(media);
    return !memcmp(media + sector * SECTOR_SIZE, want, 512);
}

static void *write_sector_0(void *unused)
{
    (void)unused;
    is_int(write_with(7, 0).status, 0, "the write in flight");
    return NULL;
}

static void test_forget(void)
{
    uint8_t key[KEY_BYTES_MAX];
    struct answer answer;
    pthread_t thread;

    open_rig((struct function_params){0});
    fill_key(7, key);
    is_int(forget("aes-256-xts", 512, key).status, 0, "a key that is not there is forgotten");
    gate_close(gate, GATE_WRITE);
    pthread_create(&thread, NULL, write_sector_0, NULL);
    ok(gate_wait(gate, GATE_WRITE, 1), "a write stands at the media");
    answer = forget("aes-256-xts", 512, key);
    is_int(answer.why.err, EBUSY, "its key is not forgotten");
    is_str(answer.why.text, "the key has requests in flight", "in words");
    is_int(forget("aes-256-xts", 1024, key).status, 0, "one with another data unit is another");
    gate_open(gate, GATE_WRITE);
    pthread_join(thread, NULL);
    is_int(forget("aes-256-xts", 512, key).status, 0, "at rest it is");
    is_int(write_with(7, 1).status, 0, "and works again when it comes again");
    close_rig();
}

/* More keys than are kept: each still encrypts as its own. */
static void test_many(void)
{
    unsigned wrong = 0;

    open_rig((struct function_params){0});
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < LIVE_KEYS; i++)
            wrong += write_with(i, i).status != 0 || !is_number(i, i);
    is_int(wrong, 0, "%u keys in turn", LIVE_KEYS);
    function_reset(rig.function);
    is_int(write_with(1, 1).status, 0, "after a function reset a key comes anew");
    close_rig();
}

struct at_gate {
    pthread_t thread;
    unsigned number;
    int status;
};

static void *write_one(void *arg)
{
    struct at_gate *one = arg;

    one->status = write_with(one->number, one->number).status;
    return NULL;
}

/* All that are kept ready are in use: one more waits, and is served. */
static void test_all_in_use(void)
{
    static struct at_gate all[INLINE_KEYS + 3];
    unsigned failed = 0;

    open_rig((struct function_params){0});
    gate_close(gate, GATE_WRITE);
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        all[i].number = i;
        pthread_create(&all[i].thread, NULL, write_one, &all[i]);
        if (i == INLINE_KEYS - 1)
            ok(gate_wait(gate, GATE_WRITE, INLINE_KEYS), "%u keys in use at once", INLINE_KEYS);
    }
    usleep(50000); /* for the others to come as far as they can */
    gate_open(gate, GATE_WRITE);
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        pthread_join(all[i].thread, NULL);
        failed += all[i].status != 0 || !is_number(i, i);
    }
    is_int(failed, 0, "those that had to wait are served too");
    is_int((intmax_t)gate_most(gate, GATE_WRITE), INLINE_KEYS, "no more than that at once");
    close_rig();
}

static _Atomic bool stop;
static _Atomic unsigned bad, rounds;

static void *hammer(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    uint8_t key[KEY_BYTES_MAX], plain[512], expected[512], back[512];
    uint64_t sector = seed;

    memset(plain, (int)seed, sizeof(plain));
    while (!stop) {
        unsigned number = rounds++ % LIVE_KEYS;
        struct command write, read;

        fill_key(number, key);
        write = keyed(COMMAND_WRITE, sector, "aes-256-xts", 512, key, 5);
        read = keyed(COMMAND_READ, sector, "aes-256-xts", 512, key, 5);
        bad += rig_run(a, &write, plain, 512, NULL, 0).status != 0;
        struct command raw = rig_read(sector);
        bad += rig_run(a, &raw, NULL, 0, back, 512).status != 0;
        libcrypto_ref(algorithm_by_name("aes-256-xts"), 512, 5, key, true, plain, expected, 512);
        bad += memcmp(back, expected, 512) != 0;
        bad += rig_run(a, &read, NULL, 0, back, 512).status != 0;
        bad += memcmp(back, plain, 512) != 0;
        if (number % 8 == 0)
            forget("aes-256-xts", 512, key);
    }
    return NULL;
}

static void test_threads(void)
{
    const char *scale = getenv("ICESIM_TEST_SCALE");
    unsigned wanted = 2000 * (scale ? (unsigned)strtoul(scale, NULL, 10) : 1);
    pthread_t threads[6];

    open_rig((struct function_params){0});
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, hammer, (void *)(uintptr_t)(i + 1));
    while (rounds < wanted) {
        engine_reset(rig.engine);
        function_reset(rig.function);
        write_with(1, 100);
    }
    stop = true;
    for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    is_int((intmax_t)bad, 0, "%u rounds beside resets and forgetting: nothing is mixed up",
           (unsigned)rounds);
    close_rig();
}

/* Two functions of one engine, the same key: neither notices the other's. */
static void test_functions(void)
{
    struct ice_function *second;
    struct ice_why why;
    struct function_params params = {
        .name = "vm1",
        .dialect = &dialect_ice1,
        .keys_inline = true,
        .sectors = SECTORS,
    };
    uint8_t key[KEY_BYTES_MAX];
    pthread_t thread;
    struct ice_attachment *first;

    open_rig((struct function_params){0});
    first = a;
    params.engine = rig.engine;
    params.store = rig.store;
    is_int(function_new(&params, &second, &why), 0, "a second function, ice1");
    fill_key(7, key);
    gate_close(gate, GATE_WRITE);
    pthread_create(&thread, NULL, write_sector_0, NULL);
    ok(gate_wait(gate, GATE_WRITE, 1), "the first uses a key");
    struct function_key asked = {.type = ICE_KEY_TYPE_RAW,
                                 .algorithm = algorithm_by_name("aes-256-xts"),
                                 .data_unit = 512,
                                 .len = 64,
                                 .bytes = key};
    is_int(function_forget_inline(second, &asked, &why), 0, "the second may forget the same");
    is_int(function_forget_inline(rig.function, &asked, &why), -EBUSY, "the first may not");
    function_reset(second); /* waits for nobody */
    gate_open(gate, GATE_WRITE);
    pthread_join(thread, NULL);
    function_free(second);
    a = first;
    close_rig();
}

int main(void)
{
    test_offered();
    test_ciphers();
    test_wrapped();
    test_refused();
    test_forget();
    test_functions();
    test_many();
    test_all_in_use();
    test_threads();
    return tap_done();
}
