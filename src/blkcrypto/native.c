/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests: the slot from the profile, the request through it, and again where the device refused
 * it because the slot had lost its key. On a hit that is two atomic steps on the slot's own word
 * beside the request itself.
 */
#include "native.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "context.h"
#include "native_private.h"
#include "profile_wait.h"
#include "virtio/virtio.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static struct native *of_disk(struct disk *disk)
{
    return CONTAINER_OF(disk, struct native, disk);
}

/* ---- transfers ---- */

static struct command transfer_command(const struct disk_io *io)
{
    assert(io->len && io->len <= REQUEST_MAX && io->offset % SECTOR_SIZE == 0);
    return (struct command){
        .kind = io->write ? COMMAND_WRITE : COMMAND_READ,
        .sector = io->offset / SECTOR_SIZE,
        .tagged = io->key,
        .dun = io->key ? io->dun : dun_from_u64(0),
    };
}

/* `head` as in struct exchange. */
static int run(struct native *native, const struct disk_io *io, const struct command *command,
               uint8_t *head, struct ice_why *why)
{
    const struct exchange exchange = {
        .command = command,
        .head = head,
        .expect = EXPECT_ANY,
        .claim = command->tagged && !command->keyed,
        .out = io->write ? io->buffer : NULL,
        .out_len = io->write ? io->len : 0,
        .in = io->write ? NULL : io->buffer,
        .in_len = io->write ? 0 : io->len,
    };

    return native_exchange(native, &exchange, why);
}

static int run_plain(struct native *native, const struct disk_io *io, struct ice_why *why)
{
    const struct command command = transfer_command(io);
    uint8_t head[DIALECT_HEAD_MAX];

    return run(native, io, &command, head, why);
}

static int run_through(struct native *native, const struct disk_io *io, uint32_t slot,
                       struct ice_why *why)
{
    struct command command = transfer_command(io);
    uint8_t head[DIALECT_HEAD_MAX];

    command.slot = native->first_slot + slot;
    return run(native, io, &command, head, why);
}

static int run_keyed(struct native *native, const struct disk_io *io, struct ice_why *why)
{
    struct command command = transfer_command(io);
    uint8_t *head = native_head();
    int r;

    if (!head)
        return secret_exhausted("a request with its key", why);
    command.keyed = true;
    command.key = native_key(io->key->key);
    r = run(native, io, &command, head, why);
    secret_wipe(head, DIALECT_HEAD_MAX);
    return r;
}

/*
 * Around the wait for a slot, so that the listener looks for empty ones: it is woken here if there
 * are slots of others already, else by who gives one up.
 */
static void begin_wait(struct native *native)
{
    atomic_fetch_add(&native->waiting, 1);
    if (atomic_load(&native->given_up_count))
        native_listener_wake(native);
}

static void end_wait(struct native *native)
{
    atomic_fetch_sub(&native->waiting, 1);
}

static int hold(struct native *native, struct disk_key *key, struct profile_hold *held)
{
    int r = profile_hold_begin(key->slot_key, held);

    if (r == -EINPROGRESS) {
        begin_wait(native);
        r = profile_hold_wait(held);
        end_wait(native);
    }
    return r;
}

static int hold_again(struct native *native, struct profile_hold *held)
{
    int r;

    begin_wait(native);
    r = profile_hold_again(held);
    end_wait(native);
    return r;
}

/* `r` is the result of a hold. Where every slot is somebody else's, some may be empty by now. */
static int or_look(struct native *native, struct disk_key *key, struct profile_hold *held, int r)
{
    if (r != -ENXIO)
        return r;
    native_offer_empty(native);
    return hold(native, key, held);
}

/* What the request says of the slot that `held` has: whether to come again. */
static bool refused(struct native *native, int r, uint32_t resets)
{
    if (r == -ENOKEY && native->slots)
        native_lost(native, resets);
    else if (r != -ESTALE)
        return false;
    return true;
}

