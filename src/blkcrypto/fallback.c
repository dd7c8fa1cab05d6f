/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A key is served below or here, which is decided when it is opened. Here it goes through a profile
 * like an engine's, whose slots are pools of ciphers and whose operations end at once; so nobody
 * waits for a slot longer than a request takes.
 */
#include "fallback.h"
#include "base/bytes.h"
#include "base/thread_memory.h"
#include "base/units.h"
#include "cipher/pool.h"
#include "profile_wait.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct keyslot {
    struct cipher_pool pool; /* empty: blank */
} __attribute__((aligned(64)));

struct fallback_slots {
    struct keyslot slots[FALLBACK_SLOTS];
    bool bitlocker_iv_from_dun;
    struct profile *profile;
};

struct fallback {
    struct disk disk;
    struct disk *below;
    struct fallback_slots *slots;
    enum fallback_policy policy;
};

/* A fallback's; other disks have their own. */
struct disk_key {
    struct fallback *fallback;
    const struct crypto_key *key;
    struct disk_key *passed;     /* the key at the disk below, or else: */
    struct profile_key *profile; /* served here */
};

static __thread struct thread_memory bounce_memory;

static struct fallback *fallback_of(struct disk *disk)
{
    return CONTAINER_OF(disk, struct fallback, disk);
}

/* ---- slots ---- */

static struct cipher_params params_of(const struct fallback_slots *slots,
                                      const struct crypto_key *key)
{
    return (struct cipher_params){
        .algorithm = key->config.algorithm,
        .data_unit = key->config.data_unit,
        .bitlocker_iv_from_dun = slots->bitlocker_iv_from_dun,
    };
}

/* Never two keys in one slot: locked memory is short. */
static void program(void *user, uint32_t slot, const struct crypto_key *key,
                    struct profile_call *call)
{
    struct fallback_slots *slots = user;
    struct cipher_pool *pool = &slots->slots[slot].pool;
    struct cipher_params params = params_of(slots, key);

    cipher_pool_close(pool);
    profile_call_done(call, cipher_pool_open(pool, &params, key->bytes, NULL));
}

static void evict(void *user, uint32_t slot, const struct crypto_key *key,
                  struct profile_call *call)
{
    struct fallback_slots *slots = user;

    (void)key;
    cipher_pool_close(&slots->slots[slot].pool);
    profile_call_done(call, 0);
}

/* No acknowledge: there is no engine that could be reset. */
static const struct profile_ops slot_ops = {.program = program, .evict = evict};

static struct profile *make_profile(struct fallback_slots *slots)
{
    struct crypto_caps caps = {.dun_bytes = DUN_BYTES_MAX, .key_types = ICE_KEY_TYPE_RAW};
    struct profile *profile;

    for (unsigned i = 0; i < ALGORITHM_COUNT; i++)
        caps.units[i] = 2 * DATA_UNIT_MAX - DATA_UNIT_MIN; /* all of them */
    profile = profile_new(&slot_ops, slots, FALLBACK_SLOTS, &caps);
    for (uint32_t slot = 0; profile && slot < FALLBACK_SLOTS; slot++)
        profile_offer(profile, slot);
    return profile;
}

struct fallback_slots *fallback_slots_new(bool bitlocker_iv_from_dun)
{
    struct fallback_slots *slots = aligned_alloc(_Alignof(struct fallback_slots), sizeof(*slots));

    if (!slots)
        return NULL;
    *slots = (struct fallback_slots){.bitlocker_iv_from_dun = bitlocker_iv_from_dun};
    slots->profile = make_profile(slots);
    if (!slots->profile) {
        free(slots);
        return NULL;
    }
    return slots;
}

void fallback_slots_free(struct fallback_slots *slots)
{
    if (!slots)
        return;
    profile_free(slots->profile);
    free(slots);
}

/* ---- requests ---- */

