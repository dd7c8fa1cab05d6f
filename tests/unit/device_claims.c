/* SPDX-License-Identifier: BSD-2-Clause */
/* Claimed slots: what others are refused, what their owner may do, and what ends a claim. */
#include "base/bytes.h"
#include "base/secret.h"
#include "rig.h"
#include "tap.h"
#include "virtio/blk.h"
#include <errno.h>

#define UNIT    512u
#define SECTORS 64u
#define SLOT    2u

static struct rig rig;
static struct ice_attachment *owner, *other;
static uint64_t violations;

static void open_rig(struct function_params params)
{
    rig_open_as(&rig, 4, SECTORS, NULL, params);
    owner = rig_attach(&rig, RIG_ALL);
    other = rig_attach(&rig, RIG_ALL);
    attachment_set_name(owner, "the views of vm0");
}

static void close_rig(void)
{
    attachment_close(owner);
    attachment_close(other);
    rig_close(&rig);
}

static struct answer last;

static void done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    (void)request;
    last.written = written;
    if (why)
        last.why = *why;
}

/* A key command with `claim` set; the device runs it on this thread. */
static struct answer send_claiming(struct ice_attachment *a, const struct command *command)
{
    const struct dialect *dialect = function_dialect(attachment_function(a));
    uint8_t *head = secret_alloc(DIALECT_HEAD_MAX), status = 0xee;
    struct iovec readable = {head, dialect->build(attachment_features(a), command, head)};
    struct iovec writable = {&status, 1};
    struct ice_request request = {
        .readable = &readable,
        .nreadable = 1,
        .writable = &writable,
        .nwritable = 1,
        .queue = rig_queue(a, command->kind),
        .expect = EXPECT_ANY,
        .claim = true,
        .done = done,
    };

    last = (struct answer){0};
    device_submit(a, &request);
    secret_free(head);
    last.status = status;
    return last;
}

static struct answer claim(struct ice_attachment *a, unsigned slot, uint8_t first)
{
    uint8_t key[KEY_BYTES_MAX] = {0};
    struct command command = rig_key(slot, "aes-256-xts", UNIT, key);

    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(first + i);
    return send_claiming(a, &command);
}

static struct answer evict_claimed(struct ice_attachment *a, unsigned slot)
{
    struct command command = {.kind = COMMAND_KEY_EVICT, .slot = slot};

    return send_claiming(a, &command);
}

static struct answer read_through(struct ice_attachment *a, unsigned slot)
{
    struct command command = rig_tagged(rig_read(0), slot, 0);
    uint8_t data[UNIT];

    return rig_run(a, &command, NULL, 0, data, sizeof(data));
}

static struct slot_info info_of(unsigned slot)
{
    struct slot_info info;

    engine_slot_info(rig.engine, slot, &info);
    return info;
}

static void refused(struct answer answer, int err, const char *text, const char *name)
{
    is_int(answer.status, VIRTIO_BLK_S_IOERR, "%s: IOERR", name);
    is_int(answer.why.err, err, "%s: errno", name);
    is_str(answer.why.text, text, "%s: in words", name);
}

static void count_violations(void)
{
    struct stats_counters counters;

    stats_read(rig.stats, &counters);
    for (size_t i = 0; i < RULE_COUNT; i++)
        violations += counters.violations[i];
}

static void test_others(const struct dialect *dialect)
{
    static const char taken[] = "slot 2 is claimed by the views of vm0";
    static const char busy[] = "the slot is claimed by the views of vm0";
    struct slot_info before;
    struct ice_why why;

    open_rig((struct function_params){.dialect = dialect});
    is_int(claim(owner, SLOT, 1).status, 0, "%s: claim an empty slot", dialect->name);
    before = info_of(SLOT);
    ok(before.programmed && before.claimer, "it is programmed, and somebody's");
    is_str(before.claimer_name, "the views of vm0", "by name");
    refused(rig_program(other, SLOT, "aes-256-xts", UNIT, 9), EBUSY, busy, "program by another");
    refused(rig_program(owner, SLOT, "aes-256-xts", UNIT, 9), EBUSY, busy,
            "program by the owner without a claim");
    refused(rig_evict(other, SLOT), EBUSY, busy, "evict by another");
    refused(claim(other, SLOT, 9), EEXIST, busy, "claim by another");
    refused(evict_claimed(other, SLOT), EEXIST, busy, "evict by another who thinks it is its own");
    refused(read_through(other, SLOT), EBUSY, taken, "read by another");
    is_int(slot_hold(other, SLOT, EXPECT_ANY), -EBUSY, "another cannot hold it");
    is_int(slot_hold(owner, SLOT, before.program_count), 0, "its owner can");
    slot_release(owner, SLOT);
    is_int(engine_evict(rig.engine, SLOT, NULL, NULL, &why), -EBUSY, "evict out of band");
    is_str(why.text, busy, "in words");
    ok(slot_programmed(other, SLOT) && !slot_programmed(other, 0) && !slot_programmed(other, 77),
       "whether it is programmed, everybody may know");
    ok(info_of(SLOT).program_count == before.program_count && !info_of(SLOT).in_flight,
       "nothing has changed, nothing is left in flight");
    is_int(read_through(owner, SLOT).status, 0, "the owner reads");
    is_int(claim(owner, SLOT, 5).status, 0, "and programs it anew");
    ok(info_of(SLOT).program_count == before.program_count + 1, "once");
    is_int(rig_evict(owner, SLOT).status, 0, "and evicts it");
    ok(!info_of(SLOT).programmed && !info_of(SLOT).claimer, "then it is nobody's");
    is_int(rig_program(other, SLOT, "aes-256-xts", UNIT, 9).status, 0, "and another may have it");
    close_rig();
}

