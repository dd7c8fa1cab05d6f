/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The native disk over a real function, in every dialect, by slots and with keys that come along:
 * ciphertext against libcrypto, capabilities, limits of DUNs.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "libcrypto_ref.h"
#include "native_bench.h"
#include "tap.h"
#include <errno.h>

#define SECTORS 4096u
#define BYTES   (2 * DATA_UNIT_MAX)

static struct native_bench bench;
static uint8_t data[BYTES], back[BYTES], stored[BYTES], want[BYTES];
static const struct dun zero;

static void open_bench(unsigned slots, struct function_params params)
{
    native_bench_open(&bench, slots, SECTORS, NULL, params);
}

static struct dun dun_of(ref_dun dun)
{
    return (struct dun){{(uint64_t)dun, (uint64_t)(dun >> 64)}};
}

/* ---- ciphertext ---- */

static bool advertised(const struct algorithm *algorithm, uint32_t data_unit)
{
    return bench.disk->caps.units[algorithm - algorithms] & data_unit;
}

/* A write of two units at `dun` is what libcrypto makes of it, and reads back. */
static bool agrees(const struct algorithm *algorithm, uint32_t data_unit, ref_dun dun)
{
    const uint64_t offset = 3 * DATA_UNIT_MAX;
    size_t len = 2 * data_unit;
    struct bench_key key;
    bool good;

    bench_key_open(&bench, &key, algorithm->name, data_unit, 7);
    good = !bench_write(&bench, &key, offset, dun_of(dun), data, len, NULL) &&
           !bench_read(&bench, NULL, offset, zero, stored, len, NULL) &&
           libcrypto_ref(algorithm, data_unit, dun, key.key.bytes, true, data, want, len) &&
           !memcmp(stored, want, len) &&
           !bench_read(&bench, &key, offset, dun_of(dun), back, len, NULL) &&
           !memcmp(back, data, len);
    return bench_key_close(&bench, &key) == 0 && good;
}

static void check_ciphertext(const char *name)
{
    unsigned tried = 0;

    for (size_t i = 0; i < ALGORITHM_COUNT; i++) {
        for (uint32_t unit = DATA_UNIT_MIN; unit <= DATA_UNIT_MAX; unit *= 2) {
            if (!advertised(&algorithms[i], unit))
                continue;
            tried++;
            if (!agrees(&algorithms[i], unit, 0) || !agrees(&algorithms[i], unit, UINT32_MAX - 1))
                ok(false, "%s: %s with data units of %u", name, algorithms[i].name, unit);
            if (bench.disk->caps.dun_bytes >= 16 && !agrees(&algorithms[i], unit, UINT64_MAX))
                ok(false, "%s: %s across a limb", name, algorithms[i].name);
        }
    }
    ok(tried >= 8, "%s: %u algorithms with data units agree with libcrypto", name, tried);
    is_int(bench_slots_used(&bench), 0, "%s: nothing is left", name);
}

static void test_ciphertext(void)
{
    static const struct {
        const char *name;
        struct function_params params;
    } cases[] = {
        {"ice1", {.dialect = &dialect_ice1}},
        {"ice2", {.dialect = &dialect_ice2}},
        {"inline", {.dialect = &dialect_inline}},
        {"ice2, a window", {.dialect = &dialect_ice2, .first_slot = 3}},
        {"inline, a window", {.dialect = &dialect_inline, .first_slot = 3}},
        {"ice1, keys inline", {.dialect = &dialect_ice1, .keys_inline = true}},
        {"ice2, keys inline", {.dialect = &dialect_ice2, .keys_inline = true}},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        open_bench(5, cases[i].params);
        check_ciphertext(cases[i].name);
        native_bench_close(&bench);
    }
}

/* ---- capabilities ---- */

static void refuses_keys(struct function_params params, const char *text)
{
    static const struct crypto_caps none;
    struct bench_key key;
    struct ice_why why = {.text = ""};

    open_bench(4, params);
    is_mem(&bench.disk->caps, &none, sizeof(none), "no capabilities: %s", text);
    bench_key_init(&bench, &key, "aes-256-xts", 4096, 1);
    is_int(bench.disk->ops->key_open(bench.disk, &key.key, &key.opened, &why), -EOPNOTSUPP,
           "and no keys");
    is_str(why.text, text, "in words");
    is_int(bench_write(&bench, NULL, 0, zero, data, 512, NULL), 0, "but plain requests");
    is_int(bench.disk->ops->flush(bench.disk, NULL), 0, "and flushes");
    crypto_key_wipe(&key.key);
    native_bench_close(&bench);
}

