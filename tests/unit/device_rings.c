/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the device does for transports that have rings: drivers that have no message for an engine's
 * generation, requests of a process that is no more, VMMs that look at the configuration space.
 */
#include "base/bytes.h"
#include "rig.h"
#include "tap.h"
#include "virtio/blk.h"
#include <errno.h>

static struct rig rig;
static uint8_t data[512];

static struct answer run(struct ice_attachment *a, struct command command)
{
    return rig_run(a, &command, data, sizeof(data), NULL, 0);
}

static struct answer answer;

static void note_answer(struct ice_request *request, size_t written, const struct ice_why *why)
{
    const uint8_t *status = request->writable[request->nwritable - 1].iov_base;

    answer = (struct answer){.written = written, .status = *status};
    if (why)
        answer.why = *why;
}

/* With `how`'s flags. */
static void submit(struct ice_attachment *a, struct command command, const void *out, size_t len,
                   struct ice_request how)
{
    uint8_t head[DIALECT_HEAD_MAX], status = 0xee;
    size_t head_len = dialect_ice2.build(attachment_features(a), &command, head);
    const struct iovec readable[] = {{head, head_len}, {(void *)out, len}};
    const struct iovec writable = {&status, 1};

    how.readable = readable;
    how.nreadable = len ? 2 : 1;
    how.writable = &writable;
    how.nwritable = 1;
    how.expect = EXPECT_ANY;
    how.done = note_answer;
    device_submit(a, &how);
}

static int program_knowing(struct ice_attachment *a, unsigned slot, uint64_t generation)
{
    static const uint8_t key[64] = {1};

    submit(a, rig_key(slot, "aes-256-xts", 512, key), NULL, 0,
           (struct ice_request){.acknowledges = generation});
    return answer.status;
}

static void test_acknowledging(void)
{
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL);
    struct command tagged = rig_tagged(rig_write(0), 1, 0);
    uint64_t generation;

    rig_program(a, 1, "aes-256-xts", 512, 1);
    is_int(run(a, tagged).status, VIRTIO_BLK_S_OK, "a tagged write");
    generation = engine_reset(rig.engine);
    rig_program(a, 1, "aes-256-xts", 512, 1);
    is_int(run(a, tagged).why.err, ESTALE, "a program that knows of no reset acknowledges nothing");
    is_int(program_knowing(a, 9, generation), VIRTIO_BLK_S_IOERR, "one that knows, but fails");
    is_int(run(a, tagged).why.err, ESTALE, "does neither");
    is_int(program_knowing(a, 1, generation), VIRTIO_BLK_S_OK, "one that knows and succeeds");
    is_int((intmax_t)attachment_generation(a), (intmax_t)generation, "does");
    is_int(run(a, tagged).status, VIRTIO_BLK_S_OK, "tagged writes run");
    is_int(program_knowing(a, 1, generation - 1), VIRTIO_BLK_S_OK, "one that knows an older one");
    is_int((intmax_t)attachment_generation(a), (intmax_t)generation, "changes nothing");
    attachment_close(a);
}

static void test_recall(void)
{
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL);
    struct command tagged = rig_tagged(rig_write(0), 1, 0);
    uint64_t now = engine_generation(rig.engine);

    attachment_recall_generation(a, now + 5);
    is_int((intmax_t)attachment_generation(a), (intmax_t)now, "nothing newer is recalled");
    attachment_recall_generation(a, 0);
    is_int((intmax_t)attachment_generation(a), 0, "keys of no engine");
    is_int(run(a, tagged).why.err, ESTALE, "tagged writes are refused");
    is_int(run(a, rig_write(0)).status, VIRTIO_BLK_S_OK, "plain ones are not");
    attachment_close(a);
}

static void replay(struct ice_attachment *a, struct command command, const void *out, size_t len)
{
    submit(a, command, out, len, (struct ice_request){.replayed = true});
}

static void test_replayed(void)
{
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL);
    uint8_t key[64] = {1};

    rig_evict(a, 2);
    replay(a, rig_key(2, "aes-256-xts", 512, key), NULL, 0);
    ok(answer.status == VIRTIO_BLK_S_IOERR && answer.why.err == EINTR && answer.written == 1,
       "a key operation of a process that is no more");
    is_str(answer.why.text, "key_program was interrupted, and is not run a second time", "why");
    ok(!slot_programmed(a, 2), "is not run");
    rig_program(a, 2, "aes-256-xts", 512, 7);
    replay(a, (struct command){.kind = COMMAND_KEY_EVICT, .slot = 2}, NULL, 0);
    ok(answer.why.err == EINTR && slot_programmed(a, 2), "neither is an eviction");
    replay(a, rig_write(4), data, sizeof(data));
    is_int(answer.status, VIRTIO_BLK_S_OK, "a write is");
    attachment_close(a);
}

static void test_show_config(void)
{
    static const uint8_t zeros[256];
    struct ice_attachment *a;
    uint8_t shown[256], seen[256];

    attachment_open(rig.function, NULL, NULL, &a, NULL);
    memset(shown, 0xee, sizeof(shown));
    attachment_show_config(a, 0, shown, sizeof(shown));
    is_int((intmax_t)load_le64(shown), 64, "a VMM sees the capacity before there is a driver");
    attachment_read_config(a, 0, seen, sizeof(seen));
    is_mem(shown, seen, sizeof(shown), "the same space as a driver's");
    attachment_show_config(a, 300, shown, 16);
    is_mem(shown, zeros, 16, "zeros past the end");
    attachment_close(a);
}

static void test_rings(void)
{
    struct rig other;

    is_int(function_rings(rig.function), 16, "ice2: 16 request queues");
    rig_open_as(&other, 1, 64, NULL, (struct function_params){.dialect = &dialect_inline});
    is_int(function_rings(other.function), 17, "inline: the control queue too");
    rig_close(&other);
    rig_open_as(&other, 1, 64, NULL,
                (struct function_params){.dialect = &dialect_inline, .integrity = true});
    is_int(function_rings(other.function), 16, "but not without inline crypto");
    rig_close(&other);
}

int main(void)
{
    rig_open(&rig, 4, 64, NULL);
    test_acknowledging();
    test_recall();
    test_replayed();
    test_show_config();
    test_rings();
    rig_close(&rig);
    return tap_done();
}
