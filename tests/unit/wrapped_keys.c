/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware-wrapped keys: what is derived, what a blob withstands, and slots programmed with one.
 * The answers were computed by pyca/cryptography's KBKDFCMAC from the labels and contexts of
 * xfstests' fscrypt-crypt-util; crosscheck.c asks OpenSSL.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "cipher/wrap.h"
#include "engine/engine.h"
#include "tap.h"

#include <errno.h>
#include <stdlib.h>

#define UNIT 512

/* 0, 1, … 31; zeros; the key of SP 800-38A, F.5.5. */
static const struct {
    const char *master, *inline_key, *sw_secret;
} known[] = {
    {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "16317c8fe3133e7aef46bdede2b39f09a81e9fbe0c095f906c5c1341da6eaf17"
     "f151e2982f4f14a5495f78761066cafa5ebb995997d3fb5c8678bb394b6b57dc",
     "48b69fb100fda3d600b75d7f25e2b8f1cf95e5de1bd624b9273d537519270c65"},
    {"0000000000000000000000000000000000000000000000000000000000000000",
     "cbe5db40215a3d386d61e54ef2f8a7814b00bacf35b316f88e68e89a47abbab4"
     "834c27dac8a91ae1c3304f31b5f2202c14989661bafccc56cf6212d8b1f72691",
     "e26fb19b4fb6266fc7c5fc9654efad643cfebc64c097341155195595c28d5ec9"},
    {"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
     "f465fff6bf94737a72c0a0e860fc6183d524cbfbcaa4753a282b366003af136b"
     "134e64e703168db86d75733bee12fd3450ac0585f339dac1cd6ba42b03817ccb",
     "7b8b407c9bd0fd3c4ba3db54f88bc4edd7303e107826d49aafd6cf1f538b846a"},
};

static const uint8_t secret[ENGINE_SECRET_BYTES] = {1, 2, 3}, foreign[ENGINE_SECRET_BYTES] = {9};

static void unhex(const char *hex, uint8_t *bytes)
{
    for (unsigned value; sscanf(hex, "%2x", &value) == 1; hex += 2)
        *bytes++ = (uint8_t)value;
}

static struct engine *new_engine(const uint8_t *with, uint64_t boot)
{
    struct engine *engine;
    if (engine_new(4, &engine, NULL))
        exit(1);
    if (with)
        engine_set_secret(engine, with, boot);
    return engine;
}

static void test_derivation(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        uint8_t master[WRAP_MASTER_BYTES], got[INLINE_KEY_BYTES], want[INLINE_KEY_BYTES];
        unhex(known[i].master, master);
        unhex(known[i].inline_key, want);
        is_int(wrap_derive_inline_key(master, got, NULL), 0, "inline key %u", i);
        is_mem(got, want, INLINE_KEY_BYTES, "inline key %u: bytes", i);
        unhex(known[i].sw_secret, want);
        is_int(wrap_derive_sw_secret(master, got, NULL), 0, "software secret %u", i);
        is_mem(got, want, SECRET_SW_BYTES, "software secret %u: bytes", i);
    }
}

/* ---- blobs ---- */

/* Refused with `clause` (NULL: any), and nothing of the master key is told. */
static bool refused(enum wrap_form form, const uint8_t *from, uint64_t boot, const uint8_t *blob,
                    size_t len, const char *clause)
{
    static const uint8_t untouched[WRAP_MASTER_BYTES] = {0x5a, 0x5a};
    uint8_t master[WRAP_MASTER_BYTES] = {0x5a, 0x5a};
    struct ice_why why = {0};
    int rc = wrap_open(from, form, boot, blob, len, master, &why);
    if (rc == -EBADMSG && why.err == EBADMSG && !memcmp(master, untouched, sizeof(master)) &&
        (!clause || !strcmp(why.text, clause)))
        return true;
    note("%d: %s", rc, why.text);
    return false;
}

