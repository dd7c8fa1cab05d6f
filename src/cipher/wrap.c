/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key blobs and key derivation, both from one KDF.
 *
 * A blob: u8 form, u8 version, u8[6] 0, u8[12] nonce, u8[32] sealed master key, u8[16] tag. The
 * first eight bytes are authenticated with the rest; they are so many that no raw key has the
 * length of a blob. The nonce is random, and only it keeps two blobs of one key apart.
 */
#include "cipher/wrap.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "cipher/library.h"

#include <assert.h>
#include <errno.h>

#define VERSION     2
#define HEAD_BYTES  8
#define NONCE_BYTES 12
#define TAG_BYTES   16
#define MAC_BYTES   16 /* what one step of the KDF gives */
#define KEK_BYTES   32

#define NONCE_AT  HEAD_BYTES
#define SEALED_AT (NONCE_AT + NONCE_BYTES)
#define TAG_AT    (SEALED_AT + WRAP_MASTER_BYTES)

_Static_assert(TAG_AT + TAG_BYTES == WRAP_BLOB_BYTES, "the parts of a blob");

static int fail(gcry_error_t error, struct ice_why *why)
{
    return library_error(error, "cannot handle a wrapped key", why);
}

/* ---- derivation ---- */

/* What a derived key is for. Both are bytes, without the terminator of a literal. */
struct purpose {
    const char *label;
    size_t label_len;
    const char *context;
    size_t context_len;
};

#define LITERAL(text) (text), sizeof(text) - 1

/* Fact: xfstests, fscrypt-crypt-util, as read from the engines of Qualcomm. */
#define ENGINE_LABEL LITERAL("\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00\x20")

static const struct purpose for_inline_key = {
    ENGINE_LABEL,
    LITERAL("inline encryption key\0\0\0\0\0\0\x02\x43\x00\x82\x50\0\0\0\0"),
};
static const struct purpose for_sw_secret = {
    ENGINE_LABEL,
    LITERAL("raw secret\0\0\0\0\0\0\0\0\0\x02\x17\x00\x80\x50\0\0\0\0"),
};

/* Step `counter` of the KDF: its bytes counter * MAC_BYTES and on. */
static gcry_error_t derive_block(gcry_mac_hd_t mac, const struct purpose *purpose, uint32_t counter,
                                 size_t total, uint8_t out[static MAC_BYTES])
{
    uint32_t be_counter = htobe32(counter), be_bits = htobe32((uint32_t)total * 8);
    size_t len = MAC_BYTES;
    gcry_error_t error = gcry_mac_reset(mac);
    if (!error)
        error = gcry_mac_write(mac, &be_counter, sizeof(be_counter));
    if (!error)
        error = gcry_mac_write(mac, purpose->label, purpose->label_len);
    if (!error)
        error = gcry_mac_write(mac, "", 1);
    if (!error && purpose->context_len)
        error = gcry_mac_write(mac, purpose->context, purpose->context_len);
    if (!error)
        error = gcry_mac_write(mac, &be_bits, sizeof(be_bits));
    return error ? error : gcry_mac_read(mac, out, &len);
}

/* SP 800-108, counter mode; `len` is whole blocks. The key has 32 bytes, as AES-256 takes. */
static int derive(const uint8_t *key, const struct purpose *purpose, uint8_t *out, size_t len,
                  struct ice_why *why)
{
    assert(len % MAC_BYTES == 0);

    gcry_mac_hd_t mac = NULL;
    gcry_error_t error = gcry_mac_open(&mac, GCRY_MAC_CMAC_AES, 0, NULL);
    if (!error)
        error = gcry_mac_setkey(mac, key, 32);
    for (size_t at = 0; !error && at < len; at += MAC_BYTES)
        error = derive_block(mac, purpose, (uint32_t)(at / MAC_BYTES) + 1, len, out + at);
    gcry_mac_close(mac);
    if (!error)
        return 0;
    secret_wipe(out, len);
    return fail(error, why);
}

int wrap_derive_inline_key(const uint8_t master[static WRAP_MASTER_BYTES],
                           uint8_t key[static INLINE_KEY_BYTES], struct ice_why *why)
{
    return derive(master, &for_inline_key, key, INLINE_KEY_BYTES, why);
}

int wrap_derive_sw_secret(const uint8_t master[static WRAP_MASTER_BYTES],
                          uint8_t secret[static SECRET_SW_BYTES], struct ice_why *why)
{
    return derive(master, &for_sw_secret, secret, SECRET_SW_BYTES, why);
}

/* ---- blobs ---- */

