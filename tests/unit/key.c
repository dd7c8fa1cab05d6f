/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys, DUNs, merging and capabilities: what Linux's blk-crypto accepts and refuses. */
#include "blkcrypto/key.h"
#include "base/bytes.h"
#include "blkcrypto/crypto_caps.h"
#include "tap.h"
#include <errno.h>

static uint8_t bytes[200];

static struct crypto_config config(const char *name, uint32_t unit, unsigned dun_bytes)
{
    return (struct crypto_config){.algorithm = algorithm_by_name(name),
                                  .data_unit = unit,
                                  .dun_bytes = dun_bytes,
                                  .key_type = ICE_KEY_TYPE_RAW};
}

static void refused(struct crypto_config how, size_t len, const char *text)
{
    struct crypto_key key = {.len = 77};
    struct ice_why why = {0};

    is_int(crypto_key_init(&key, &how, bytes, len, &why), -EINVAL, "refused");
    is_str(why.text, text, "because %s", text);
    ok(key.len == 77, "nothing touched");
}

static void test_refusals(void)
{
    struct crypto_config how = config("aes-256-xts", 4096, 8);

    refused(config("aes-512-xts", 4096, 8), 64, "there is no such algorithm");
    refused(how, 63, "the key has 63 bytes; aes-256-xts takes 64");
    refused(how, 65, "the key has 65 bytes; aes-256-xts takes 64");
    refused(config("aes-128-cbc-essiv", 4096, 8), 32,
            "the key has 32 bytes; aes-128-cbc-essiv takes 16");
    refused(config("aes-256-xts", 4096, 0), 64, "DUNs have 1 to 32 bytes, not 0");
    refused(config("aes-256-xts", 4096, 33), 64, "DUNs have 1 to 32 bytes, not 33");
    refused(config("aes-256-xts", 4096, 17), 64,
            "DUNs of 17 bytes are more than the 16 of the IV of aes-256-xts");
    refused(config("aes-256-xts", 0, 8), 64,
            "a data unit of 0 bytes is no power of two from 512 to 65536");
    refused(config("aes-256-xts", 256, 8), 64,
            "a data unit of 256 bytes is no power of two from 512 to 65536");
    refused(config("aes-256-xts", 4095, 8), 64,
            "a data unit of 4095 bytes is no power of two from 512 to 65536");
    refused(config("aes-256-xts", 131072, 8), 64,
            "a data unit of 131072 bytes is no power of two from 512 to 65536");
    how.key_type = 0;
    refused(how, 64, "key type 0 is neither raw nor wrapped");
    how.key_type = ICE_KEY_TYPE_RAW | ICE_KEY_TYPE_WRAPPED;
    refused(how, 64, "key type 3 is neither raw nor wrapped");
    how.key_type = ICE_KEY_TYPE_WRAPPED;
    refused(how, 31, "the wrapped key has 31 bytes, not 32 to 128");
    refused(how, 129, "the wrapped key has 129 bytes, not 32 to 128");
    how.algorithm = algorithm_by_name("aes-128-xts");
    refused(how, 64, "a wrapped key is for aes-256-xts, not for aes-128-xts");
}

static void test_accepted(void)
{
    static const uint32_t units[] = {512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};
    uint8_t fingerprint[FINGERPRINT_BYTES], expected[FINGERPRINT_BYTES];
    struct crypto_config how;
    struct crypto_key key;

    for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
        for (unsigned u = 0; u < ARRAY_SIZE(units); u++) {
            how = config(algorithms[i].name, units[u], 1 + u * 15 / 7);
            is_int(crypto_key_init(&key, &how, bytes, algorithms[i].key_bytes, NULL), 0, "%s, %u",
                   algorithms[i].name, units[u]);
            ok(key.bytes != bytes && !memcmp(key.bytes, bytes, key.len), "a copy");
            cipher_fingerprint(bytes, key.len, expected);
            ok(crypto_key_fingerprint(&key, fingerprint), "has a fingerprint");
            is_mem(fingerprint, expected, sizeof(expected), "that of the raw key");
            crypto_key_wipe(&key);
            ok(!key.bytes, "wiped");
        }
    }
    how = config("aes-256-xts", 4096, 16);
    how.key_type = ICE_KEY_TYPE_WRAPPED;
    for (size_t len = 32; len <= 128; len += 96) {
        is_int(crypto_key_init(&key, &how, bytes, len, NULL), 0, "wrapped, %zu bytes", len);
        ok(!crypto_key_fingerprint(&key, fingerprint), "no fingerprint of a wrapped key");
        crypto_key_wipe(&key);
    }
}

