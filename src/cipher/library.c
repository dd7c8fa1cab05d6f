/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libgcrypt keeps raw keys in its contexts, and its own secure memory is a linear list with a fixed
 * size. All its allocations go to our pool instead: locked, wiped, and as fast with a thousand
 * contexts as with one.
 */
#include "cipher/library.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "cipher/cipher.h"

#include <assert.h>
#include <errno.h>

#define VERSION_NEEDED "1.8.0" /* the first with XTS */

static int is_secret(const void *block)
{
    (void)block;
    return 1;
}

/*
 * The first AES key of the process makes the library test itself, which allocates. Done here, once,
 * no later step allocates but opening and closing a context.
 */
static int run_self_tests(struct ice_why *why)
{
    static const uint8_t key[32];
    gcry_cipher_hd_t aes;
    gcry_error_t error = gcry_cipher_open(&aes, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_ECB, 0);
    if (error)
        return library_error(error, "cannot start libgcrypt", why);
    error = gcry_cipher_setkey(aes, key, sizeof(key));
    gcry_cipher_close(aes);
    return error ? library_error(error, "libgcrypt's test of itself", why) : 0;
}

int cipher_init(struct ice_why *why)
{
    gcry_set_allocation_handler(secret_alloc, secret_alloc, is_secret, secret_realloc, secret_free);
    if (!gcry_check_version(VERSION_NEEDED))
        return why_set(why, ENOTSUP, "libgcrypt %s is older than " VERSION_NEEDED,
                       gcry_check_version(NULL));
    if (gcry_fips_mode_active())
        return why_set(
            why, ENOTSUP,
            "libgcrypt is in FIPS mode, where it keeps keys in memory that is not locked");
    gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return run_self_tests(why);
}

int library_error(gcry_error_t error, const char *what, struct ice_why *why)
{
    if (gcry_err_code(error) == GPG_ERR_ENOMEM)
        return secret_exhausted("a cipher context", why);
    return why_set(why, EIO, "%s: %s", what, gcry_strerror(error));
}

/* The library hashes in a block on its stack, and may leave the end of a key in it. */
static __attribute__((noinline)) void burn_stack(void)
{
    uint8_t frame[2048];
    secret_wipe(frame, sizeof(frame));
}

void library_sha256(const gcry_buffer_t *parts, int n, uint8_t digest[static SHA256_BYTES])
{
    gcry_error_t error = gcry_md_hash_buffers(GCRY_MD_SHA256, 0, digest, parts, n);
    assert(!error);
    (void)error;
    burn_stack();
}

void cipher_fingerprint(const uint8_t *key, size_t len,
                        uint8_t fingerprint[static FINGERPRINT_BYTES])
{
    static char label[] = "icesim key"; /* its terminator is hashed too */
    const gcry_buffer_t parts[] = {
        {.data = label, .len = sizeof(label)},
        {.data = (void *)key, .len = len},
    };
    uint8_t digest[SHA256_BYTES];
    library_sha256(parts, ARRAY_SIZE(parts), digest);
    memcpy(fingerprint, digest, FINGERPRINT_BYTES);
}
