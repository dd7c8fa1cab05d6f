/* SPDX-License-Identifier: BSD-2-Clause */
/* Attachments: device status and feature negotiation (virtio 1.3, 2.1, 2.2, 3.1), writeback. */
#include "base/bytes.h"
#include "base/futex.h"
#include "dialect/describe.h"
#include "internal.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WRITEBACK_AT offsetof(struct virtio_blk_config, writeback)

#define STATUS_KNOWN                                                                               \
    (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_DRIVER_OK |                  \
     VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED)

static bool negotiated(const struct ice_attachment *a, unsigned bit)
{
    return a->features & VIRTIO_FEATURE(bit);
}

/* Reports what a call is refused for, and hands on the reason. */
static int blame(const struct ice_attachment *a, enum rule rule, const struct ice_why *fault,
                 struct ice_why *why)
{
    report_violation(a, rule, fault->text);
    if (why)
        *why = *fault;
    return -fault->err;
}

int attachment_open(struct ice_function *function, const struct attachment_ops *ops, void *user,
                    struct ice_attachment **result, struct ice_why *why)
{
    static _Atomic uint64_t last_id;
    struct ice_attachment *a = calloc(1, sizeof(*a));

    if (!a)
        return why_set(why, ENOMEM, "no memory for an attachment to %s", function->name);
    a->function = function;
    a->ops = ops;
    a->user = user;
    a->id = atomic_fetch_add(&last_id, 1) + 1;
    a->writeback = 1;
    a->half = FLIGHT_FIRST;
    attachment_set_name(a, "another driver");
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_lock(&function->lock);
    a->generation = engine_generation(function->engine);
    a->next = function->attachments;
    function->attachments = a;
    pthread_mutex_unlock(&function->lock);
    *result = a;
    return 0;
}

void attachment_set_name(struct ice_attachment *a, const char *name)
{
    assert(strlen(name) < sizeof(a->name));
    strcpy(a->name, name);
}

/* ---- requests in flight ---- */

bool attachment_enter(struct ice_attachment *a, uint32_t *counted)
{
    *counted = atomic_load_explicit(&a->half, memory_order_relaxed);
    atomic_fetch_add(&a->flight, *counted);
    return atomic_load(&a->status) & VIRTIO_STATUS_DRIVER_OK;
}

void attachment_leave(struct ice_attachment *a, uint32_t counted)
{
    uint32_t flight = atomic_fetch_sub(&a->flight, counted) - counted;

    if (flight & ATTACHMENT_DRAINING && !(flight & FLIGHT_HALF(counted)))
        futex_wake_all(&a->flight);
}

/* Waits until nothing of `halves` is counted. One drainer at a time: the caller holds a->lock. */
static void drain(struct ice_attachment *a, uint32_t halves)
{
    uint32_t flight = atomic_fetch_or(&a->flight, ATTACHMENT_DRAINING) | ATTACHMENT_DRAINING;

    while (flight & halves) {
        futex_wait(&a->flight, flight);
        flight = atomic_load(&a->flight);
    }
    atomic_fetch_and(&a->flight, ~ATTACHMENT_DRAINING);
}

/*
 * One that looked which half is in use before the last change may have been counted after it: such
 * ones are waited for first, so that the other half is empty when it comes into use.
 */
void attachment_pass(struct ice_attachment *a)
{
    pthread_mutex_lock(&a->lock);
    uint32_t now = a->half, other = now ^ FLIGHT_FIRST ^ FLIGHT_SECOND;
    drain(a, FLIGHT_HALF(other));
    atomic_store(&a->half, other);
    drain(a, FLIGHT_HALF(now));
    pthread_mutex_unlock(&a->lock);
}