static void test_direct(void)
{
    uint64_t count;

    open_rig((struct function_params){0});
    rig_program(other, SLOT, "aes-256-xts", UNIT, 1);
    rig_program(owner, 0, "aes-256-xts", UNIT, 1);
    count = info_of(SLOT).program_count;
    refused(claim(owner, SLOT, 2), EEXIST, "the slot is programmed directly", "claim of another's");
    refused(claim(owner, 0, 2), EEXIST, "the slot is programmed directly", "claim of its own");
    refused(evict_claimed(owner, SLOT), EEXIST, "the slot is programmed directly", "evict");
    is_int(evict_claimed(owner, 3).status, 0, "an empty slot is evicted");
    ok(info_of(SLOT).program_count == count && !info_of(SLOT).claimer, "nothing has changed");
    is_int(slot_hold(other, SLOT, EXPECT_ANY), 0, "in flight");
    is_int(claim(owner, SLOT, 2).why.err, EEXIST, "it is refused for the same reason");
    slot_release(other, SLOT);
    is_int(read_through(owner, SLOT).status, 0, "direct slots are everybody's");
    close_rig();
}

static void test_no_violation(void)
{
    open_rig((struct function_params){.dialect = &dialect_inline, .strict = true});
    claim(owner, SLOT, 1);
    read_through(other, SLOT);
    rig_program(other, SLOT, "aes-256-xts", UNIT, 1);
    rig_evict(other, SLOT);
    claim(other, SLOT, 1);
    count_violations();
    is_int((intmax_t)violations, 0, "who runs into a claim breaks no rule");
    slot_hold(owner, SLOT, EXPECT_ANY);
    rig_evict(owner, SLOT);
    slot_release(owner, SLOT);
    count_violations();
    is_int((intmax_t)violations, 1, "its owner does with requests in flight");
    close_rig();
}

/* What ends a claim, and what does not. */
static void test_ends(bool keep)
{
    open_rig((struct function_params){.keep_on_reset = keep});
    claim(owner, SLOT, 1);
    rig_program(owner, 0, "aes-256-xts", UNIT, 1);
    attachment_set_status(other, 0, NULL);
    ok(info_of(SLOT).claimer, "a reset of another leaves it");
    attachment_set_status(owner, 0, NULL);
    ok(!info_of(SLOT).programmed, "a reset of the claimer empties it, keep or not");
    ok(info_of(0).programmed == keep, "a direct slot as on-reset has it");
    close_rig();

    open_rig((struct function_params){.keep_on_reset = keep});
    claim(owner, SLOT, 1);
    rig_program(owner, 0, "aes-256-xts", UNIT, 1);
    attachment_close(owner);
    ok(!info_of(SLOT).programmed && !info_of(SLOT).claimer, "so does the claimer's end");
    ok(info_of(0).programmed, "a direct slot stays");
    owner = rig_attach(&rig, RIG_ALL);
    claim(owner, SLOT, 1);
    is_str(info_of(SLOT).claimer_name, "another driver", "who has no name");
    function_reset(rig.function);
    ok(!info_of(SLOT).claimer, "a function reset ends it");
    claim(owner, SLOT, 1);
    engine_reset(rig.engine);
    ok(!info_of(SLOT).claimer, "an engine reset ends it");
    close_rig();
}

int main(void)
{
    for (unsigned i = 0; dialect_at(i); i++)
        test_others(dialect_at(i));
    test_direct();
    test_no_violation();
    test_ends(false);
    test_ends(true);
    return tap_done();
}
