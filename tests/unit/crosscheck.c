/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every algorithm at every data unit size and at the edges of the DUN, and what is derived from
 * master keys, against OpenSSL's libcrypto.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "cipher/cipher.h"
#include "cipher/wrap.h"
#include "libcrypto_ref.h"
#include "tap.h"

#define UNITS 3
#define RUN   (UNITS * (size_t)DATA_UNIT_MAX)

static const struct {
    uint64_t low, high;
} duns[] = {
    {0, 0},
    {1, 0},
    {7, 0},
    {UINT32_MAX, 0},
    {UINT64_C(1) << 32, 0},
    {UINT64_C(1) << 63, 0},
    {UINT64_MAX - 1, 0},
    {UINT64_MAX, 0},
    {5, UINT64_C(0x0123456789abcdef)},
    {UINT64_MAX, 1},
};

static unsigned char plain[RUN + 1], want[RUN], got[RUN + 1], back[RUN + 1];

static bool same_as_reference(struct cipher *cipher, const struct algorithm *algorithm,
                              size_t data_unit, unsigned k, const unsigned char *key)
{
    size_t len = UNITS * data_unit;
    struct dun dun = {{duns[k].low, duns[k].high, 0, 0}};
    ref_dun number = (ref_dun)duns[k].high << 64 | duns[k].low;

    if (!libcrypto_ref(algorithm, data_unit, number, key, true, plain, want, len))
        return false;
    /* Odd addresses on one side each: nothing is promised about alignment. */
    if (cipher_encrypt(cipher, dun, plain, got + 1, len) || memcmp(got + 1, want, len))
        return false;
    if (cipher_decrypt(cipher, dun, got + 1, back, len) || memcmp(back, plain, len))
        return false;
    if (cipher_encrypt(cipher, dun, back, back, len) || memcmp(back, want, len))
        return false;
    if (cipher_decrypt(cipher, dun, back, back, len) || memcmp(back, plain, len))
        return false;
    return libcrypto_ref(algorithm, data_unit, number, key, false, want, back, len) &&
           !memcmp(back, plain, len);
}

static void check(const struct algorithm *algorithm, unsigned data_unit)
{
    unsigned char key[KEY_BYTES_MAX];
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (unsigned char)(i * 29 + data_unit / 512 + algorithm->key_bytes);

    const struct cipher_params params = {algorithm, data_unit, false};
    struct cipher *cipher;
    struct ice_why why;
    if (!is_int(cipher_open(&params, key, &cipher, &why), 0, "%s, unit %u: open", algorithm->name,
                data_unit))
        return;
    for (unsigned k = 0; k < ARRAY_SIZE(duns); k++)
        ok(same_as_reference(cipher, algorithm, data_unit, k, key),
           "%s, unit %u, DUN 0x%llx:%016llx", algorithm->name, data_unit,
           (unsigned long long)duns[k].high, (unsigned long long)duns[k].low);
    cipher_close(cipher);
}

/* Fact: xfstests, fscrypt-crypt-util. */
static void check_derivation(unsigned char first)
{
    static const unsigned char label[11] = {[2] = 0x40, [10] = 0x20};
    static const unsigned char inline_context[36] = {
        "inline encryption key\0\0\0\0\0\0\x02\x43\0\x82P"};
    static const unsigned char sw_context[28] = {"raw secret\0\0\0\0\0\0\0\0\0\x02\x17\0\x80P"};
    unsigned char master[WRAP_MASTER_BYTES], ours[INLINE_KEY_BYTES], theirs[INLINE_KEY_BYTES];
    for (unsigned i = 0; i < sizeof(master); i++)
        master[i] = (unsigned char)(first + 7 * i);

    ok(libcrypto_ref_kdf(master, label, sizeof(label), inline_context, sizeof(inline_context),
                         theirs, INLINE_KEY_BYTES) &&
           !wrap_derive_inline_key(master, ours, NULL),
       "the inline key of master key %u", first);
    is_mem(ours, theirs, INLINE_KEY_BYTES, "the inline key of master key %u, bytes", first);
    ok(libcrypto_ref_kdf(master, label, sizeof(label), sw_context, sizeof(sw_context), theirs,
                         SECRET_SW_BYTES) &&
           !wrap_derive_sw_secret(master, ours, NULL),
       "the software secret of master key %u", first);
    is_mem(ours, theirs, SECRET_SW_BYTES, "the software secret of master key %u, bytes", first);
}

int main(void)
{
    struct ice_why why;
    if (!is_int(cipher_init(&why), 0, "cipher_init"))
        return tap_done();
    for (unsigned char first = 0; first < 3; first++)
        check_derivation(first * 50);
    uint32_t noise = 1;
    for (size_t i = 0; i < sizeof(plain); i++) {
        noise = noise * 1664525 + 1013904223;
        plain[i] = (unsigned char)(noise >> 24);
    }
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
        for (unsigned unit = DATA_UNIT_MIN; unit <= DATA_UNIT_MAX; unit *= 2)
            check(&algorithms[i], unit);
    }
    return tap_done();
}