/* The key of a form; that of the ephemeral one differs from boot to boot. */
static int derive_kek(const uint8_t *secret, enum wrap_form form, uint64_t boot,
                      uint8_t kek[static KEK_BYTES], struct ice_why *why)
{
    uint64_t be_boot = htobe64(boot);
    struct purpose long_term = {LITERAL("icesim long-term key"), NULL, 0};
    struct purpose ephemeral = {LITERAL("icesim ephemeral key"), (char *)&be_boot, sizeof(be_boot)};
    return derive(secret, form == WRAP_LONG_TERM ? &long_term : &ephemeral, kek, KEK_BYTES, why);
}

/* AES-256-GCM with the key of the form, the head of the blob authenticated. */
static int open_gcm(gcry_cipher_hd_t *gcm, const uint8_t *secret, enum wrap_form form,
                    uint64_t boot, const uint8_t *blob, struct ice_why *why)
{
    uint8_t *kek = secret_alloc(KEK_BYTES);
    if (!kek)
        return secret_exhausted("a wrapped key", why);
    int rc = derive_kek(secret, form, boot, kek, why);
    if (rc) {
        secret_free(kek);
        return rc;
    }
    gcry_error_t error = gcry_cipher_open(gcm, GCRY_CIPHER_AES256, GCRY_CIPHER_MODE_GCM, 0);
    if (!error)
        error = gcry_cipher_setkey(*gcm, kek, KEK_BYTES);
    secret_free(kek);
    if (!error)
        error = gcry_cipher_setiv(*gcm, blob + NONCE_AT, NONCE_BYTES);
    if (!error)
        error = gcry_cipher_authenticate(*gcm, blob, HEAD_BYTES);
    if (!error)
        return 0;
    gcry_cipher_close(*gcm);
    return fail(error, why);
}

int wrap_seal(const uint8_t secret[static WRAP_SECRET_BYTES], enum wrap_form form, uint64_t boot,
              const uint8_t master[static WRAP_MASTER_BYTES], uint8_t blob[static WRAP_BLOB_BYTES],
              struct ice_why *why)
{
    gcry_cipher_hd_t gcm = NULL;
    memset(blob, 0, WRAP_BLOB_BYTES);
    blob[0] = (uint8_t)form;
    blob[1] = VERSION;
    secret_random(blob + NONCE_AT, NONCE_BYTES);

    int rc = open_gcm(&gcm, secret, form, boot, blob, why);
    if (rc)
        return rc;
    gcry_error_t error =
        gcry_cipher_encrypt(gcm, blob + SEALED_AT, WRAP_MASTER_BYTES, master, WRAP_MASTER_BYTES);
    if (!error)
        error = gcry_cipher_gettag(gcm, blob + TAG_AT, TAG_BYTES);
    gcry_cipher_close(gcm);
    return error ? fail(error, why) : 0;
}

/* What can be seen without a key. */
static int check_head(enum wrap_form form, const uint8_t *blob, size_t len, struct ice_why *why)
{
    if (len != WRAP_BLOB_BYTES)
        return why_set(why, EBADMSG, "a wrapped key has %u bytes, not %zu", WRAP_BLOB_BYTES, len);
    if (blob[1] != VERSION || (blob[0] != WRAP_LONG_TERM && blob[0] != WRAP_EPHEMERAL))
        return why_set(why, EBADMSG, "it is no wrapped key of this engine");
    if (blob[0] != form)
        return why_set(why, EBADMSG, "it is %s key, and %s one is due",
                       blob[0] == WRAP_LONG_TERM ? "a long-term" : "an ephemeral",
                       form == WRAP_LONG_TERM ? "a long-term" : "an ephemeral");
    return 0;
}

int wrap_open(const uint8_t secret[static WRAP_SECRET_BYTES], enum wrap_form form, uint64_t boot,
              const uint8_t *blob, size_t len, uint8_t master[static WRAP_MASTER_BYTES],
              struct ice_why *why)
{
    gcry_cipher_hd_t gcm = NULL;
    int rc = check_head(form, blob, len, why);
    if (rc)
        return rc;
    uint8_t *opened = secret_alloc(WRAP_MASTER_BYTES);
    if (!opened)
        return secret_exhausted("a wrapped key", why);
    rc = open_gcm(&gcm, secret, form, boot, blob, why);
    if (rc) {
        secret_free(opened);
        return rc;
    }
    gcry_error_t error =
        gcry_cipher_decrypt(gcm, opened, WRAP_MASTER_BYTES, blob + SEALED_AT, WRAP_MASTER_BYTES);
    if (!error)
        error = gcry_cipher_checktag(gcm, blob + TAG_AT, TAG_BYTES);
    gcry_cipher_close(gcm);
    if (!error)
        memcpy(master, opened, WRAP_MASTER_BYTES);
    secret_free(opened);
    if (gcry_err_code(error) == GPG_ERR_CHECKSUM)
        return why_set(why, EBADMSG, "the wrapped key was changed, or made by another engine%s",
                       form == WRAP_EPHEMERAL ? " or in an earlier boot" : "");
    return error ? fail(error, why) : 0;
}
