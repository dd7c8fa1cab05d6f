/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys that come with each request: a cache of slots that nobody names. Each entry is a slot beside
 * a copy of the key as it came; a tag, the start of the key's hash, says where to look.
 *
 * A hit reads tags, takes a reference as tagged I/O does, and only then compares: what has a
 * reference does not change. All else holds `lock`: a key and its tag change only while their slot
 * is empty. Who finds every entry in use waits on `free`, told by the end of a reference.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/secret.h"
#include "internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct entry {
    struct slot slot;
    _Atomic uint64_t tag;  /* 0: none */
    _Atomic uint64_t used; /* when, by now_ns */
    uint64_t owner;
    struct engine_key key; /* as it came, its bytes in `room` */
    uint8_t *room;         /* WRAPPED_KEY_MAX bytes of secret memory */
};

struct inline_keys {
    pthread_mutex_t lock;
    pthread_cond_t free;
    _Atomic uint32_t waiters; /* for `free` */
    uint8_t *rooms;           /* of all entries */
    struct entry entries[INLINE_KEYS];
};

_Static_assert(KEY_BYTES_MAX <= WRAPPED_KEY_MAX, "the room of a raw key too");

int engine_accept_inline(struct engine *engine, struct ice_why *why)
{
    struct inline_keys *keys;

    if (engine->inline_keys)
        return 0;
    keys = calloc(1, sizeof(*keys));
    if (!keys)
        return why_set(why, ENOMEM, "no memory for %u keys", INLINE_KEYS);
    keys->rooms = secret_alloc((size_t)INLINE_KEYS * WRAPPED_KEY_MAX);
    if (!keys->rooms) {
        free(keys);
        return secret_exhausted("keys that come with requests", why);
    }
    pthread_mutex_init(&keys->lock, NULL);
    pthread_cond_init(&keys->free, NULL);
    for (unsigned i = 0; i < INLINE_KEYS; i++) {
        slot_init(&keys->entries[i].slot);
        keys->entries[i].room = keys->rooms + (size_t)i * WRAPPED_KEY_MAX;
    }
    engine->inline_keys = keys;
    return 0;
}

void inline_keys_free(struct inline_keys *keys)
{
    if (!keys)
        return;
    for (unsigned i = 0; i < INLINE_KEYS; i++)
        slot_destroy(&keys->entries[i].slot);
    secret_free(keys->rooms);
    pthread_cond_destroy(&keys->free);
    pthread_mutex_destroy(&keys->lock);
    free(keys);
}

struct slot *inline_slot(struct inline_keys *keys, unsigned n)
{
    return &keys->entries[n].slot;
}

/* A waiter counts itself before it looks at the entries, and this looks after it has let go. */
void inline_put(struct inline_keys *keys, unsigned n)
{
    slot_put(&keys->entries[n].slot);
    if (!atomic_load(&keys->waiters))
        return;
    pthread_mutex_lock(&keys->lock);
    pthread_cond_broadcast(&keys->free);
    pthread_mutex_unlock(&keys->lock);
}

/* ---- finding ---- */

static size_t key_length(const struct engine_key *key)
{
    return key->wrapped_len ? key->wrapped_len : key->algorithm->key_bytes;
}

static uint64_t tag_of(const struct engine_key *key)
{
    uint8_t fingerprint[FINGERPRINT_BYTES];
    uint64_t tag;

    cipher_fingerprint(key->bytes, key_length(key), fingerprint);
    tag = load_le64(fingerprint);
    return tag ? tag : 1;
}

/* Whoever asks has a reference, or `lock`. */
static bool is_of(const struct entry *e, const struct engine_key *key, uint64_t owner)
{
    return e->owner == owner && e->key.algorithm == key->algorithm &&
           e->key.data_unit == key->data_unit && e->key.wrapped_len == key->wrapped_len &&
           secret_equal(e->room, key->bytes, key_length(key));
}

/* Takes a reference to the entry of a key. NULL: it is not there, or just going. */
static struct entry *find(struct inline_keys *keys, uint64_t tag, const struct engine_key *key,
                          uint64_t owner, struct slot_key *now)
{
    for (unsigned i = 0; i < INLINE_KEYS; i++) {
        struct entry *e = &keys->entries[i];

        if (atomic_load(&e->tag) != tag || slot_get(&e->slot, UINT64_MAX, now))
            continue;
        if (is_of(e, key, owner))
            return e;
        inline_put(keys, i);
    }
    return NULL;
}

/* ---- opening and closing: `lock` is held ---- */

static struct entry *find_locked(struct inline_keys *keys, uint64_t tag,
                                 const struct engine_key *key, uint64_t owner)
{
    for (struct entry *e = keys->entries; e < keys->entries + INLINE_KEYS; e++)
        if (atomic_load(&e->tag) == tag && is_of(e, key, owner))
            return e;
    return NULL;
}

