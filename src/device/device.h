/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio-blk device with inline crypto, for any transport.
 *
 * function: one virtual device as a VM would see it: a dialect, a window of the engine's slots, a
 * window of a store's sectors, the features it offers. attachment: one driver's link to a function,
 * with a device status, negotiated features and writeback mode of its own. Slots, media and
 * capacity are the function's.
 *
 * Threads: device_submit may be called for one attachment from many threads at once and runs on the
 * caller's. Status, feature and config calls on one attachment come from one thread at a time; they
 * may run beside requests. Functions are made before and freed after their attachments.
 */
#ifndef ICESIM_DEVICE_DEVICE_H
#define ICESIM_DEVICE_DEVICE_H

#include "dialect/dialect.h"
#include "dialect/request.h"
#include "engine/engine.h"
#include "media/store.h"

struct ice_function;
struct ice_attachment;
struct observer;

enum slot_addressing {
    SLOTS_AS_DIALECT, /* physical or virtual, as the dialect's draft has it */
    SLOTS_PHYSICAL,   /* the wire names [first_slot, first_slot + slots) */
    SLOTS_VIRTUAL,    /* the wire names [0, slots) */
};

/* What becomes of a DUN that the width does not hold. */
enum overflow_policy {
    OVERFLOW_REJECT,   /* IOERR, nothing is touched */
    OVERFLOW_TRUNCATE, /* the high bits of each are dropped, as hardware does */
    OVERFLOW_WRAP,     /* the first must fit; counting goes on at 0 */
};

/* Zero is the default of every field that is not said to be needed. */
struct function_params {
    const char *name;              /* 1..32 bytes, checked; needed */
    const struct dialect *dialect; /* needed */
    struct engine *engine;         /* needed */
    unsigned first_slot, slots;    /* physical window; 0 slots: no inline crypto is offered … */
    bool keys_inline; /* … but with keys that come with each request; no slots, not strict, and a
                       * dialect that has it */
    bool integrity;   /* the media keep what inline crypto would spoil: none is offered; no slots */
    struct store *store;            /* needed */
    uint64_t first_sector, sectors; /* window of the store */
    enum slot_addressing addressing;
    bool strict;          /* offers and takes what the draft defines, no more; reports violations */
    bool trimmed_headers; /* struct wire */
    bool read_only;
    bool keep_on_reset;  /* a device reset leaves the slots that the attachment programmed */
    uint32_t block_size; /* logical, 512 or 4096; 0: 512. The window is whole blocks. */
    unsigned dun_bits;   /* 32, 64, 128, 256, the dialect's at most; 0: the dialect's */
    enum overflow_policy on_overflow;
    unsigned key_types; /* sum of ICE_KEY_TYPE_*; 0: both */
    /* What it advertises, as the dialect's check_capabilities lets it, data units not below
     * block_size, algorithms that keys of its types can be of; copied. count 0:
     * default_capabilities, as far as they are so. */
    const struct capability *capabilities;
    unsigned capability_count;
    /* Told of requests, key operations, violations; NULL-terminated, may be NULL; live as long as
     * the function. */
    struct observer *const *observers;
};

/* The parameters are checked already (asserted here). 0 or -ENOMEM. */
int function_new(const struct function_params *params, struct ice_function **function,
                 struct ice_why *why);
void function_free(struct ice_function *function);

const char *function_name(const struct ice_function *function);
const struct dialect *function_dialect(const struct ice_function *function);
struct engine *function_engine(const struct ice_function *function);
uint64_t function_sectors(const struct ice_function *function); /* its capacity */
void function_slot_window(const struct ice_function *function, unsigned *first, unsigned *count);
/* What slot `physical` of its window is called on the wire. */
unsigned function_wire_slot(const struct ice_function *function, unsigned physical);
unsigned function_slot_offset(const struct ice_function *function); /* of its first slot there */
enum slot_addressing function_addressing(const struct ice_function *function); /* never 0 */
unsigned function_key_types(const struct ice_function *function);
unsigned function_dun_bits(const struct ice_function *function);
bool function_is_strict(const struct ice_function *function);
bool function_is_read_only(const struct ice_function *function);
unsigned function_block_size(const struct ice_function *function);
bool function_keys_inline(const struct ice_function *function);
bool function_has_integrity(const struct ice_function *function);
/* Of a transport that has rings: request queues, then the control queue if there may be one. */
unsigned function_rings(const struct ice_function *function);
unsigned function_attachments(struct ice_function *function); /* open now */
/* Whether a slot may be programmed with this. */
bool function_advertises(const struct ice_function *function, const struct algorithm *algorithm,
                         uint32_t data_unit);

/* ---- keys, in band or by the host's owner ---- */

/* 0, or -EOPNOTSUPP with words: the function does not take keys of this type (ICE_KEY_TYPE_*). */
int function_check_key_type(const struct ice_function *function, unsigned type,
                            struct ice_why *why);

/* A key as somebody asks for it to be programmed; nothing of it is checked. */
struct function_key {
    unsigned type;                     /* ICE_KEY_TYPE_* */
    const struct algorithm *algorithm; /* NULL: none that is known */
    uint32_t data_unit;                /* bytes */
    unsigned dun_bytes;                /* promised by the driver; 0: it says nothing */
    size_t len;
    const uint8_t *bytes; /* in secret memory */
};

/*
 * Programs `slot`, physical and below engine_slots (whether it is in a window is the caller's to
 * check), if the function takes and advertises such a key. `owner` and `now` as for engine_program.
 * 0; -EOPNOTSUPP: not such a type, or triple; -EINVAL: no key type, a key of another length, DUNs
 * wider than the device keeps; what engine_program says.
 */
