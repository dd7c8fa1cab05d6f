/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loops over data units. A mode is a row of a table: the library's chaining mode, and how the
 * IVs of a run of units are made.
 */
#include "cipher/cipher.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "cipher/library.h"

#include <assert.h>
#include <errno.h>

#define BLOCK_BYTES 16

typedef gcry_error_t crypt_fn(gcry_cipher_hd_t handle, void *to, size_t to_size, const void *from,
                              size_t from_len);

struct mode {
    int chaining;
    /* Makes iv_handle from the key; NULL when the mode needs none. */
    int (*open_iv)(struct cipher *cipher, const struct cipher_params *params, const uint8_t *key,
                   struct ice_why *why);
    int (*run)(struct cipher *cipher, crypt_fn *crypt, struct dun dun, const uint8_t *from,
               uint8_t *to, size_t len);
};

struct cipher {
    const struct mode *mode;
    gcry_cipher_hd_t handle;    /* for data */
    gcry_cipher_hd_t iv_handle; /* CBC: one AES block makes the IV */
    uint32_t data_unit;
    unsigned iv_shift; /* the IV is made from the DUN times 2 to this power */
};

static int run_ecb(struct cipher *cipher, crypt_fn *crypt, struct dun dun, const uint8_t *from,
                   uint8_t *to, size_t len)
{
    (void)dun;
    return crypt(cipher->handle, to, len, from, len) ? -EIO : 0;
}

/* One setiv is enough: after each call, here one data unit, the library adds 1 to the tweak. */
static int run_xts(struct cipher *cipher, crypt_fn *crypt, struct dun dun, const uint8_t *from,
                   uint8_t *to, size_t len)
{
    uint8_t tweak[BLOCK_BYTES];
    store_le64(tweak, dun.limb[0]);
    store_le64(tweak + 8, dun.limb[1]);
    if (gcry_cipher_setiv(cipher->handle, tweak, sizeof(tweak)))
        return -EIO;
    for (size_t at = 0; at < len; at += cipher->data_unit) {
        if (crypt(cipher->handle, to + at, cipher->data_unit, from + at, cipher->data_unit))
            return -EIO;
    }
    return 0;
}

/* The DUN times 2^shift, modulo 2^128, encrypted; 0 < shift < 64, or 0. */
static gcry_error_t make_iv(struct cipher *cipher, const struct dun *dun,
                            uint8_t iv[static BLOCK_BYTES])
{
    unsigned shift = cipher->iv_shift;
    uint64_t carry = shift ? dun->limb[0] >> (64 - shift) : 0;
    store_le64(iv, dun->limb[0] << shift);
    store_le64(iv + 8, dun->limb[1] << shift | carry);
    return gcry_cipher_encrypt(cipher->iv_handle, iv, BLOCK_BYTES, NULL, 0);
}

static int run_cbc(struct cipher *cipher, crypt_fn *crypt, struct dun dun, const uint8_t *from,
                   uint8_t *to, size_t len)
{
    for (size_t at = 0; at < len; at += cipher->data_unit) {
        uint8_t iv[BLOCK_BYTES];
        if (make_iv(cipher, &dun, iv) || gcry_cipher_setiv(cipher->handle, iv, sizeof(iv)) ||
            crypt(cipher->handle, to + at, cipher->data_unit, from + at, cipher->data_unit))
            return -EIO;
        dun_add(&dun, 1);
    }
    return 0;
}

/* A handle with its key set. */
static int open_handle(gcry_cipher_hd_t *handle, unsigned key_size, int chaining,
                       const uint8_t *key, size_t key_bytes, struct ice_why *why)
{
    static const int aes[] = {
        [KEY_SIZE_128] = GCRY_CIPHER_AES128,
        [KEY_SIZE_192] = GCRY_CIPHER_AES192,
        [KEY_SIZE_256] = GCRY_CIPHER_AES256,
    };
    gcry_error_t error = gcry_cipher_open(handle, aes[key_size], chaining, 0);
    if (!error)
        error = gcry_cipher_setkey(*handle, key, key_bytes);
    return error ? library_error(error, "cannot make a cipher context", why) : 0;
}