static void test_tampering(enum wrap_form form, const char *name)
{
    uint8_t master[WRAP_MASTER_BYTES], blob[WRAP_BLOB_BYTES + 1] = {0}, opened[WRAP_MASTER_BYTES];
    unhex(known[0].master, master);
    is_int(wrap_seal(secret, form, 7, master, blob, NULL), 0, "%s: sealed", name);
    is_int(wrap_open(secret, form, 7, blob, WRAP_BLOB_BYTES, opened, NULL), 0, "%s: opened", name);
    is_mem(opened, master, sizeof(master), "%s: the same key", name);

    unsigned missed = 0;
    for (unsigned bit = 0; bit < WRAP_BLOB_BYTES * 8; bit++) {
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
        missed += !refused(form, secret, 7, blob, WRAP_BLOB_BYTES, NULL);
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    is_int(missed, 0, "%s: each of its bits counts", name);
    for (size_t len = 0; len <= sizeof(blob); len++)
        missed += len != WRAP_BLOB_BYTES && !refused(form, secret, 7, blob, len, NULL);
    is_int(missed, 0, "%s: cut and longer ones are refused", name);
    ok(refused(form, secret, 7, blob, 64, "a wrapped key has 68 bytes, not 64"), "%s: in words",
       name);
    blob[1] = 1;
    ok(refused(form, secret, 7, blob, WRAP_BLOB_BYTES, "it is no wrapped key of this engine"),
       "%s: another version", name);
}

static void test_forms(void)
{
    uint8_t master[WRAP_MASTER_BYTES], again[WRAP_BLOB_BYTES];
    uint8_t lasting[WRAP_BLOB_BYTES], passing[WRAP_BLOB_BYTES];
    unhex(known[0].master, master);
    wrap_seal(secret, WRAP_LONG_TERM, 7, master, lasting, NULL);
    wrap_seal(secret, WRAP_LONG_TERM, 7, master, again, NULL);
    wrap_seal(secret, WRAP_EPHEMERAL, 7, master, passing, NULL);
    ok(memcmp(lasting, again, WRAP_BLOB_BYTES), "no two blobs are the same");
    is_int(wrap_open(secret, WRAP_LONG_TERM, 8, lasting, WRAP_BLOB_BYTES, master, NULL), 0,
           "a long-term key outlives the boot");
    ok(refused(WRAP_EPHEMERAL, secret, 8, passing, WRAP_BLOB_BYTES,
               "the wrapped key was changed, or made by another engine or in an earlier boot"),
       "an ephemeral one does not");
    ok(refused(WRAP_LONG_TERM, foreign, 7, lasting, WRAP_BLOB_BYTES,
               "the wrapped key was changed, or made by another engine"),
       "another engine's long-term key");
    ok(refused(WRAP_EPHEMERAL, foreign, 7, passing, WRAP_BLOB_BYTES, NULL),
       "another engine's ephemeral key");
    ok(refused(WRAP_EPHEMERAL, secret, 7, lasting, WRAP_BLOB_BYTES,
               "it is a long-term key, and an ephemeral one is due"),
       "a long-term key where an ephemeral one is due");
    ok(refused(WRAP_LONG_TERM, secret, 7, passing, WRAP_BLOB_BYTES,
               "it is an ephemeral key, and a long-term one is due"),
       "an ephemeral key where a long-term one is due");
    lasting[0] = WRAP_EPHEMERAL;
    ok(refused(WRAP_EPHEMERAL, secret, 7, lasting, WRAP_BLOB_BYTES, NULL),
       "a long-term key that says it is ephemeral");
}

/* So that a check of the length alone keeps a blob from being programmed as a raw key. */
static void test_length(void)
{
    for (size_t i = 0; i < ALGORITHM_COUNT; i++)
        ok(algorithms[i].key_bytes != WRAP_BLOB_BYTES, "no key of %s is as long as a blob",
           algorithms[i].name);
}

/* ---- the engine ---- */

/* An ephemeral key of this engine, of the master key known[i]. */
static struct wrapped_key ephemeral(struct engine *engine, unsigned i)
{
    uint8_t master[MASTER_KEY_BYTES];
    struct wrapped_key lasting, passing = {.len = 0};
    unhex(known[i].master, master);
    is_int(engine_key_import(engine, master, sizeof(master), &lasting, NULL), 0, "import");
    is_int(engine_key_prepare(engine, lasting.bytes, lasting.len, &passing, NULL), 0, "prepare");
    return passing;
}

static void test_operations(void)
{
    struct engine *engine = new_engine(NULL, 0), *other = new_engine(NULL, 0);
    uint8_t got[32] = {0}, want[32], first[32] = {0};
    struct ice_why why = {0};
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        struct wrapped_key key = ephemeral(engine, i);
        unhex(known[i].sw_secret, want);
        is_int(engine_key_derive(engine, key.bytes, key.len, got, NULL), 0, "derive");
        is_mem(got, want, sizeof(want), "imported key %u has its software secret", i);
        is_int(engine_key_derive(other, key.bytes, key.len, got, NULL), -EBADMSG,
               "engines that are not told a secret have one each");
    }
    struct wrapped_key key, passing;
    for (unsigned i = 0; i < 2; i++) {
        is_int(engine_key_generate(engine, &key, NULL), 0, "generate");
        is_int(engine_key_derive(engine, key.bytes, key.len, got, NULL), -EBADMSG,
               "a generated key is a long-term one");
        is_int(engine_key_prepare(engine, key.bytes, key.len, &passing, NULL), 0, "and prepares");
        is_int(engine_key_derive(engine, passing.bytes, passing.len, i ? got : first, NULL), 0,
               "to an ephemeral one");
    }
    ok(memcmp(first, got, sizeof(got)), "generated keys differ");
    is_int(engine_key_prepare(engine, passing.bytes, passing.len, &key, NULL), -EBADMSG,
           "an ephemeral key does not prepare");
    is_int(engine_key_import(engine, want, 31, &key, &why), -EINVAL, "a short key to import");
    is_str(why.text, "a key to import has 32 bytes, not 31", "in words");
    is_int(engine_key_import(engine, secret, 33, &key, NULL), -EINVAL, "a long one");
    engine_free(engine);
    engine_free(other);
}