static void wipe(struct entry *e)
{
    atomic_store(&e->tag, 0);
    secret_wipe(e->room, WRAPPED_KEY_MAX);
}

/* 0, or -EBUSY with references. */
static int vacate(struct entry *e)
{
    static const struct slot_owner nobody;
    int r = slot_evict(&e->slot, &nobody, NULL, NULL);

    if (!r)
        wipe(e);
    return r;
}

/* The idle entry that was not used for longest, or an empty one; NULL: all are in use. */
static struct entry *oldest_idle(struct inline_keys *keys)
{
    struct entry *oldest = NULL;

    for (struct entry *e = keys->entries; e < keys->entries + INLINE_KEYS; e++) {
        struct slot_info info;

        if (!atomic_load(&e->tag))
            return e;
        slot_describe(&e->slot, &info);
        if (!info.in_flight && (!oldest || atomic_load(&e->used) < atomic_load(&oldest->used)))
            oldest = e;
    }
    return oldest;
}

/* An empty entry; NULL: all are in use. */
static struct entry *make_room(struct inline_keys *keys)
{
    struct entry *e;

    while ((e = oldest_idle(keys)) && atomic_load(&e->tag) && vacate(e))
        continue; /* somebody was faster and uses it now */
    return e;
}

static int fill(const struct engine *engine, struct entry *e, uint64_t tag,
                const struct engine_key *key, uint64_t owner, struct ice_why *why)
{
    struct slot_load load;
    uint8_t *unwrapped;
    int r = engine_load(engine, key, NULL, &load, &unwrapped, why);

    if (!r) {
        memcpy(e->room, key->bytes, key_length(key));
        e->key = *key;
        e->owner = owner;
        r = slot_program(&e->slot, &load, NULL, why);
    }
    secret_free(unwrapped);
    if (r)
        wipe(e);
    else
        atomic_store(&e->tag, tag);
    return r;
}

/* Finds the key, or opens it, waiting for an entry. */
static int open_key(struct engine *engine, uint64_t tag, const struct engine_key *key,
                    uint64_t owner, struct entry **found, struct ice_why *why)
{
    struct inline_keys *keys = engine->inline_keys;
    struct entry *e, *room = NULL;
    bool waits = false;

    while (!(e = find_locked(keys, tag, key, owner)) && !(room = make_room(keys))) {
        if (waits)
            pthread_cond_wait(&keys->free, &keys->lock);
        else /* and look again */
            atomic_fetch_add(&keys->waiters, 1);
        waits = true;
    }
    if (waits)
        atomic_fetch_sub(&keys->waiters, 1);
    *found = e ? e : room;
    return e ? 0 : fill(engine, room, tag, key, owner, why);
}

/* ---- the whole ---- */

int engine_get_inline(struct engine *engine, const struct engine_key *key, uint64_t owner,
                      unsigned *slot, struct slot_key *now, struct ice_why *why)
{
    struct inline_keys *keys = engine->inline_keys;
    uint64_t tag = tag_of(key);
    struct entry *e = find(keys, tag, key, owner, now);

    if (!e) {
        pthread_mutex_lock(&keys->lock);
        int r = open_key(engine, tag, key, owner, &e, why);
        if (!r)
            r = slot_get(&e->slot, UINT64_MAX, now);
        pthread_mutex_unlock(&keys->lock);
        if (r)
            return r;
    }
    atomic_store_explicit(&e->used, now_ns(), memory_order_relaxed);
    now->program_count = 0;
    *slot = engine->slot_count + (unsigned)(e - keys->entries);
    return 0;
}

int engine_forget_inline(struct engine *engine, const struct engine_key *key, uint64_t owner,
                         struct ice_why *why)
{
    struct inline_keys *keys = engine->inline_keys;
    uint64_t tag = tag_of(key);
    struct entry *e;
    int r = 0;

    pthread_mutex_lock(&keys->lock);
    e = find_locked(keys, tag, key, owner);
    if (e && vacate(e))
        r = why_set(why, EBUSY, "the key has requests in flight");
    pthread_mutex_unlock(&keys->lock);
    return r;
}

/* Who ends a reference does so before it looks for waiters, so the wait under the lock ends. */
void engine_clear_inline(struct engine *engine, uint64_t owner)
{
    struct inline_keys *keys = engine->inline_keys;

    if (!keys)
        return;
    pthread_mutex_lock(&keys->lock);
    for (struct entry *e = keys->entries; e < keys->entries + INLINE_KEYS; e++)
        if (atomic_load(&e->tag) && (owner == ENGINE_ANY_OWNER || owner == e->owner)) {
            slot_clear(&e->slot, ENGINE_ANY_OWNER, false);
            wipe(e);
        }
    pthread_mutex_unlock(&keys->lock);
}
