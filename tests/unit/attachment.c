/* SPDX-License-Identifier: BSD-2-Clause */
/* Attachments: status, negotiation, writeback, resets, the engine's generation. */
#include "base/bytes.h"
#include "device/device.h"
#include "rig.h"
#include "tap.h"
#include <errno.h>

#define BIT(b) VIRTIO_FEATURE(b)

static struct rig rig;

static void test_negotiation(void)
{
    struct ice_attachment *a;
    struct ice_why why = {0};
    uint64_t offered;

    attachment_open(rig.function, NULL, NULL, &a, NULL);
    offered = attachment_offered(a);
    is_int((intmax_t)offered,
           (intmax_t)(BIT(1) | BIT(2) | BIT(6) | BIT(9) | BIT(11) | BIT(12) | BIT(13) | BIT(14) |
                      BIT(15) | BIT(16) | BIT(22) | BIT(32) | BIT(56)),
           "exactly these bits are offered");
    is_int(attachment_set_features(a, offered, &why), -EINVAL, "features before DRIVER");
    is_int(attachment_set_status(a, 2, &why), -EINVAL, "DRIVER before ACKNOWLEDGE");
    is_str(why.text, "status DRIVER comes after ACKNOWLEDGE", "says so");
    attachment_set_status(a, 1, NULL);
    attachment_set_status(a, 3, NULL);
    is_int(attachment_set_status(a, 7, &why), -EINVAL, "DRIVER_OK before FEATURES_OK");
    is_int(attachment_set_features(a, offered | BIT(40), NULL), 0, "a bit that is not offered");
    why.err = 0;
    is_int(attachment_set_status(a, 11, &why), 0, "FEATURES_OK is answered,");
    is_int(attachment_status(a), 3, "but does not stick");
    is_str(why.text, "feature bit 40 is not offered", "and the bit is named");
    attachment_set_features(a, BIT(22), NULL);
    attachment_set_status(a, 11, &why);
    is_int(attachment_status(a), 3, "without VERSION_1 neither");
    attachment_set_features(a, BIT(32) | BIT(56), NULL);
    attachment_set_status(a, 11, &why);
    is_str(why.text, "VIRTIO_BLK_F_ICE_KEY_OPS depends on VIRTIO_BLK_F_ICE", "nor 56 without 22");
    attachment_set_features(a, offered, NULL);
    attachment_set_status(a, 11, NULL);
    is_int(attachment_status(a), 11, "what is offered sticks");
    is_int(attachment_set_features(a, 0, &why), -EBUSY, "features are settled then");
    is_int(attachment_set_status(a, 3, &why), -EINVAL, "a bit cannot be cleared");
    is_int(attachment_set_status(a, 11 | 16, &why), -EINVAL, "nor an unknown one set");
    attachment_set_status(a, 15, NULL);
    is_int(attachment_status(a), 15, "DRIVER_OK");
    attachment_set_status(a, 0, NULL);
    ok(!attachment_status(a) && !attachment_features(a), "0 forgets it all");
    attachment_close(a);
}

static uint64_t syncs(void)
{
    struct stats_counters counters;

    stats_read(rig.stats, &counters);
    return counters.syncs;
}

/* How many times a write makes the media stable. */
static int syncs_of_write(struct ice_attachment *a)
{
    uint8_t data[512] = {1};
    struct command write = rig_write(0);
    uint64_t before = syncs();

    rig_run(a, &write, data, sizeof(data), NULL, 0);
    return (int)(syncs() - before);
}

static void test_writeback(void)
{
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL);
    struct command flush = {.kind = COMMAND_FLUSH};
    struct ice_why why;
    uint64_t before;
    uint8_t mode;

    attachment_read_config(a, 32, &mode, 1);
    is_int(mode, 1, "FLUSH and CONFIG_WCE: writeback starts 1");
    is_int(syncs_of_write(a), 0, "writeback 1: a write is not made stable");
    before = syncs();
    rig_run(a, &flush, NULL, 0, NULL, 0);
    is_int((intmax_t)(syncs() - before), 1, "a FLUSH is");
    mode = 0;
    is_int(attachment_write_config(a, 32, &mode, 1, NULL), 0, "writeback is written");
    is_int(syncs_of_write(a), 1, "writeback 0: each write is made stable");
    mode = 2;
    is_int(attachment_write_config(a, 32, &mode, 1, &why), -EINVAL, "writeback 2 is refused");
    attachment_close(a);
    a = rig_attach(&rig, RIG_BARE);
    is_int(syncs_of_write(a), 1, "neither FLUSH nor CONFIG_WCE: each write is made stable");
    attachment_close(a);
    a = rig_attach(&rig, BIT(VIRTIO_BLK_F_FLUSH));
    is_int(syncs_of_write(a), 0, "FLUSH alone: the driver flushes");
    attachment_close(a);
    a = rig_attach(&rig, BIT(VIRTIO_BLK_F_CONFIG_WCE));
    attachment_read_config(a, 32, &mode, 1);
    is_int(mode, 0, "CONFIG_WCE without FLUSH: writeback starts 0");
    is_int(syncs_of_write(a), 1, "and each write is made stable");
    attachment_close(a);
}