static int run_cipher(struct fallback *fallback, uint32_t slot, const struct disk_io *io, void *to,
                      struct ice_why *why)
{
    struct cipher_pool *pool = &fallback->slots->slots[slot].pool;
    struct cipher *cipher = cipher_pool_borrow(pool);
    int r = io->write ? cipher_encrypt(cipher, io->dun, io->buffer, to, io->len)
                      : cipher_decrypt(cipher, io->dun, io->buffer, to, io->len);

    cipher_pool_return(pool, cipher);
    return r ? why_set(why, -r, "the cipher failed") : 0;
}

static int transfer_plain(struct fallback *fallback, const struct disk_io *io, void *buffer,
                          struct ice_why *why)
{
    const struct disk_io plain = {
        .offset = io->offset, .buffer = buffer, .len = io->len, .write = io->write};

    return fallback->below->ops->transfer(fallback->below, &plain, why);
}

static int run_read(struct fallback *fallback, uint32_t slot, const struct disk_io *io,
                    struct ice_why *why)
{
    int r = transfer_plain(fallback, io, io->buffer, why);

    return r ? r : run_cipher(fallback, slot, io, io->buffer, why);
}

static int run_write(struct fallback *fallback, uint32_t slot, const struct disk_io *io,
                     struct ice_why *why)
{
    void *bounce = thread_pages(&bounce_memory, REQUEST_MAX);
    int r;

    assert(io->len <= REQUEST_MAX);
    if (!bounce)
        return why_set(why, ENOMEM, "no memory for the bounce buffer");
    r = run_cipher(fallback, slot, io, bounce, why);
    return r ? r : transfer_plain(fallback, io, bounce, why);
}

static int serve(struct fallback *fallback, const struct disk_io *io, struct ice_why *why)
{
    const struct crypto_context context = {io->key->key, io->dun};
    struct profile_hold hold;
    int r = crypto_context_check(&context, io->len, why);

    if (r)
        return r;
    r = profile_hold(io->key->profile, &hold);
    if (r)
        return why_errno(why, -r, "the fallback cannot set up the key");
    r = io->write ? run_write(fallback, hold.ref.slot, io, why)
                  : run_read(fallback, hold.ref.slot, io, why);
    profile_put(&hold.ref);
    return r;
}

static int transfer(struct disk *disk, const struct disk_io *io, struct ice_why *why)
{
    struct fallback *fallback = fallback_of(disk);
    struct disk_io passed = *io;

    if (io->key && !io->key->passed)
        return serve(fallback, io, why);
    passed.key = io->key ? io->key->passed : NULL;
    return fallback->below->ops->transfer(fallback->below, &passed, why);
}

static int flush(struct disk *disk, struct ice_why *why)
{
    struct disk *below = fallback_of(disk)->below;

    return below->ops->flush(below, why);
}

/* ---- keys ---- */

/* Whether the disk below serves such keys, as the policy wants it; else `reason` says why not. */
static bool passes(struct fallback *fallback, const struct crypto_config *config,
                   enum disk_path *path, struct ice_why *reason)
{
    if (fallback->policy == FALLBACK_FORCE) {
        why_say(reason, EOPNOTSUPP, "the fallback is forced");
        return false;
    }
    if (disk_config_supported(fallback->below, config, path, reason))
        return false;
    if (fallback->policy == FALLBACK_FORBID && *path == DISK_FALLBACK) {
        why_say(reason, EOPNOTSUPP, "only a fallback below serves %s", config->algorithm->name);
        return false;
    }
    return true;
}

/* `here`: by the fallback. */
static int choose(struct fallback *fallback, const struct crypto_config *config,
                  enum disk_path *path, bool *here, struct ice_why *why)
{
    struct ice_why reason = {.err = 0};

    *here = !passes(fallback, config, path, &reason);
    if (!*here)
        return 0;
    if (fallback->policy == FALLBACK_FORBID)
        return why_set(why, EOPNOTSUPP, "%s, and the fallback is forbidden", reason.text);
    if (config->key_type != ICE_KEY_TYPE_RAW)
        return why_set(why, EOPNOTSUPP, "%s, and a fallback cannot unwrap keys", reason.text);
    *path = DISK_FALLBACK;
    return 0;
}

