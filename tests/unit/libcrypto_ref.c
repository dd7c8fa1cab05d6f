/* SPDX-License-Identifier: BSD-2-Clause */
/* One EVP operation per data unit and per IV, each from the key anew: slow, and easy to believe. */
#include "libcrypto_ref.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

static const EVP_CIPHER *evp_cipher(const struct algorithm *algorithm)
{
    switch (algorithm->alg) {
    case ALG_AES_XTS:
        return algorithm->key_bytes == 32 ? EVP_aes_128_xts() : EVP_aes_256_xts();
    case ALG_AES_ECB:
        return algorithm->key_bytes == 16   ? EVP_aes_128_ecb()
               : algorithm->key_bytes == 24 ? EVP_aes_192_ecb()
                                            : EVP_aes_256_ecb();
    default:
        return algorithm->key_bytes == 16   ? EVP_aes_128_cbc()
               : algorithm->key_bytes == 24 ? EVP_aes_192_cbc()
                                            : EVP_aes_256_cbc();
    }
}

static bool evp_run(const EVP_CIPHER *type, const unsigned char *key, const unsigned char *iv,
                    bool encrypt, const unsigned char *from, unsigned char *to, size_t len)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int part = 0, rest = 0;
    bool done = ctx && EVP_CipherInit_ex(ctx, type, NULL, key, iv, encrypt) &&
                EVP_CIPHER_CTX_set_padding(ctx, 0) &&
                EVP_CipherUpdate(ctx, to, &part, from, (int)len) &&
                EVP_CipherFinal_ex(ctx, to + part, &rest) && (size_t)part + (size_t)rest == len;
    EVP_CIPHER_CTX_free(ctx);
    return done;
}

static void little_endian(ref_dun number, unsigned char bytes[static 16])
{
    for (int i = 0; i < 16; i++, number >>= 8)
        bytes[i] = (unsigned char)number;
}

static bool essiv(const struct algorithm *algorithm, const unsigned char *key,
                  unsigned char iv[static 16])
{
    unsigned char salt[32], plain[16];
    memcpy(plain, iv, sizeof(plain));
    return EVP_Digest(key, algorithm->key_bytes, salt, NULL, EVP_sha256(), NULL) &&
           evp_run(EVP_aes_256_ecb(), salt, NULL, true, plain, iv, sizeof(plain));
}

static bool eboiv(const struct algorithm *algorithm, const unsigned char *key,
                  unsigned char iv[static 16])
{
    const EVP_CIPHER *ecb = evp_cipher(algorithm_by_id(ALG_AES_ECB, algorithm->key_size));
    unsigned char plain[16];
    memcpy(plain, iv, sizeof(plain));
    return evp_run(ecb, key, NULL, true, plain, iv, sizeof(plain));
}

static bool unit_iv(const struct algorithm *algorithm, size_t data_unit, ref_dun dun,
                    const unsigned char *key, unsigned char iv[static 16])
{
    switch (algorithm->alg) {
    case ALG_ESSIV_AES_CBC:
        little_endian(dun, iv);
        return essiv(algorithm, key, iv);
    case ALG_BITLOCKER_AES_CBC:
        little_endian(dun * data_unit, iv);
        return eboiv(algorithm, key, iv);
    default:
        little_endian(dun, iv);
        return true;
    }
}

bool libcrypto_ref(const struct algorithm *algorithm, size_t data_unit, ref_dun dun,
                   const unsigned char *key, bool encrypt, const unsigned char *from,
                   unsigned char *to, size_t len)
{
    const EVP_CIPHER *type = evp_cipher(algorithm);
    for (size_t at = 0; at < len; at += data_unit, dun++) {
        unsigned char iv[16];
        if (!unit_iv(algorithm, data_unit, dun, key, iv) ||
            !evp_run(type, key, iv, encrypt, from + at, to + at, data_unit))
            return false;
    }
    return true;
}

bool libcrypto_ref_kdf(const unsigned char *key, const unsigned char *label, size_t label_len,
                       const unsigned char *context, size_t context_len, unsigned char *out,
                       size_t len)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, (char[]){"counter"}, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MAC, (char[]){"CMAC"}, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_CIPHER, (char[]){"AES-256-CBC"}, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, 32),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)label, label_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)context, context_len),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "KBKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool done = ctx && EVP_KDF_derive(ctx, out, len, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return done;
}