void attachment_close(struct ice_attachment *a)
{
    struct ice_function *function = a->function;
    struct ice_attachment **link = &function->attachments;

    /* As long as requests run it is in the list: function_set_sectors waits for them. */
    pthread_mutex_lock(&a->lock);
    drain(a, FLIGHT_ALL);
    pthread_mutex_unlock(&a->lock);
    pthread_mutex_lock(&function->lock);
    while (*link != a)
        link = &(*link)->next;
    *link = a->next;
    pthread_mutex_unlock(&function->lock);
    engine_clear_claimed(function->engine, function->first_slot, function->slots, a->id);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* ---- features and status ---- */

struct ice_function *attachment_function(const struct ice_attachment *a)
{
    return a->function;
}

uint64_t attachment_offered(const struct ice_attachment *a)
{
    return a->function->features;
}

uint64_t attachment_features(const struct ice_attachment *a)
{
    return a->features;
}

int attachment_set_features(struct ice_attachment *a, uint64_t features, struct ice_why *why)
{
    struct ice_why fault = {0};

    pthread_mutex_lock(&a->lock);
    if (!(a->status & VIRTIO_STATUS_DRIVER))
        why_say(&fault, EINVAL, "features are written after status DRIVER");
    else if (a->status & VIRTIO_STATUS_FEATURES_OK)
        why_say(&fault, EBUSY, "features are settled once FEATURES_OK is set");
    else
        a->features = features;
    pthread_mutex_unlock(&a->lock);
    return fault.err ? blame(a, RULE_STATUS_ORDER, &fault, why) : 0;
}

/* Why the device does not take the features, as virtio 1.3, 3.1.1 step 6 lets it. */
static enum rule judge_features(const struct ice_attachment *a, struct ice_why *fault)
{
    const struct dialect *dialect = a->function->dialect;
    const struct feature_need *need = dialect->needs;
    uint64_t foreign = a->features & ~a->function->features;

    if (foreign) {
        why_say(fault, EINVAL, "feature bit %u is not offered", (unsigned)__builtin_ctzll(foreign));
        return RULE_FEATURE_FOREIGN;
    }
    if (!negotiated(a, VIRTIO_F_VERSION_1)) {
        why_say(fault, EINVAL, "VIRTIO_F_VERSION_1 is not accepted: legacy drivers are not served");
        return RULE_FEATURE_DEPENDS;
    }
    for (; need && need->feature; need++)
        if (negotiated(a, need->feature) && !negotiated(a, need->needs)) {
            why_say(fault, EINVAL, "%s depends on %s", feature_name(dialect, need->feature),
                    feature_name(dialect, need->needs));
            return RULE_FEATURE_DEPENDS;
        }
    return RULE_NONE;
}

uint8_t attachment_status(const struct ice_attachment *a)
{
    return a->status;
}

static void reset(struct ice_attachment *a)
{
    const struct ice_function *function = a->function;

    atomic_store(&a->status, 0);
    drain(a, FLIGHT_ALL);
    a->features = 0;
    a->writeback = 1;
    if (function->keep_on_reset)
        engine_clear_claimed(function->engine, function->first_slot, function->slots, a->id);
    else
        engine_clear(function->engine, function->first_slot, function->slots, a->id);
}

/* Bits are set in the order of virtio 1.3, 3.1.1; each needs all before it. */
static int check_order(const struct ice_attachment *a, uint8_t status, struct ice_why *fault)
{
    static const struct {
        uint8_t bit;
        const char *name;
    } order[] = {
        {VIRTIO_STATUS_ACKNOWLEDGE, "ACKNOWLEDGE"},
        {VIRTIO_STATUS_DRIVER, "DRIVER"},
        {VIRTIO_STATUS_FEATURES_OK, "FEATURES_OK"},
        {VIRTIO_STATUS_DRIVER_OK, "DRIVER_OK"},
    };

    if (a->status & ~status & STATUS_KNOWN)
        return why_set(fault, EINVAL, "status 0x%02x clears bits of 0x%02x; only 0 does", status,
                       a->status);
    if (status & ~STATUS_KNOWN)
        return why_set(fault, EINVAL, "status 0x%02x has bits that no driver sets", status);
    for (size_t i = 1; i < ARRAY_SIZE(order); i++)
        if (status & order[i].bit && !(status & order[i - 1].bit))
            return why_set(fault, EINVAL, "status %s comes after %s", order[i].name,
                           order[i - 1].name);
    return 0;
}

/*
 * With CONFIG_WCE the device starts in writeback mode if the driver has FLUSH, else in writethrough
 * (virtio 1.3, 5.2.5.2). Unacceptable features are no error of the call: the bit does not stick.
 */
static int advance(struct ice_attachment *a, uint8_t status, struct ice_why *why)
{
    struct ice_why fault = {0};
    enum rule broken;

    if (check_order(a, status, &fault))
        return blame(a, RULE_STATUS_ORDER, &fault, why);
    if (status & ~a->status & VIRTIO_STATUS_FEATURES_OK) {
        broken = judge_features(a, &fault);
        if (broken) {
            blame(a, broken, &fault, why);
            status &= (uint8_t) ~(VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
        } else {
            a->writeback =
                !negotiated(a, VIRTIO_BLK_F_CONFIG_WCE) || negotiated(a, VIRTIO_BLK_F_FLUSH);
        }
    }
    atomic_store(&a->status, status);
    return 0;
}

int attachment_set_status(struct ice_attachment *a, uint8_t status, struct ice_why *why)
{
    int r = 0;

    pthread_mutex_lock(&a->lock);
    if (status)
        r = advance(a, status, why);
    else
        reset(a);
    pthread_mutex_unlock(&a->lock);
    return r;
}

/* ---- configuration space ---- */

bool attachment_writes_through(const struct ice_attachment *a)
{
    if (negotiated(a, VIRTIO_BLK_F_CONFIG_WCE))
        return !atomic_load(&a->writeback);
    return !negotiated(a, VIRTIO_BLK_F_FLUSH);
}

void attachment_show_config(const struct ice_attachment *a, uint32_t offset, void *buffer,
                            uint32_t len)
{
    uint8_t space[DIALECT_CONFIG_MAX];
    size_t there;

    function_build_config(a, space);
    there = offset < sizeof(space) ? min_u64(len, sizeof(space) - offset) : 0;
    memset(buffer, 0, len);
    if (there)
        memcpy(buffer, space + offset, there);
}

void attachment_read_config(struct ice_attachment *a, uint32_t offset, void *buffer, uint32_t len)
{
    if (offset <= WRITEBACK_AT && len > WRITEBACK_AT - offset &&
        !(atomic_load(&a->status) & VIRTIO_STATUS_FEATURES_OK))
        report_violation(a, RULE_CONFIG_EARLY, rule_text(RULE_CONFIG_EARLY));
    attachment_show_config(a, offset, buffer, len);
}

int attachment_write_config(struct ice_attachment *a, uint32_t offset, const void *buffer,
                            uint32_t len, struct ice_why *why)
{
    bool writeback = negotiated(a, VIRTIO_BLK_F_CONFIG_WCE) && offset <= WRITEBACK_AT &&
                     len > WRITEBACK_AT - offset;
    struct ice_why fault;
    uint8_t mode;

    if (a->function->strict && len > writeback) {
        why_say(&fault, EINVAL, "bytes %u + %u of the configuration space are not all writable",
                offset, len);
        return blame(a, RULE_CONFIG_READ_ONLY, &fault, why);
    }
    if (!writeback)
        return 0;
    mode = ((const uint8_t *)buffer)[WRITEBACK_AT - offset];
    if (mode > 1) {
        why_say(&fault, EINVAL, "writeback is %u, neither 0 nor 1", mode);
        return blame(a, RULE_CONFIG_WRITEBACK, &fault, why);
    }
    atomic_store(&a->writeback, mode);
    return 0;
}

uint64_t attachment_generation(const struct ice_attachment *a)
{
    return atomic_load(&a->generation);
}

int attachment_acknowledge(struct ice_attachment *a, uint64_t generation, struct ice_why *why)
{
    uint64_t seen = atomic_load(&a->generation), now = engine_generation(a->function->engine);

    if (generation < seen || generation > now)
        return why_set(why, EINVAL, "generation %llu is not between %llu and %llu",
                       (unsigned long long)generation, (unsigned long long)seen,
                       (unsigned long long)now);
    atomic_store(&a->generation, generation);
    return 0;
}

void attachment_recall_generation(struct ice_attachment *a, uint64_t generation)
{
    if (generation < atomic_load(&a->generation))
        atomic_store(&a->generation, generation);
}

void attachment_programmed(struct ice_attachment *a, uint64_t generation)
{
    uint64_t seen = atomic_load(&a->generation);

    while (generation > seen && !atomic_compare_exchange_weak(&a->generation, &seen, generation))
        ;
}
