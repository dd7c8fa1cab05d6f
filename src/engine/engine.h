/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulated hardware: physical keyslots, the cipher contexts behind them, keys that come with
 * each request, and wrapped keys.
 * One engine serves all functions. Slot numbers here are physical; windows are the device's affair.
 *
 * A slot has an atomic state word: its program count (raised by each successful program, kept over
 * evictions), whether it is programmed, whether a key operation owns it, and how many requests are
 * in flight on it. Taking and releasing a reference is one atomic step; key operations take
 * the slot's mutex and own the word only when nothing is in flight. Tagged I/O that meets a key
 * operation waits for its end, so it sees the old key or the new one.
 *
 * All functions may be called from any thread.
 */
#ifndef ICESIM_ENGINE_ENGINE_H
#define ICESIM_ENGINE_ENGINE_H

#include "base/algorithm.h"
#include "base/dun.h"
#include "base/why.h"
#include "cipher/cipher.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;

/* Does not open any cipher context. `slots` is 1..SLOTS_MAX. 0 or -errno. */
int engine_new(unsigned slots, struct engine **engine, struct ice_why *why);

/* No request is in flight. Wipes all keys. */
void engine_free(struct engine *engine);

unsigned engine_slots(const struct engine *engine);

/*
 * Before the engine is used: what wrapped keys hang on, ENGINE_SECRET_BYTES in secret memory
 * (copied into such), and the number of this boot. Long-term keys last as long as the secret,
 * ephemeral ones as long as the boot. An engine that is not told has a random secret of its own.
 */
#define ENGINE_SECRET_BYTES 32
void engine_set_secret(struct engine *engine, const uint8_t secret[static ENGINE_SECRET_BYTES],
                       uint64_t boot);

/* Before the engine is used: BitLocker IVs from the DUN itself, and not from DUN x data unit. */
void engine_set_bitlocker_iv(struct engine *engine, bool from_dun);

/* What a slot holds, as far as people may know. */
struct slot_key {
    uint32_t data_unit;
    uint64_t program_count;
    uint8_t fingerprint[FINGERPRINT_BYTES];
    uint16_t iv_bits; /* of the algorithm: DUNs above say nothing to it */
    uint64_t claimer; /* the owner who alone may use it (struct slot_owner); 0: everybody may */
};

#define CLAIMER_NAME_BYTES 64

/* Who programs or evicts a slot. NULL: nobody in particular, who claims nothing. */
struct slot_owner {
    uint64_t id;      /* for engine_clear; not 0 */
    bool claim;       /* for the owner alone: only what is empty or claimed already */
    const char *name; /* of a claimer, for those who are refused: "the views of vm0" */
};

struct engine_key {
    const struct algorithm *algorithm;
    uint32_t data_unit;   /* bytes */
    const uint8_t *bytes; /* in secret memory: algorithm->key_bytes of them, or a wrapped key */
    size_t wrapped_len;   /* not 0: `bytes` is an ephemeral wrapped key of this length */
};

/*
 * Programs `slot` (below engine_slots), replacing the key of an idle one. All or nothing: on
 * failure the slot is as it was. `now` (may be NULL) is what the slot holds then, set for 0, -EBUSY
 * and -EEXIST. Whether the triple is one that the function advertises, the caller has checked. 0;
 * -EBUSY with requests in flight, or without a claim on a claimed slot; -EEXIST: a claim on one
 * that is programmed, unless claimed by the same owner; -EINVAL: weak key, or a wrapped one for
 * another algorithm than aes-256-xts; -EBADMSG: no ephemeral key of this boot; -ENOMEM.
 */
int engine_program(struct engine *engine, unsigned slot, const struct engine_key *key,
                   const struct slot_owner *owner, struct slot_key *now, struct ice_why *why);

/*
 * Empties `slot` and wipes its key, if `by` may. `was` (may be NULL) is what it held, with
 * data_unit 0 when it was empty already, which is no error. 0; -EBUSY with requests in flight, or
 * claimed by another; -EEXIST: with by->claim, programmed and not claimed by `by`.
 */
int engine_evict(struct engine *engine, unsigned slot, const struct slot_owner *by,
                 struct slot_key *was, struct ice_why *why);

/*
 * Empties the slots of [first, first + n) that `owner` programmed last (ENGINE_ANY_OWNER: all),
 * each after the requests in flight on it have ended.
 */