int function_program(struct ice_function *function, unsigned slot, const struct function_key *key,
                     const struct slot_owner *owner, struct slot_key *now, struct ice_why *why);

/*
 * The same for a function of keys_inline: engine_get_inline (the number of a slot is for
 * engine_borrow, engine_return, engine_put) and engine_forget_inline.
 */
int function_get_inline(struct ice_function *function, const struct function_key *key,
                        unsigned *slot, struct slot_key *now, struct ice_why *why);
int function_forget_inline(struct ice_function *function, const struct function_key *key,
                           struct ice_why *why);

/* Function reset: empties the function's slots, after the requests in flight on each, and forgets
 * keys that came with requests. */
void function_reset(struct ice_function *function);

/* Device reset: what status 0 does, to every attachment; each is told by EVENT_DEVICE_RESET. */
void function_reset_attachments(struct ice_function *function);

/* Tells every attachment that the engine has a new generation. */
void function_announce_generation(struct ice_function *function, uint64_t generation);

/*
 * Changes the capacity to so many sectors, in whole blocks, which the store has. Waits for the
 * requests that are in flight: when it returns none runs that was held against the old capacity.
 * The driver is not told. One call at a time.
 */
void function_set_sectors(struct ice_function *function, uint64_t sectors);

/* Tells every attachment that its configuration space has changed. */
void function_announce_config(struct ice_function *function);

enum attachment_event {
    EVENT_CONFIG_CHANGED,    /* value: 0 */
    EVENT_DEVICE_RESET,      /* value: 0; the host reset the device: the driver starts over */
    EVENT_ENGINE_GENERATION, /* value: the new generation */
};

struct attachment_ops {
    /*
     * From any thread, also while the attachment's other calls run; does not call back into the
     * device, but for function_sectors, does not block.
     */
    void (*event)(void *user, enum attachment_event event, uint64_t value);
};

/* `ops` may be NULL. Status 0, no features, the engine's current generation acknowledged. 0 or
 * -ENOMEM. */
int attachment_open(struct ice_function *function, const struct attachment_ops *ops, void *user,
                    struct ice_attachment **attachment, struct ice_why *why);

/*
 * Waits for requests in flight. Not a reset: slots stay, but for those that it has claimed. No
 * event comes after it returns. Not to be called from done or event, which it waits for.
 */
void attachment_close(struct ice_attachment *attachment);

/*
 * How others are told of the slots that it claims: "the views of vm0". Copied, below
 * CLAIMER_NAME_BYTES; before its first request. Else it is "another driver".
 */
void attachment_set_name(struct ice_attachment *attachment, const char *name);

struct ice_function *attachment_function(const struct ice_attachment *attachment);

uint64_t attachment_offered(const struct ice_attachment *attachment);
uint64_t attachment_features(const struct ice_attachment *attachment); /* as last written */

/*
 * Writes the driver's features; whether they are acceptable shows when FEATURES_OK is set. -EBUSY
 * once FEATURES_OK is set, -EINVAL before DRIVER.
 */
int attachment_set_features(struct ice_attachment *attachment, uint64_t features,
                            struct ice_why *why);

uint8_t attachment_status(const struct ice_attachment *attachment);

/*
 * 0 resets the attachment: waits for its requests in flight, forgets features and writeback,
 * empties the slots that it programmed in band (unless keep_on_reset, which spares no claimed one).
 * Other values add bits.
 * FEATURES_OK does not stick when the features are unacceptable (read it back, as virtio says):
 * then 0 is returned and `why` tells the reason, its `err` non-zero. -EINVAL: a bit is cleared, or
 * comes out of order.
 */
int attachment_set_status(struct ice_attachment *attachment, uint8_t status, struct ice_why *why);

/* Any window; bytes past the end are 0. */
void attachment_read_config(struct ice_attachment *attachment, uint32_t offset, void *buffer,
                            uint32_t len);
/* The same for a VMM, which may look when a driver may not. */
void attachment_show_config(const struct ice_attachment *attachment, uint32_t offset, void *buffer,
                            uint32_t len);
/*
 * Bytes that a driver may not write are ignored; a strict function refuses the whole. -EINVAL:
 * that, or writeback that is neither 0 nor 1.
 */
int attachment_write_config(struct ice_attachment *attachment, uint32_t offset, const void *buffer,
                            uint32_t len, struct ice_why *why);

/* The generation of the engine that the driver has acknowledged. */
uint64_t attachment_generation(const struct ice_attachment *attachment);

/* The driver knows that keys of earlier generations are gone. -EINVAL: not a generation so far. */
int attachment_acknowledge(struct ice_attachment *attachment, uint64_t generation,
                           struct ice_why *why);

/*
 * The driver may hold keys of an engine that is no more, or of `generation`: nothing newer is
 * acknowledged. 0 is of no engine.
 */
void attachment_recall_generation(struct ice_attachment *attachment, uint64_t generation);

/* Runs `request`; see struct ice_request. */
void device_submit(struct ice_attachment *attachment, struct ice_request *request);

/*
 * Keeps a slot over several requests; it counts as in flight. `slot` as on the wire. -ENOKEY: empty
 * or programmed since `expect`; -EBUSY: claimed by another; -EINVAL: outside the window.
 */
int slot_hold(struct ice_attachment *attachment, unsigned slot, uint64_t expect);
void slot_release(struct ice_attachment *attachment, unsigned slot);

/* Whether `slot`, as on the wire, is programmed, by whomever; none outside the window is. */
bool slot_programmed(const struct ice_attachment *attachment, unsigned slot);

#endif