/* The key that makes the IVs is the hash of the data key. */
static int open_iv_essiv(struct cipher *cipher, const struct cipher_params *params,
                         const uint8_t *key, struct ice_why *why)
{
    uint8_t *hash = secret_alloc(SHA256_BYTES);
    if (!hash)
        return secret_exhausted("a key", why);
    gcry_buffer_t part = {.data = (void *)key, .len = params->algorithm->key_bytes};
    library_sha256(&part, 1, hash);
    int rc = open_handle(&cipher->iv_handle, KEY_SIZE_256, GCRY_CIPHER_MODE_ECB, hash, SHA256_BYTES,
                         why);
    secret_free(hash);
    return rc;
}

/* By how many bits the DUN is shifted on its way into the IV. */
static unsigned iv_shift(const struct cipher_params *params)
{
    bool of_bytes =
        params->algorithm->alg == ALG_BITLOCKER_AES_CBC && !params->bitlocker_iv_from_dun;
    return of_bytes ? log2_exact(params->data_unit) : 0;
}

unsigned cipher_iv_bits(const struct cipher_params *params)
{
    return 8 * BLOCK_BYTES - iv_shift(params);
}

/* The data key makes the IVs. */
static int open_iv_bitlocker(struct cipher *cipher, const struct cipher_params *params,
                             const uint8_t *key, struct ice_why *why)
{
    cipher->iv_shift = iv_shift(params);
    return open_handle(&cipher->iv_handle, params->algorithm->key_size, GCRY_CIPHER_MODE_ECB, key,
                       params->algorithm->key_bytes, why);
}

static const struct mode modes[] = {
    [ALG_AES_XTS] = {GCRY_CIPHER_MODE_XTS, NULL, run_xts},
    [ALG_BITLOCKER_AES_CBC] = {GCRY_CIPHER_MODE_CBC, open_iv_bitlocker, run_cbc},
    [ALG_AES_ECB] = {GCRY_CIPHER_MODE_ECB, NULL, run_ecb},
    [ALG_ESSIV_AES_CBC] = {GCRY_CIPHER_MODE_CBC, open_iv_essiv, run_cbc},
};

int cipher_check_key(const struct algorithm *algorithm, const uint8_t *key, struct ice_why *why)
{
    size_t half = algorithm->key_bytes / 2;
    if (algorithm->alg == ALG_AES_XTS && secret_equal(key, key + half, half))
        return why_set(why, EINVAL, "the two halves of the XTS key are equal");
    return 0;
}

int cipher_open(const struct cipher_params *params, const uint8_t *key, struct cipher **cipher,
                struct ice_why *why)
{
    const struct algorithm *algorithm = params->algorithm;
    uint32_t data_unit = params->data_unit;
    assert(is_power_of_two(data_unit) && data_unit >= DATA_UNIT_MIN && data_unit <= DATA_UNIT_MAX);

    int rc = cipher_check_key(algorithm, key, why);
    if (rc)
        return rc;
    struct cipher *made = secret_alloc(sizeof(*made));
    if (!made)
        return secret_exhausted("a key", why);

    made->mode = &modes[algorithm->alg];
    made->data_unit = data_unit;
    rc = open_handle(&made->handle, algorithm->key_size, made->mode->chaining, key,
                     algorithm->key_bytes, why);
    if (rc == 0 && made->mode->open_iv)
        rc = made->mode->open_iv(made, params, key, why);
    if (rc) {
        cipher_close(made);
        return rc;
    }
    *cipher = made;
    return 0;
}

void cipher_close(struct cipher *cipher)
{
    if (!cipher)
        return;
    gcry_cipher_close(cipher->handle);
    gcry_cipher_close(cipher->iv_handle);
    secret_free(cipher);
}

static int run(struct cipher *cipher, crypt_fn *crypt, struct dun dun, const void *from, void *to,
               size_t len)
{
    assert(len % cipher->data_unit == 0);
    return len ? cipher->mode->run(cipher, crypt, dun, from, to, len) : 0;
}

int cipher_encrypt(struct cipher *cipher, struct dun dun, const void *from, void *to, size_t len)
{
    return run(cipher, gcry_cipher_encrypt, dun, from, to, len);
}

int cipher_decrypt(struct cipher *cipher, struct dun dun, const void *from, void *to, size_t len)
{
    return run(cipher, gcry_cipher_decrypt, dun, from, to, len);
}