#define ENGINE_ANY_OWNER UINT64_MAX
void engine_clear(struct engine *engine, unsigned first, unsigned n, uint64_t owner);
/* The same of those that `owner` has claimed. */
void engine_clear_claimed(struct engine *engine, unsigned first, unsigned n, uint64_t owner);

/*
 * Engine reset: raises the generation, then empties every slot, and forgets the keys that came with
 * requests, each after the requests in flight on it have ended. Returns the new generation. Whoever
 * takes a slot checks the generation after taking it.
 */
uint64_t engine_reset(struct engine *engine);
uint64_t engine_generation(const struct engine *engine);

/* ---- keys that come with each request ---- */

/* So many are kept ready; of those not in use the one not used for longest makes room. */
#define INLINE_KEYS 64u

/*
 * Before the others: makes room for them, once. Not from two threads at once. 0 or -ENOMEM.
 */
int engine_accept_inline(struct engine *engine, struct ice_why *why);

/*
 * Takes a reference to a key that is given as it is, and that `owner`, not 0, shares with nobody.
 * The number in `slot` stands for it in engine_borrow, engine_return and engine_put, as a slot of
 * its own. Finding one that is ready allocates nothing and takes no lock; opening one waits while
 * all INLINE_KEYS are in use. `now` is what that slot holds, with program_count 0. 0, or what
 * engine_program says of a key.
 */
int engine_get_inline(struct engine *engine, const struct engine_key *key, uint64_t owner,
                      unsigned *slot, struct slot_key *now, struct ice_why *why);

/* Wipes `owner`'s key, if it is there. 0; -EBUSY with requests in flight. */
int engine_forget_inline(struct engine *engine, const struct engine_key *key, uint64_t owner,
                         struct ice_why *why);

/* Wipes those of `owner`, each after the requests in flight with it have ended. */
void engine_clear_inline(struct engine *engine, uint64_t owner);

/* ---- hardware-wrapped keys ---- */

/* A wrapped key is at most this long (Linux: BLK_CRYPTO_MAX_HW_WRAPPED_KEY_SIZE). */
#define WRAPPED_KEY_MAX  128
#define MASTER_KEY_BYTES 32 /* what is wrapped: the AES-256-CMAC key of the KDF */

struct wrapped_key {
    uint8_t bytes[WRAPPED_KEY_MAX];
    size_t len;
};

/*
 * A new long-term key; one from `raw` (MASTER_KEY_BYTES, else -EINVAL); the ephemeral form of a
 * long-term key; the software secret of an ephemeral key, into 32 bytes of secret memory. 0;
 * -EBADMSG: not such a key of this engine (of this boot), or changed, or cut; -ENOMEM.
 */
int engine_key_generate(struct engine *engine, struct wrapped_key *key, struct ice_why *why);
int engine_key_import(struct engine *engine, const uint8_t *raw, size_t len,
                      struct wrapped_key *key, struct ice_why *why);
int engine_key_prepare(struct engine *engine, const uint8_t *long_term, size_t len,
                       struct wrapped_key *ephemeral, struct ice_why *why);
int engine_key_derive(struct engine *engine, const uint8_t *ephemeral, size_t len,
                      uint8_t secret[static 32], struct ice_why *why);

struct slot_info {
    bool programmed;
    bool wrapped; /* it came as a wrapped key */
    const struct algorithm *algorithm;
    uint32_t data_unit;
    uint64_t program_count;
    uint8_t fingerprint[FINGERPRINT_BYTES];
    unsigned in_flight;
    uint64_t claimer; /* 0: direct */
    char claimer_name[CLAIMER_NAME_BYTES];
};

/* A consistent picture of one slot. */
void engine_slot_info(struct engine *engine, unsigned slot, struct slot_info *info);

/*
 * Takes a reference: until engine_put the slot keeps its key. With `expect` other than
 * UINT64_MAX only if that is the program count, compared in the same atomic step. On success
 * `key` (may be NULL) is what the slot holds. 0; -ENOKEY: empty, or programmed since `expect`.
 */
int engine_get(struct engine *engine, unsigned slot, uint64_t expect, struct slot_key *key);
void engine_put(struct engine *engine, unsigned slot);

/*
 * Borrows one of the slot's contexts, for a thread that holds a reference; waits for one while all
 * are in use. Return it soon: never across I/O.
 */
struct cipher *engine_borrow(struct engine *engine, unsigned slot);
void engine_return(struct engine *engine, unsigned slot, struct cipher *cipher);

#endif
