/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same scenario in every dialect, under both addressings, through a window in the middle of the
 * engine and of the media: program, tagged write, ciphertext, read back, evict; and what the
 * windows and the queues keep out.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "libcrypto_ref.h"
#include "rig.h"
#include "tap.h"
#include "virtio/blk.h"
#include <errno.h>

#define ENGINE_SLOTS 24u
#define FIRST        8u
#define SLOTS        8u
#define SECTORS      1024u
#define FIRST_SECTOR 256u
#define WINDOW       512u /* sectors */
#define BYTES        8192u
#define UNIT         4096u

static struct rig rig;
static struct ice_attachment *a;
static uint8_t media[SECTORS * 512], before[SECTORS * 512], data[BYTES], expected[BYTES];

static void read_media(uint8_t *to)
{
    struct iovec iov = {to, sizeof(media)};

    rig.store->ops->read(rig.store, 0, &iov, 1, NULL);
}

static void open_rig(const struct dialect *dialect, enum slot_addressing addressing, bool strict)
{
    struct function_params params = {
        .dialect = dialect,
        .addressing = addressing,
        .strict = strict,
        .first_slot = FIRST,
        .slots = SLOTS,
        .first_sector = FIRST_SECTOR,
        .sectors = WINDOW,
    };

    rig_open_as(&rig, ENGINE_SLOTS, SECTORS, NULL, params);
    a = rig_attach(&rig, RIG_ALL);
}

static void close_rig(void)
{
    attachment_close(a);
    rig_close(&rig);
}

/* Which physical slots hold a key, as bits. */
static uint32_t programmed(void)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < ENGINE_SLOTS; i++) {
        struct slot_info info;

        engine_slot_info(rig.engine, i, &info);
        bits |= (uint32_t)info.programmed << i;
    }
    return bits;
}

static void encrypt_as_libcrypto(uint8_t first, uint64_t dun)
{
    uint8_t key[64];

    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(first + i);
    ok(libcrypto_ref(algorithm_by_name("aes-256-xts"), UNIT, dun, key, true, data, expected, BYTES),
       "libcrypto encrypts");
}

static void scenario(unsigned first_wire, const char *name)
{
    unsigned slot = first_wire + 3;
    struct command write = rig_tagged(rig_write(16), slot, 40);
    struct command read = rig_tagged(rig_read(16), slot, 40);
    uint8_t back[BYTES];

    is_int(function_wire_slot(rig.function, FIRST + 3), slot, "%s: what slot %u is called", name,
           FIRST + 3);
    is_int(rig_program(a, slot, "aes-256-xts", UNIT, 5).status, 0, "%s: program", name);
    is_int(programmed(), 1 << (FIRST + 3), "%s: that one physical slot is programmed", name);
    for (unsigned i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i * 13 + i / 256);
    read_media(before);
    is_int(rig_run(a, &write, data, BYTES, NULL, 0).status, 0, "%s: tagged write", name);
    read_media(media);
    encrypt_as_libcrypto(5, 40);
    memcpy(before + (size_t)(FIRST_SECTOR + 16) * 512, expected, BYTES);
    is_mem(media, before, sizeof(media), "%s: the media has libcrypto's ciphertext, no more", name);
    is_int(rig_run(a, &read, NULL, 0, back, BYTES).status, 0, "%s: read back", name);
    is_mem(back, data, BYTES, "%s: the plaintext", name);
    is_int(rig_evict(a, slot).status, 0, "%s: evict", name);
    is_int(rig_run(a, &read, NULL, 0, back, BYTES).why.err, ENOKEY, "%s: then it is empty", name);
}

static void outside(unsigned first_wire, const char *name)
{
    unsigned slots[] = {first_wire - 1, first_wire + SLOTS, 255};
    char text[64];

    snprintf(text, sizeof(text), "outside vm0's window %u..%u", first_wire, first_wire + SLOTS - 1);
    for (unsigned i = 0; i < ARRAY_SIZE(slots); i++) {
        struct command read = rig_tagged(rig_read(0), slots[i], 0);
        struct answer answer;

        if (slots[i] > 255)
            continue;
        answer = rig_run(a, &read, NULL, 0, data, UNIT);
        ok(answer.status == VIRTIO_BLK_S_IOERR && answer.why.err == EINVAL &&
               strstr(answer.why.text, text),
           "%s: slot %u is %s", name, slots[i], text);
        answer = rig_program(a, slots[i], "aes-256-xts", UNIT, 1);
        ok(answer.status == VIRTIO_BLK_S_IOERR && answer.why.err == EINVAL &&
               !strcmp(answer.why.text, text),
           "%s: nor is it programmed", name);
        is_int(rig_evict(a, slots[i]).why.err, EINVAL, "%s: nor evicted", name);
        is_int(slot_hold(a, slots[i], EXPECT_ANY), -EINVAL, "%s: nor held", name);
    }
    is_int(programmed(), 0, "%s: no slot was touched", name);
}