static void test_caps(void)
{
    struct bench_key key;
    struct ice_why why = {.text = ""};

    refuses_keys((struct function_params){.slots = 4, .strict = true},
                 "the function takes no keys in its requests");
    open_bench(4, (struct function_params){
                      .dun_bits = 32, .key_types = ICE_KEY_TYPE_WRAPPED, .block_size = 4096});
    is_int(bench.disk->caps.dun_bytes, 4, "DUNs as wide as the function has them");
    is_int(bench.disk->caps.key_types, ICE_KEY_TYPE_WRAPPED, "its key types");
    is_int(bench.disk->block_size, 4096, "its logical blocks");
    is_int((intmax_t)bench.disk->size, SECTORS * 512, "its size");
    bench_key_init(&bench, &key, "aes-256-xts", 4096, 1);
    is_int(bench.disk->ops->key_open(bench.disk, &key.key, &key.opened, &why), -EOPNOTSUPP,
           "a raw key is refused: %s", why.text);
    crypto_key_wipe(&key.key);
    native_bench_close(&bench);
}

/* ---- wrapped keys ---- */

static void test_wrapped(const char *name, struct function_params params)
{
    struct crypto_config config = {algorithm_by_name("aes-256-xts"), 4096, 4, ICE_KEY_TYPE_WRAPPED};
    struct wrapped_key made, ready;
    struct bench_key key;
    struct ice_why why = {.text = ""};

    open_bench(2, params);
    engine_key_generate(bench.rig.engine, &made, NULL);
    engine_key_prepare(bench.rig.engine, made.bytes, made.len, &ready, NULL);
    crypto_key_init(&key.key, &config, ready.bytes, ready.len, &why);
    is_int(bench.disk->ops->key_open(bench.disk, &key.key, &key.opened, &why), 0,
           "%s: a wrapped key %s", name, why.text);
    is_int(bench_write(&bench, &key, 0, zero, data, 4096, &why), 0, "%s: write %s", name, why.text);
    bench_read(&bench, NULL, 0, zero, stored, 4096, NULL);
    ok(memcmp(stored, data, 4096) != 0, "%s: ciphertext is stored", name);
    is_int(bench_read(&bench, &key, 0, zero, back, 4096, NULL), 0, "%s: read", name);
    is_mem(back, data, 4096, "%s: what was written", name);
    is_int(bench_key_close(&bench, &key), 0, "%s: evict", name);

    crypto_key_init(&key.key, &config, made.bytes, made.len, &why);
    bench.disk->ops->key_open(bench.disk, &key.key, &key.opened, &why);
    is_int(bench_write(&bench, &key, 0, zero, data, 4096, &why), -EBADMSG,
           "%s: a long-term one is refused: %s", name, why.text);
    bench_key_close(&bench, &key);
    native_bench_close(&bench);
}

/* ---- DUNs ---- */

static void refuses_dun(struct bench_key *key, struct dun dun, size_t len, const char *text)
{
    struct ice_why why = {.text = ""};

    memset(back, 0, sizeof(back));
    is_int(bench_write(&bench, key, 0, dun, data, len, &why), -EINVAL, "refused");
    is_str(why.text, text, "with the reason");
    bench_read(&bench, NULL, 0, zero, stored, 1024, NULL);
    is_mem(stored, back, 1024, "and nothing is touched");
}

static void test_duns(void)
{
    struct bench_key key;

    open_bench(2, (struct function_params){.dun_bits = 32});
    bench_key_open(&bench, &key, "aes-256-xts", 512, 1);
    refuses_dun(&key, dun_from_u64(UINT32_MAX), 1024,
                "the last DUN does not fit the key's 32 bits");
    refuses_dun(&key, dun_from_u64(1ull << 32), 512,
                "the first DUN does not fit the key's 32 bits");
    refuses_dun(&key, dun_from_u64(0), 100,
                "100 bytes are not whole data units of 512 bytes, at "
                "least one");
    is_int(bench_write(&bench, &key, 0, dun_from_u64(UINT32_MAX), data, 512, NULL), 0,
           "the last one fits");
    is_int(bench_key_close(&bench, &key), 0, "evict");
    native_bench_close(&bench);

    open_bench(2, (struct function_params){.dialect = &dialect_inline});
    bench_key_open(&bench, &key, "aes-256-xts", 512, 1);
    refuses_dun(&key, dun_of(~(ref_dun)0), 1024, "the last DUN does not fit the key's 128 bits");
    is_int(bench_write(&bench, &key, 0, dun_of(UINT64_MAX), data, 1024, NULL), 0,
           "a carry into the next limb");
    is_int(bench_key_close(&bench, &key), 0, "evict");
    native_bench_close(&bench);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    test_ciphertext();
    test_caps();
    test_wrapped("ice2", (struct function_params){.slots = 2});
    test_wrapped("inline", (struct function_params){.dialect = &dialect_inline});
    test_wrapped("keys inline", (struct function_params){.keys_inline = true});
    test_duns();
    return tap_done();
}
