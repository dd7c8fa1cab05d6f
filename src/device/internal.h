/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of src/device share. */
#ifndef ICESIM_DEVICE_INTERNAL_H
#define ICESIM_DEVICE_INTERNAL_H

#include "device.h"
#include "observer.h"
#include <pthread.h>
#include <stdatomic.h>

#define NAME_MAX_BYTES 32

/*
 * Request queues. On a ring they spread load; on a socket they are just numbers. QEMU refuses a
 * back end with fewer than its num-queues.
 */
#define FUNCTION_QUEUES 16

/* SEG_MAX x SIZE_MAX is REQUEST_MAX, and a segment holds the largest data unit. */
#define SEGMENT_MAX_BYTES 65536u
#define SEGMENT_MAX_COUNT 64u

/* Segments of DISCARD, WRITE_ZEROES, SECURE_ERASE in one request, and sectors in each. */
#define RANGES_MAX        64u
#define RANGE_MAX_SECTORS (1u << 22)

/* Descriptors that a request may come in: SEG_MAX ones, cut in odd places, and then some. */
#define IOV_PARTS_MAX 256u

struct ice_function {
    char name[NAME_MAX_BYTES + 1];
    const struct dialect *dialect;
    struct engine *engine;
    unsigned first_slot, slots;
    enum slot_addressing addressing; /* as the dialect has it, unless said otherwise */
    unsigned first_wire_slot;        /* what first_slot is called on the wire */
    struct store *store;
    uint64_t first_byte;
    _Atomic uint64_t sectors;
    uint32_t block_size;
    unsigned dun_bits;
    enum overflow_policy on_overflow;
    unsigned key_types;
    bool strict, trimmed_headers, read_only, keep_on_reset, keys_inline, integrity;
    uint64_t id; /* owner of the keys that come with its requests; never 0, never used twice */
    struct observer *const *observers;
    uint64_t features; /* offered */
    struct capability capabilities[CAPABILITIES_MAX];
    unsigned capability_count;

    pthread_mutex_t lock; /* of the list of attachments; taken before an attachment's own */
    struct ice_attachment *attachments;
};

/*
 * The calls of device_submit under way are counted in two halves of one word, in the half that is
 * in use when they begin: who waits for those so far has the others begin in the other half. Each
 * counts threads.
 */
#define FLIGHT_HALF_BITS    15
#define FLIGHT_FIRST        UINT32_C(1) /* one call, in the first half */
#define FLIGHT_SECOND       (UINT32_C(1) << FLIGHT_HALF_BITS)
#define FLIGHT_HALF(one)    ((one) * (FLIGHT_SECOND - 1)) /* all of the half that `one` is of */
#define FLIGHT_ALL          (FLIGHT_HALF(FLIGHT_FIRST) | FLIGHT_HALF(FLIGHT_SECOND))
#define ATTACHMENT_DRAINING (UINT32_C(1) << 31) /* somebody waits for a half to be 0 */

struct ice_attachment {
    struct ice_function *function;
    struct ice_attachment *next;
    const struct attachment_ops *ops;
    void *user;
    uint64_t id; /* owner of the slots that it programs; never 0, never used twice */
    char name[CLAIMER_NAME_BYTES];

    pthread_mutex_t lock;      /* of changes to status and features; requests do not take it */
    _Atomic uint64_t features; /* settled once FEATURES_OK is set */
    _Atomic uint8_t status;
    _Atomic uint8_t writeback;
    _Atomic uint64_t generation; /* of the engine, as acknowledged */

    _Atomic uint32_t flight; /* both halves; ATTACHMENT_DRAINING */
    _Atomic uint32_t half;   /* in use: FLIGHT_FIRST or FLIGHT_SECOND; changed under `lock` */
};

/* function.c: the configuration space as `attachment` sees it. */
size_t function_build_config(const struct ice_attachment *attachment,
                             uint8_t space[static DIALECT_CONFIG_MAX]);

/*
 * attachment.c: around all of device_submit, with what enter says it has counted. False: the driver
 * is not ready; leave all the same, as the last thing: the attachment may be gone afterwards.
 */