static void test_restart(void)
{
    struct engine *before = new_engine(secret, 3), *after = new_engine(secret, 4);
    uint8_t first[32], second[32];
    struct wrapped_key lasting, old, fresh;
    engine_key_generate(before, &lasting, NULL);
    engine_key_prepare(before, lasting.bytes, lasting.len, &old, NULL);
    engine_key_derive(before, old.bytes, old.len, first, NULL);
    is_int(engine_key_derive(after, old.bytes, old.len, second, NULL), -EBADMSG,
           "after a restart the old ephemeral key is dead");
    is_int(engine_key_prepare(after, lasting.bytes, lasting.len, &fresh, NULL), 0,
           "the long-term key prepares");
    is_int(engine_key_derive(after, fresh.bytes, fresh.len, second, NULL), 0, "to one that lives");
    is_mem(second, first, sizeof(first), "with the same software secret");
    engine_free(before);
    engine_free(after);
}

static void encrypt(struct engine *engine, unsigned slot, uint8_t data[static UNIT])
{
    memset(data, 0, UNIT);
    engine_get(engine, slot, UINT64_MAX, NULL);
    struct cipher *cipher = engine_borrow(engine, slot);
    cipher_encrypt(cipher, dun_from_u64(5), data, data, UNIT);
    engine_return(engine, slot, cipher);
    engine_put(engine, slot);
}

/* A wrapped key in one slot is the derived inline key, raw, in another. */
static void test_program(void)
{
    struct engine *engine = new_engine(secret, 3);
    const struct algorithm *xts = algorithm_by_name("aes-256-xts");
    uint8_t inline_key[INLINE_KEY_BYTES], a[UNIT], b[UNIT];
    struct slot_info wrapped, raw;
    struct wrapped_key key = ephemeral(engine, 2);
    unhex(known[2].inline_key, inline_key);
    is_int(engine_program(engine, 0, &(struct engine_key){xts, UNIT, key.bytes, key.len}, NULL,
                          NULL, NULL),
           0, "a wrapped key is programmed");
    engine_program(engine, 1, &(struct engine_key){xts, UNIT, inline_key, 0}, NULL, NULL, NULL);
    encrypt(engine, 0, a);
    encrypt(engine, 1, b);
    is_mem(a, b, UNIT, "it encrypts as its inline key");
    engine_slot_info(engine, 0, &wrapped);
    engine_slot_info(engine, 1, &raw);
    ok(wrapped.wrapped && !raw.wrapped, "the slot knows how its key came");
    is_mem(wrapped.fingerprint, raw.fingerprint, FINGERPRINT_BYTES,
           "the fingerprint is the inline key's");
    engine_program(engine, 0, &(struct engine_key){xts, UNIT, inline_key, 0}, NULL, NULL, NULL);
    engine_slot_info(engine, 0, &raw);
    ok(!raw.wrapped, "a raw key in its place");
    engine_program(engine, 0, &(struct engine_key){xts, UNIT, key.bytes, key.len}, NULL, NULL,
                   NULL);
    engine_evict(engine, 0, NULL, NULL, NULL);
    engine_slot_info(engine, 0, &wrapped);
    ok(!wrapped.wrapped, "an empty slot");
    engine_free(engine);
}