static void test_addressing(const struct dialect *dialect, enum slot_addressing addressing)
{
    bool is_virtual = addressing == SLOTS_VIRTUAL ||
                      (addressing == SLOTS_AS_DIALECT && dialect == &dialect_inline);
    unsigned first_wire = is_virtual ? 0 : FIRST;
    struct function_config config;
    char name[32];

    snprintf(name, sizeof(name), "%s, %s slots", dialect->name,
             addressing == SLOTS_AS_DIALECT ? "its own"
             : is_virtual                   ? "virtual"
                                            : "physical");
    open_rig(dialect, addressing, false);
    config = rig_config(a);
    is_int(config.max_slots, SLOTS, "%s: max_slots", name);
    is_int((intmax_t)config.capacity, WINDOW, "%s: capacity", name);
    if (dialect == &dialect_inline) {
        ok(config.dun_bytes == 32 && config.key_types == 3, "%s: 32 DUN bytes, both types", name);
    } else {
        is_int(config.slot_offset, first_wire, "%s: slot_offset", name);
    }
    scenario(first_wire, name);
    outside(first_wire, name);
    close_rig();
}

/* ---- queues ---- */

static void test_control_queue(void)
{
    uint8_t head[DIALECT_HEAD_MAX] = {0};
    struct answer answer;

    open_rig(&dialect_inline, SLOTS_AS_DIALECT, false);
    is_int(rig_queue(a, COMMAND_KEY_PROGRAM), 16, "the control queue is behind the 16");
    store_le32(head, 30);
    answer = rig_send(a, head, 16 + 152, NULL, 0, NULL, 0);
    is_int(answer.status, VIRTIO_BLK_S_UNSUPP, "a key command on a request queue");
    is_str(answer.why.text, "request type 30 means nothing in dialect inline", "why");
    for (uint32_t type = 0; type <= 28; type++) {
        store_le32(head, type);
        answer = rig_send_on(a, 16, head, 56, NULL, 0, data, 512);
        ok(answer.status == VIRTIO_BLK_S_UNSUPP && answer.written == 1,
           "type %u on the control queue", type);
    }
    is_str(answer.why.text, "request type 28 means nothing on the control queue of dialect inline",
           "why");
    answer = rig_send_on(a, 17, head, 56, NULL, 0, data, 512);
    ok(answer.written == 1 && answer.status == VIRTIO_BLK_S_IOERR && answer.why.err == EINVAL,
       "there is no queue behind it");
    is_str(answer.why.text, "queue 17 is outside 0..16", "why");
    attachment_close(a);
    a = rig_attach(&rig, VIRTIO_FEATURE(VIRTIO_BLK_F_MQ));
    is_str(rig_send_on(a, 16, head, 16, NULL, 0, data, 512).why.text, "queue 16 is outside 0..15",
           "without CTRL_VQ there is none");
    attachment_close(a);
    a = rig_attach(&rig, RIG_ALL & ~VIRTIO_FEATURE(VIRTIO_BLK_F_MQ));
    is_int(rig_queue(a, COMMAND_KEY_PROGRAM), 1, "without MQ it is queue 1");
    is_int(rig_program(a, 0, "aes-256-xts", UNIT, 1).status, 0, "and works there");
    is_str(rig_send_on(a, 2, head, 16, NULL, 0, data, 512).why.text, "queue 2 is outside 0..1",
           "nothing is behind it");
    close_rig();
}

/* ---- strict functions ---- */

static void test_strict(const struct dialect *dialect)
{
    struct command read = rig_tagged(rig_read(0), FIRST, 0);
    uint8_t *bytes = secret_alloc(64);
    struct function_key key = {.type = ICE_KEY_TYPE_RAW,
                               .algorithm = algorithm_by_name("aes-256-xts"),
                               .data_unit = UNIT,
                               .len = 64,
                               .bytes = bytes};
    struct answer answer;

    open_rig(dialect, SLOTS_AS_DIALECT, true);
    ok(function_is_strict(rig.function), "%s: strict", dialect->name);
    ok(!(attachment_offered(a) & dialect->own_features), "%s: nothing of icesim's own is offered",
       dialect->name);
    answer = rig_program(a, FIRST, "aes-256-xts", UNIT, 1);
    ok(answer.status == VIRTIO_BLK_S_UNSUPP && answer.why.err == EOPNOTSUPP,
       "%s: no key command in band", dialect->name);
    ok(strstr(answer.why.text, "request type 29 means nothing in dialect"),
       "%s: as it is none of the draft's", dialect->name);
    bytes[0] = 1;
    is_int(function_program(rig.function, FIRST, &key, NULL, NULL, NULL), 0,
           "%s: the owner programs out of band", dialect->name);
    is_int(rig_run(a, &read, NULL, 0, data, UNIT).status, 0, "%s: tagged I/O", dialect->name);
    attachment_set_status(a, 0, NULL);
    is_int(programmed(), 1 << FIRST, "%s: a device reset leaves a key of the owner's",
           dialect->name);
    secret_free(bytes);
    close_rig();
}

int main(void)
{
    for (unsigned i = 0; dialect_at(i); i++)
        for (unsigned addressing = SLOTS_AS_DIALECT; addressing <= SLOTS_VIRTUAL; addressing++)
            test_addressing(dialect_at(i), addressing);
    test_control_queue();
    test_strict(&dialect_ice1);
    test_strict(&dialect_ice2);
    return tap_done();
}