/* ---- DUNs ---- */

static const struct dun last_dun = {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};

static void test_dun(void)
{
    struct dun dun = {{UINT64_MAX, UINT64_MAX, 5, 0}};

    ok(dun_contiguous(dun_from_u64(7), 3, dun_from_u64(10)), "7 + 3 = 10");
    ok(!dun_contiguous(dun_from_u64(7), 3, dun_from_u64(11)), "7 + 3 is not 11");
    ok(dun_contiguous(dun, 1, (struct dun){{0, 0, 6, 0}}), "the carry crosses two limbs");
    ok(!dun_contiguous(dun, 1, (struct dun){{0, 0, 5, 0}}), "and is not lost");
    ok(!dun_contiguous(dun, 1, (struct dun){{0, 0, 6, 1}}), "and every limb counts");
    ok(!dun_contiguous(last_dun, 1, dun_from_u64(0)), "no wrap through zero");
    ok(!dun_contiguous(last_dun, 5, dun_from_u64(4)), "nor behind it");
    ok(dun_contiguous(last_dun, 0, last_dun), "nothing after the last is the last");
}

static void check(const struct crypto_key *key, struct dun dun, uint64_t len, const char *text)
{
    const struct crypto_context context = {key, dun};
    struct ice_why why = {0};

    is_int(crypto_context_check(&context, len, &why), text ? -EINVAL : 0, "%" PRIu64 " bytes", len);
    is_str(why.text, text ? text : "", "because %s", text ? text : "(allowed)");
}

static void test_limits(void)
{
    struct crypto_key key = {.config = config("aes-256-xts", 4096, 1)};

    check(&key, dun_from_u64(255), 4096, NULL);
    check(&key, dun_from_u64(0), 256 * 4096, NULL);
    check(&key, dun_from_u64(256), 4096, "the first DUN does not fit the key's 8 bits");
    check(&key, dun_from_u64(255), 8192, "the last DUN does not fit the key's 8 bits");
    check(&key, dun_from_u64(0), 257 * 4096, "the last DUN does not fit the key's 8 bits");
    check(&key, dun_from_u64(0), 0, "0 bytes are not whole data units of 4096 bytes, at least one");
    check(&key, dun_from_u64(0), 4608,
          "4608 bytes are not whole data units of 4096 bytes, at least one");
    key.config.dun_bytes = 8;
    check(&key, dun_from_u64(UINT64_MAX), 4096, NULL);
    check(&key, dun_from_u64(UINT64_MAX), 8192, "the last DUN does not fit the key's 64 bits");
    check(&key, (struct dun){{0, 1, 0, 0}}, 4096, "the first DUN does not fit the key's 64 bits");
    key.config.dun_bytes = 16;
    check(&key, dun_from_u64(UINT64_MAX), 8192, NULL);
    check(&key, (struct dun){{UINT64_MAX, UINT64_MAX, 0, 0}}, 4096, NULL);
    check(&key, (struct dun){{UINT64_MAX, UINT64_MAX, 0, 0}}, 8192,
          "the last DUN does not fit the key's 128 bits");
    check(&key, last_dun, 4096, "the first DUN does not fit the key's 128 bits");
    key.config = config("aes-128-cbc-bitlocker", 4096, 16); /* its IV has byte offsets */
    check(&key, (struct dun){{0, UINT64_C(1) << 52, 0, 0}}, 4096,
          "the first DUN does not fit the key's 116 bits");
    check(&key, (struct dun){{0, (UINT64_C(1) << 52) - 1, 0, 0}}, 4096, NULL);
}

