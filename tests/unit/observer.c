/* SPDX-License-Identifier: BSD-2-Clause */
/* What observers see of requests and key operations. */
#include "device/observer.h"
#include "base/bytes.h"
#include "rig.h"
#include "tap.h"
#include <errno.h>

static struct observation before, after;
static struct command command_before, command_after;
static int why_err;

static void note_before(struct observer *observer, const struct observation *seen)
{
    (void)observer;
    before = *seen;
    command_before = *seen->command;
}

static void note_after(struct observer *observer, const struct observation *seen)
{
    (void)observer;
    after = *seen;
    command_after = *seen->command;
    why_err = seen->why ? seen->why->err : 0;
}

static const struct observer_ops ops = {.before = note_before, .after = note_after};
static struct observer mine = {.ops = &ops};

int main(void)
{
    uint8_t key[64], fingerprint[FINGERPRINT_BYTES], data[4096] = {0};
    struct command write = rig_tagged(rig_write(8), 3, 7);
    struct ice_attachment *a;
    struct rig rig;

    rig_open(&rig, 8, 64, NULL);
    rig.observers[1] = &mine;
    a = rig_attach(&rig, RIG_ALL);
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i + 1);
    cipher_fingerprint(key, sizeof(key), fingerprint);

    rig_program(a, 3, "aes-256-xts", 4096, 1);
    ok(command_before.kind == COMMAND_KEY_PROGRAM && before.attachment == a,
       "a program is seen before");
    ok(!command_before.key.bytes && !command_after.key.bytes, "without its key");
    is_int(after.slot, 3, "and after, with its slot");
    is_int((intmax_t)after.key.program_count, 1, "its program count");
    is_mem(after.key.fingerprint, fingerprint, sizeof(fingerprint), "and its fingerprint");

    rig_run(a, &write, data, sizeof(data), NULL, 0);
    ok(command_after.kind == COMMAND_WRITE && command_after.sector == 8 &&
           command_after.dun.limb[0] == 7 && after.data_len == sizeof(data) && after.slot == 3,
       "a tagged write: sector, DUN, length, slot");
    is_mem(after.key.fingerprint, fingerprint, sizeof(fingerprint), "the key that it ran with");
    ok(after.status == VIRTIO_BLK_S_OK && !why_err && !after.synced, "OK, not made stable");

    write.slot = 4;
    rig_run(a, &write, data, sizeof(data), NULL, 0);
    ok(after.status == VIRTIO_BLK_S_IOERR && why_err == ENOKEY, "a refusal, with its cause");

    rig_evict(a, 3);
    is_mem(after.key.fingerprint, fingerprint, sizeof(fingerprint),
           "an evict: the key that is gone");
    rig_evict(a, 3);
    is_int(after.key.data_unit, 0, "an evict of an empty slot: none");
    attachment_close(a);
    rig_close(&rig);
    return tap_done();
}