static void test_config_window(void)
{
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL);
    uint8_t bytes[16], ff[16];

    memset(ff, 0xff, sizeof(ff));
    memset(bytes, 0xff, sizeof(bytes));
    attachment_read_config(a, 96, bytes, 16);
    is_mem(bytes, ((uint8_t[16]){0, 8, 88}), 16, "8 slots at 0, 88 capabilities, zeros behind");
    attachment_read_config(a, UINT32_MAX, bytes, 16);
    is_mem(bytes, ((uint8_t[16]){0}), 16, "far past the end: zeros");
    is_int(attachment_write_config(a, 0, ff, 16, NULL), 0, "a read-only field");
    attachment_read_config(a, 0, bytes, 8);
    is_int((intmax_t)load_le64(bytes), 64, "keeps its value");
    attachment_close(a);
}

static void test_two(void)
{
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL), *b = rig_attach(&rig, RIG_BARE);
    uint8_t mode = 0, data[4096];
    struct command read = rig_tagged(rig_read(0), 1, 0);

    attachment_write_config(a, 32, &mode, 1, NULL);
    rig_program(a, 1, "aes-256-xts", 512, 1);
    attachment_set_status(b, 0, NULL);
    ok(attachment_status(a) == 15 && attachment_features(a) == attachment_offered(a),
       "b's reset leaves a's status and features");
    is_int(syncs_of_write(a), 1, "and its writeback");
    is_int(rig_run(a, &read, NULL, 0, data, 512).status, 0, "and its keys");
    attachment_close(b);
    b = rig_attach(&rig, RIG_ALL);
    is_int(rig_run(b, &read, NULL, 0, data, 512).status, 0, "b uses the slot that a programmed");
    rig_program(b, 2, "aes-256-xts", 512, 1);
    attachment_set_status(a, 0, NULL);
    is_int(rig_run(b, &read, NULL, 0, data, 512).why.err, ENOKEY,
           "a's reset empties what a programmed");
    read.slot = 2;
    is_int(rig_run(b, &read, NULL, 0, data, 512).status, 0, "not what b programmed");
    attachment_close(a);
    attachment_close(b);
    b = rig_attach(&rig, RIG_ALL);
    is_int(rig_run(b, &read, NULL, 0, data, 512).status, 0, "closing is no reset");
    function_reset(rig.function);
    is_int(rig_run(b, &read, NULL, 0, data, 512).why.err, ENOKEY, "a function reset empties all");
    attachment_close(b);
}

static unsigned events;
static uint64_t last_value;

static void count_event(void *user, enum attachment_event event, uint64_t value)
{
    (void)user;
    events += 1u << (8 * event);
    last_value = value;
}

static void test_generation(void)
{
    static const struct attachment_ops ops = {.event = count_event};
    struct ice_attachment *a = rig_attach(&rig, RIG_ALL), *listener;
    struct command read = rig_tagged(rig_read(0), 1, 0);
    uint8_t data[512];
    struct ice_why why;
    struct answer answer;
    uint64_t generation;

    attachment_open(rig.function, &ops, NULL, &listener, NULL);
    rig_program(a, 1, "aes-256-xts", 512, 1);
    generation = engine_reset(rig.engine);
    function_announce_generation(rig.function, generation);
    ok(events == 1u << (8 * EVENT_ENGINE_GENERATION) && last_value == generation,
       "an engine reset is told with its generation");
    is_int(rig_program(a, 1, "aes-256-xts", 512, 1).status, 0, "keys are programmed at once");
    answer = rig_run(a, &read, NULL, 0, data, 512);
    ok(answer.status == 1 && answer.why.err == ESTALE, "tagged I/O is refused until acknowledged");
    is_str(answer.why.text, "the engine was reset and the driver has not acknowledged it", "why");
    is_int(slot_hold(a, 1, EXPECT_ANY), -ENOKEY, "nor is a slot held");
    read.tagged = false;
    is_int(rig_run(a, &read, NULL, 0, data, 512).status, 0, "plain I/O goes on");
    read.tagged = true;
    is_int(attachment_acknowledge(a, generation + 1, &why), -EINVAL, "the future is refused");
    is_int(attachment_acknowledge(a, generation, NULL), 0, "acknowledged");
    is_int(rig_run(a, &read, NULL, 0, data, 512).status, 0, "tagged I/O runs again");
    function_reset_attachments(rig.function);
    is_int(attachment_status(a), 0, "a device reset from the host: status 0 for all");
    is_int((intmax_t)(events >> 8 & 0xff), 1, "and they are told");
    attachment_close(listener);
    attachment_close(a);
}

int main(void)
{
    rig_open(&rig, 8, 64, NULL);
    test_negotiation();
    test_writeback();
    test_config_window();
    test_two();
    test_generation();
    rig_close(&rig);
    return tap_done();
}