static void check_refused(struct engine *engine, const struct engine_key *key, int want,
                          const char *clause)
{
    struct ice_why why = {0};
    struct slot_info before, after;
    engine_slot_info(engine, 1, &before);
    is_int(engine_program(engine, 1, key, NULL, NULL, &why), want, "program: %s", clause);
    is_str(why.text, clause, "program: %s: clause", clause);
    engine_slot_info(engine, 1, &after);
    ok(after.programmed && after.program_count == before.program_count, "the slot is as it was");
}

static void test_program_refusals(void)
{
    struct engine *engine = new_engine(secret, 3), *later = new_engine(secret, 4);
    const struct algorithm *xts = algorithm_by_name("aes-256-xts");
    struct wrapped_key lasting, key = ephemeral(engine, 0), next = ephemeral(later, 0);
    engine_key_generate(engine, &lasting, NULL);
    engine_program(engine, 1, &(struct engine_key){xts, UNIT, key.bytes, key.len}, NULL, NULL,
                   NULL);
    check_refused(engine, &(struct engine_key){xts, UNIT, lasting.bytes, lasting.len}, -EBADMSG,
                  "it is a long-term key, and an ephemeral one is due");
    check_refused(engine, &(struct engine_key){xts, UNIT, next.bytes, next.len}, -EBADMSG,
                  "the wrapped key was changed, or made by another engine or in an earlier boot");
    check_refused(engine, &(struct engine_key){xts, UNIT, key.bytes, key.len - 1}, -EBADMSG,
                  "a wrapped key has 68 bytes, not 67");
    check_refused(engine,
                  &(struct engine_key){algorithm_by_name("aes-128-xts"), UNIT, key.bytes, key.len},
                  -EINVAL, "a wrapped key is for aes-256-xts, not aes-128-xts");
    check_refused(
        engine,
        &(struct engine_key){algorithm_by_name("aes-256-cbc-essiv"), UNIT, key.bytes, key.len},
        -EINVAL, "a wrapped key is for aes-256-xts, not aes-256-cbc-essiv");
    engine_get(engine, 1, UINT64_MAX, NULL);
    check_refused(engine, &(struct engine_key){xts, UNIT, key.bytes, key.len}, -EBUSY,
                  "the slot has 1 requests in flight");
    engine_put(engine, 1);
    engine_free(engine);
    engine_free(later);
}

static void test_bitlocker_switch(void)
{
    const struct algorithm *algorithm = algorithm_by_name("aes-128-cbc-bitlocker");
    uint8_t key[16] = {1}, a[UNIT], b[UNIT];
    struct engine *engine = new_engine(NULL, 0), *switched = new_engine(NULL, 0);
    struct slot_key usual, other;
    engine_set_bitlocker_iv(switched, true);
    engine_program(engine, 0, &(struct engine_key){algorithm, UNIT, key, 0}, NULL, &usual, NULL);
    engine_program(switched, 0, &(struct engine_key){algorithm, UNIT, key, 0}, NULL, &other, NULL);
    encrypt(engine, 0, a);
    encrypt(switched, 0, b);
    ok(memcmp(a, b, UNIT), "the switch changes BitLocker's IVs");
    ok(usual.iv_bits == 119 && other.iv_bits == 128, "and how wide a DUN they tell apart");
    engine_free(engine);
    engine_free(switched);
}

int main(void)
{
    if (cipher_init(NULL))
        return 1;
    test_derivation();
    test_tampering(WRAP_LONG_TERM, "a long-term key");
    test_tampering(WRAP_EPHEMERAL, "an ephemeral key");
    test_forms();
    test_length();
    test_operations();
    test_restart();
    test_program();
    test_program_refusals();
    test_bitlocker_switch();
    return tap_done();
}