static void test_merge(void)
{
    const struct crypto_key key = {.config = config("aes-256-xts", 4096, 16)}, equal = key;
    const struct crypto_context none = {NULL, dun_from_u64(3)};
    struct crypto_context first = {&key, dun_from_u64(7)}, next = {&key, dun_from_u64(9)};

    ok(crypto_context_mergeable(&none, 512, &none), "both without a key, whatever the DUN");
    ok(!crypto_context_mergeable(&none, 512, &first), "one without");
    ok(!crypto_context_mergeable(&first, 4096, &none), "the other without");
    ok(crypto_context_mergeable(&first, 8192, &next), "the same key, contiguous");
    ok(!crypto_context_mergeable(&first, 4096, &next), "a gap");
    ok(!crypto_context_mergeable(&next, 8192, &first), "the other way round");
    next.key = &equal;
    ok(!crypto_context_mergeable(&first, 8192, &next), "an equal key is not the same");
    first.dun = last_dun;
    next = (struct crypto_context){&key, dun_from_u64(0)};
    ok(!crypto_context_mergeable(&first, 4096, &next), "a wrap");
    first.dun = (struct dun){{UINT64_MAX, 4, 0, 0}};
    crypto_context_advance(&first, 8192);
    ok(first.dun.limb[0] == 1 && first.dun.limb[1] == 5, "a split moves the DUN on, with carry");
    first.key = NULL;
    crypto_context_advance(&first, 512);
    ok(first.dun.limb[0] == 1, "without a key there is nothing to move");
}

/* ---- capabilities ---- */

static void unsupported(const struct crypto_caps *caps, struct crypto_config how, const char *text)
{
    struct ice_why why = {0};

    is_int(crypto_caps_support(caps, &how, &why), -EOPNOTSUPP, "not supported");
    is_str(why.text, text, "because %s", text);
}

static void test_caps(void)
{
    struct crypto_config how = config("aes-256-xts", 4096, 8);
    struct crypto_caps caps = {
        .units = {[1] = 512 | 4096}, .dun_bytes = 8, .key_types = ICE_KEY_TYPE_RAW};
    struct crypto_caps child = {.units = {[0] = 4096, [1] = 4096}, .dun_bytes = 4, .key_types = 3};
    struct crypto_caps both = caps;

    is_int(crypto_caps_support(&caps, &how, NULL), 0, "supported");
    unsupported(&caps, config("aes-128-xts", 4096, 8), "aes-128-xts is not supported");
    unsupported(&caps, config("aes-256-xts", 1024, 8),
                "aes-256-xts is not supported with data units of 1024 bytes");
    unsupported(&caps, config("aes-256-xts", 512, 9),
                "DUNs of 9 bytes are not supported, at most 8");
    how.key_type = ICE_KEY_TYPE_WRAPPED;
    unsupported(&caps, how, "wrapped keys are not supported");
    caps.key_types = ICE_KEY_TYPE_WRAPPED;
    unsupported(&caps, config("aes-256-xts", 512, 8), "raw keys are not supported");
    caps = both;

    crypto_caps_intersect(&both, &child);
    ok(both.units[0] == 0 && both.units[1] == 4096 && both.dun_bytes == 4 && both.key_types == 1,
       "the intersection");
    ok(crypto_caps_include(&caps, &both) && crypto_caps_include(&child, &both), "is in either");
    ok(!crypto_caps_include(&both, &caps) && !crypto_caps_include(&child, &caps),
       "not the reverse");
    ok(crypto_caps_include(&caps, &caps), "all of itself");
    child = caps;
    child.dun_bytes++;
    ok(!crypto_caps_include(&caps, &child), "wider DUNs are more");
    child = caps;
    child.key_types = 3;
    ok(!crypto_caps_include(&caps, &child), "so is a key type");
    child = caps;
    child.units[10] = 512;
    ok(!crypto_caps_include(&caps, &child), "so is an algorithm");
    crypto_caps_intersect(&both, NULL);
    child = (struct crypto_caps){.dun_bytes = 0};
    is_mem(&both, &child, sizeof(both), "without a child nothing is left");
}

int main(void)
{
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    if (cipher_init(NULL))
        return 1;
    test_refusals();
    test_accepted();
    test_dun();
    test_limits();
    test_merge();
    test_caps();
    return tap_done();
}