static int config_supported(struct disk *disk, const struct crypto_config *config,
                            enum disk_path *path, struct ice_why *why)
{
    bool here;

    return choose(fallback_of(disk), config, path, &here, why);
}

/* Before any I/O depends on it. */
static int try_cipher(const struct fallback *fallback, const struct crypto_key *key,
                      struct ice_why *why)
{
    struct cipher_params params = params_of(fallback->slots, key);
    struct cipher *cipher;
    int r = cipher_open(&params, key->bytes, &cipher, why);

    if (!r)
        cipher_close(cipher);
    return r;
}

static int open_here(struct disk_key *key, struct ice_why *why)
{
    int r = try_cipher(key->fallback, key->key, why);

    return r ? r : profile_key_open(key->fallback->slots->profile, key->key, &key->profile, why);
}

static int key_open(struct disk *disk, const struct crypto_key *key, struct disk_key **opened,
                    struct ice_why *why)
{
    struct fallback *fallback = fallback_of(disk);
    struct disk *below = fallback->below;
    enum disk_path path;
    bool here;
    int r = choose(fallback, &key->config, &path, &here, why);

    if (r)
        return r;
    *opened = malloc(sizeof(**opened));
    if (!*opened)
        return why_set(why, ENOMEM, "no memory for a key");
    **opened = (struct disk_key){.fallback = fallback, .key = key};
    r = here ? open_here(*opened, why) : below->ops->key_open(below, key, &(*opened)->passed, why);
    if (r)
        free(*opened);
    return r;
}

static int key_evict(struct disk *disk, struct disk_key *key, struct ice_why *why)
{
    struct disk *below = fallback_of(disk)->below;
    int r;

    if (key->passed)
        return below->ops->key_evict(below, key->passed, why);
    r = profile_evict_wait(key->profile);
    return r ? why_set(why, -r, "the key has requests in flight") : 0;
}

static void key_close(struct disk *disk, struct disk_key *key)
{
    struct disk *below = fallback_of(disk)->below;

    if (key->passed)
        below->ops->key_close(below, key->passed);
    else
        profile_key_close(key->profile);
    free(key);
}

static enum disk_path key_path(const struct disk_key *key)
{
    return key->passed ? key->fallback->below->ops->key_path(key->passed) : DISK_FALLBACK;
}

static void key_counts(struct disk_key *key, struct disk_key_counts *counts)
{
    if (key->passed) {
        key->fallback->below->ops->key_counts(key->passed, counts);
        return;
    }
    profile_key_counts(key->profile, &counts->profile);
    counts->fallbacks = counts->profile.hits + counts->profile.waits; /* gets */
}

/* ---- life ---- */

static void close_disk(struct disk *disk)
{
    free(fallback_of(disk));
}

static const struct disk_ops disk_ops = {
    .transfer = transfer,
    .flush = flush,
    .key_open = key_open,
    .key_evict = key_evict,
    .key_close = key_close,
    .key_path = key_path,
    .key_counts = key_counts,
    .config_supported = config_supported,
    .close = close_disk,
};

int fallback_open(struct disk *below, struct fallback_slots *slots, enum fallback_policy policy,
                  struct disk **disk, struct ice_why *why)
{
    struct fallback *fallback = malloc(sizeof(*fallback));

    if (!fallback)
        return why_set(why, ENOMEM, "no memory for the fallback");
    *fallback = (struct fallback){
        .disk = *below,
        .below = below,
        .slots = slots,
        .policy = policy,
    };
    fallback->disk.ops = &disk_ops;
    if (policy == FALLBACK_FORCE) {
        fallback->disk.caps = (struct crypto_caps){.key_types = 0};
        fallback->disk.whole_units = false;
    }
    *disk = &fallback->disk;
    return 0;
}