bool attachment_enter(struct ice_attachment *attachment, uint32_t *counted);
void attachment_leave(struct ice_attachment *attachment, uint32_t counted);
/* Waits for the calls of device_submit that are under way now, not for those that begin later. */
void attachment_pass(struct ice_attachment *attachment);
/* A KEY_PROGRAM that acknowledges `generation` (0: none) has succeeded. */
void attachment_programmed(struct ice_attachment *attachment, uint64_t generation);
/* True when writes are to be stable before they complete (virtio 1.3, 5.2.6.2). */
bool attachment_writes_through(const struct ice_attachment *attachment);

/* What one request is, while device_submit runs it: on that thread's stack. */
struct job {
    struct ice_attachment *attachment;
    struct ice_function *function;
    const struct ice_request *request;
    struct command command;
    enum rule broken;
    size_t head;     /* readable bytes before the data */
    size_t data_out; /* readable bytes behind them */
    size_t data_in;  /* writable bytes before the status */
    bool filled;     /* the data area was written */
    bool control;    /* it came on the control queue */
    struct observation seen;
    struct command shown; /* what observers see of `command` */
    struct ice_why *why;
};

/*
 * violation.c. refuse: answers with a status: notes the rule (RULE_NONE: it is not the driver's
 * fault), sets why, returns the status byte. tolerate: the same with IOERR in a strict function;
 * in others nothing but OK.
 */
__attribute__((format(printf, 5, 6))) uint8_t refuse(struct job *job, enum rule rule,
                                                     uint8_t status, int err, const char *fmt, ...);
__attribute__((format(printf, 3, 4))) uint8_t tolerate(struct job *job, enum rule rule,
                                                       const char *fmt, ...);

/* violation.c: tells the observers of a strict function. RULE_NONE: nobody. */
void report_violation(const struct ice_attachment *attachment, enum rule rule, const char *text);

/*
 * answer.c. answer: fills the data area with `len` bytes, then zeros to its end, so that what was
 * written is a true prefix of the writable part; too short a one is refused, as check_room does,
 * which comes before work that is not to be done in vain.
 */
uint8_t check_room(struct job *job, size_t len);
uint8_t answer(struct job *job, const void *bytes, size_t len);
uint8_t run_get_id(struct job *job);
uint8_t run_get_lifetime(struct job *job);
uint8_t run_get_capabilities(struct job *job);

/* transfer.c: READ and WRITE. check_blocks: whether a range of sectors is whole logical blocks. */
uint8_t run_transfer(struct job *job);
uint8_t check_blocks(struct job *job, uint64_t sector, uint64_t sectors);

/* ranges.c: DISCARD, WRITE_ZEROES, SECURE_ERASE. */
uint8_t run_ranges(struct job *job);

/*
 * keys.c: KEY_PROGRAM and KEY_EVICT; those that make, change or use wrapped keys; KEY_FORGET.
 * take_key: function_get_inline of the key that came with a transfer. refuse_slot: the command
 * names none of the function's.
 */
uint8_t run_slot_operation(struct job *job);
uint8_t run_wrapped_operation(struct job *job);
uint8_t run_forget(struct job *job);
uint8_t take_key(struct job *job, unsigned *slot);
uint8_t refuse_slot(struct job *job);

/* capabilities.c: copies what is advertised, or takes the default. */
void function_set_capabilities(struct ice_function *function, const struct function_params *params);

/* True and the physical slot when `slot`, as on the wire, is in the function's window. */
bool function_slot(const struct ice_function *function, unsigned slot, unsigned *physical);

/* submit.c: makes the media stable for a request, and says so. */
uint8_t make_stable(struct job *job);

/*
 * scratch.c: memory of this thread, made at its first use and freed with it. head: DIALECT_HEAD_MAX
 * bytes of secret memory. data: REQUEST_MAX bytes. NULL: no memory.
 */
uint8_t *scratch_head(void);
uint8_t *scratch_data(void);

#endif