static int run_with_key(struct native *native, const struct disk_io *io, struct ice_why *why)
{
    struct profile_hold held;
    int r = or_look(native, io->key, &held, hold(native, io->key, &held));

    while (!r) {
        uint32_t resets = atomic_load(&native->resets);

        r = native->slots ? run_through(native, io, held.ref.slot, why)
                          : run_keyed(native, io, why);
        if (!refused(native, r, resets)) {
            profile_put(&held.ref);
            return r;
        }
        r = or_look(native, io->key, &held, hold_again(native, &held));
    }
    if (r == -ENXIO)
        return why_set(why, EBUSY, "somebody has programmed every slot directly");
    return native_explain(native, io->key->key, r, why);
}

static int native_transfer(struct disk *disk, const struct disk_io *io, struct ice_why *why)
{
    struct native *native = of_disk(disk);
    int r;

    if (!io->key)
        return run_plain(native, io, why);
    r = crypto_context_check(&(struct crypto_context){io->key->key, io->dun}, io->len, why);
    if (r)
        return r;
    return run_with_key(native, io, why);
}

static int native_flush(struct disk *disk, struct ice_why *why)
{
    static const struct command flush = {.kind = COMMAND_FLUSH};
    uint8_t head[DIALECT_HEAD_MAX];
    const struct exchange exchange = {.command = &flush, .head = head, .expect = EXPECT_ANY};

    return native_exchange(of_disk(disk), &exchange, why);
}

/* ---- keys ---- */

static int native_key_open(struct disk *disk, const struct crypto_key *key,
                           struct disk_key **opened, struct ice_why *why)
{
    struct native *native = of_disk(disk);
    struct disk_key *fresh;
    int r;

    if (!native->profile)
        return why_set(why, EOPNOTSUPP, "%s", native->refusal);
    fresh = malloc(sizeof(*fresh));
    if (!fresh)
        return why_set(why, ENOMEM, "no memory for a key");
    fresh->key = key;
    r = profile_key_open(native->profile, key, &fresh->slot_key, why);
    if (r)
        free(fresh);
    else
        *opened = fresh;
    return r;
}

static int native_key_evict(struct disk *disk, struct disk_key *key, struct ice_why *why)
{
    int r = profile_evict_wait(key->slot_key);

    if (r == -EBUSY)
        return why_set(why, EBUSY, "requests with the key are in flight");
    return r ? native_explain(of_disk(disk), key->key, r, why) : 0;
}

static void native_key_close(struct disk *disk, struct disk_key *key)
{
    native_forget_failure(of_disk(disk), key->key);
    profile_key_close(key->slot_key);
    free(key);
}

static enum disk_path native_key_path(const struct disk_key *key)
{
    (void)key;
    return DISK_NATIVE;
}

static void native_key_counts(struct disk_key *key, struct disk_key_counts *counts)
{
    *counts = (struct disk_key_counts){.fallbacks = 0};
    profile_key_counts(key->slot_key, &counts->profile);
}

/* ---- open and close ---- */

void native_cut_off(struct disk *disk)
{
    struct native *native = of_disk(disk);

    if (!native->profile)
        return;
    native_listener_stop(native);
    profile_fail(native->profile, -ECANCELED);
}

static void native_close(struct disk *disk)
{
    struct native *native = of_disk(disk);

    if (native->profile)
        native_listener_stop(native);
    profile_free(native->profile);
    pthread_mutex_destroy(&native->lock);
    free(native);
}

static const struct disk_ops native_ops = {
    .transfer = native_transfer,
    .flush = native_flush,
    .key_open = native_key_open,
    .key_evict = native_key_evict,
    .key_close = native_key_close,
    .key_path = native_key_path,
    .key_counts = native_key_counts,
    .close = native_close,
};

static unsigned first_of(unsigned a, unsigned b, unsigned c)
{
    return a ? a : b ? b : c;
}

/* What the device says of keys, then what the channel knows, then what the dialect can carry. */
static int find_caps(struct channel *channel, const struct function_config *config,
                     struct crypto_caps *caps, struct ice_why *why)
{
    struct capability list[CAPABILITIES_MAX];
    unsigned count;
    int r = channel_capabilities(channel, list, &count, why);

    if (r)
        return r;
    *caps = (struct crypto_caps){
        .dun_bytes =
            first_of(config->dun_bytes, channel->dun_bytes, channel->dialect->dun_bits / 8),
        .key_types = first_of(config->key_types, channel->key_types,
                              ICE_KEY_TYPE_RAW | ICE_KEY_TYPE_WRAPPED),
    };
    for (unsigned i = 0; i < count; i++) {
        const struct algorithm *algorithm = algorithm_by_id(list[i].alg, list[i].key_size);
        if (algorithm)
            caps->units[algorithm - algorithms] |= list[i].data_unit;
    }
    return 0;
}

/* NULL: keys can be used. */
static const char *find_refusal(const struct channel *channel, const struct function_config *config)
{
    if (!channel_has_crypto(channel))
        return "the function has no inline crypto";
    if (channel_has_inline_keys(channel) ||
        (config->max_slots && channel_has_key_commands(channel)))
        return NULL;
    return config->max_slots ? "the function takes no keys in its requests"
                             : "the function has no keyslots";
}

static void offer_slots(struct native *native)
{
    struct channel *channel = native->channel;

    for (uint32_t i = 0; i < native->slots; i++) {
        if (channel->ops->slot_programmed(channel, native->first_slot + i))
            native_give_up(native, i);
        else
            profile_offer(native->profile, i);
    }
}

static int open_profile(struct native *native, struct ice_why *why)
{
    int r;

    native->profile = profile_new(&native_profile_ops, native, native->slots, &native->disk.caps);
    if (!native->profile)
        return why_set(why, ENOMEM, "no memory for a profile of %u slots", native->slots);
    offer_slots(native);
    r = native_listener_start(native, why);
    if (!r)
        return 0;
    profile_free(native->profile);
    native->profile = NULL;
    return r;
}

static struct native *new_native(struct channel *channel, const struct function_config *config)
{
    struct native *native = aligned_alloc(_Alignof(struct native),
                                          (sizeof(*native) + config->max_slots + 63) / 64 * 64);

    if (!native)
        return NULL;
    memset(native, 0, sizeof(*native) + config->max_slots);
    native->disk.ops = &native_ops;
    native->disk.size = channel->capacity * SECTOR_SIZE;
    native->disk.block_size = config->blk_size ? config->blk_size : SECTOR_SIZE;
    native->channel = channel;
    native->first_slot = config->slot_offset;
    native->slots = config->max_slots;
    native->refusal = find_refusal(channel, config);
    pthread_mutex_init(&native->lock, NULL);
    return native;
}

int native_open(struct channel *channel, struct disk **disk, struct ice_why *why)
{
    struct function_config config = {.features = 0};
    struct native *native;
    int r = channel_config(channel, &config, why);

    if (r)
        return r;
    native = new_native(channel, &config);
    if (!native)
        return why_set(why, ENOMEM, "no memory for a disk");
    if (!native->refusal)
        r = find_caps(channel, &config, &native->disk.caps, why);
    if (!r && !native->refusal)
        r = open_profile(native, why);
    if (r)
        native_close(&native->disk);
    else
        *disk = &native->disk;
    return r;
}

bool native_slot(struct disk *disk, uint32_t index, uint32_t *wire_slot,
                 struct profile_slot_info *info)
{
    struct native *native = of_disk(disk);

    if (!native->profile || index >= native->slots)
        return false;
    *wire_slot = native->first_slot + index;
    profile_slot_describe(native->profile, index, info);
    return true;
}
