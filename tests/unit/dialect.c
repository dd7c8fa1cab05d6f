/* SPDX-License-Identifier: BSD-2-Clause */
/* Dialect ice2: exact bytes, written out by hand from the draft and the protocol page. */
#include "dialect/dialect.h"
#include "base/algorithm.h"
#include "base/bytes.h"
#include "tap.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"

#define ICE     (VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | VIRTIO_FEATURE(VIRTIO_BLK_F_ICE))
#define KEY_OPS (ICE | VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEY_OPS))
#define PLAIN   VIRTIO_FEATURE(VIRTIO_F_VERSION_1)

static const struct dialect *d = &dialect_ice2;

static void test_build_transfer(void)
{
    static const uint8_t tagged[32] = {
        1, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
        9, 1, 0, 0, 0, 0, 0, 0, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01};
    static const uint8_t plain[32] = {[8] = 5};
    uint8_t head[DIALECT_HEAD_MAX];
    struct command command = {.kind = COMMAND_WRITE,
                              .sector = 0x1122334455667788,
                              .tagged = true,
                              .slot = 9,
                              .dun = {{0x0102030405060708, 0, 0, 0}}};

    is_int(d->build(ICE, &command, head), 32, "a tagged header is 32 bytes");
    is_mem(head, tagged, 32, "a tagged OUT, byte by byte");
    command = (struct command){.kind = COMMAND_READ, .sector = 5};
    is_int(d->build(ICE, &command, head), 32, "with ICE a plain header is 32 bytes too");
    is_mem(head, plain, 32, "a plain IN has a payload of zeros");
    is_int(d->build(PLAIN, &command, head), 16, "without ICE it is 16");
}

static void test_build_keys(void)
{
    uint8_t want[32 + 136] = {29, [32] = 3, [33] = 1, [34] = 64, [37] = 3, [38] = 3};
    uint8_t key[64], head[DIALECT_HEAD_MAX];
    struct command command = {.kind = COMMAND_KEY_PROGRAM,
                              .slot = 3,
                              .key = {.type = ICE_KEY_TYPE_RAW,
                                      .alg = ALG_AES_XTS,
                                      .key_size = KEY_SIZE_256,
                                      .data_unit = 4096,
                                      .len = 64,
                                      .bytes = key}};

    for (unsigned i = 0; i < sizeof(key); i++)
        want[40 + i] = key[i] = (uint8_t)(i + 1);
    is_int(d->build(KEY_OPS, &command, head), sizeof(want), "KEY_PROGRAM is 32 + 136 bytes");
    is_mem(head, want, sizeof(want), "KEY_PROGRAM, byte by byte");
    command = (struct command){.kind = COMMAND_KEY_EVICT, .slot = 7};
    memset(want, 0, 40);
    want[0] = 31;
    want[32] = 7;
    is_int(d->build(KEY_OPS, &command, head), 40, "KEY_EVICT is 32 + 8 bytes");
    is_mem(head, want, 40, "KEY_EVICT, byte by byte");
}

static void test_parse(void)
{
    uint8_t head[DIALECT_HEAD_MAX] = {1, [8] = 0x80, [16] = 200, 1, [24] = 7, [31] = 0x80};
    struct command command;
    struct ice_why why = {0};

    is_int(d->head_length(ICE, 1), 32, "OUT with ICE: 32 bytes before the data");
    is_int(d->head_length(PLAIN, 1), 16, "OUT without ICE: 16");
    is_int(d->head_length(KEY_OPS, 29), 168, "KEY_PROGRAM: header and body");
    is_int(d->head_length(ICE, 29), 32, "KEY_PROGRAM that is not negotiated: the header alone");
    is_int(d->head_length(ICE, 27), 0, "type 27 means nothing in ice2");
    is_int(d->parse(ICE, head, &command, &why), VIRTIO_BLK_S_OK, "a tagged OUT parses");
    ok(command.tagged && command.slot == 200 && command.sector == 0x80, "slot and sector");
    is_int((intmax_t)command.dun.limb[0], (intmax_t)0x8000000000000007, "all 64 bits of the DUN");
    head[17] = 0;
    is_int(d->parse(ICE, head, &command, &why), VIRTIO_BLK_S_OK, "activate 0 parses");
    ok(!command.tagged && !command.slot && !command.dun.limb[0],
       "with activate 0 slot and DUN are ignored");
    head[17] = 2;
    is_int(d->parse(ICE, head, &command, &why), VIRTIO_BLK_S_IOERR, "activate 2 is refused");
    is_str(why.text, "activate is 2, neither 0 nor 1", "and says so");
    head[0] = 4;
    is_int(d->parse(ICE, head, &command, &why), VIRTIO_BLK_S_OK, "FLUSH ignores the payload");
    ok(command.kind == COMMAND_FLUSH && !command.tagged, "FLUSH with activate 2 is a plain flush");
    head[0] = 28;
    is_int(d->parse(PLAIN, head, &command, &why), VIRTIO_BLK_S_UNSUPP,
           "GET_CRYPTO_CAPABILITIES without ICE");
    is_str(why.text,
           "GET_CRYPTO_CAPABILITIES needs feature bit 22, which the driver has not negotiated",
           "and names the bit");
}

static void test_config(void)
{
    struct function_config config = {.features = ICE | VIRTIO_FEATURE(VIRTIO_BLK_F_MQ),
                                     .capacity = 0x0102030405060708,
                                     .num_queues = 16,
                                     .blk_size = 512,
                                     .slot_offset = 20,
                                     .max_slots = 32,
                                     .capability_count = 88};
    uint8_t want[DIALECT_CONFIG_MAX] = {8, 7, 6, 5, 4, 3, 2, 1, [34] = 16, [96] = 20, 32, 88};
    uint8_t space[DIALECT_CONFIG_MAX];
    struct function_config back;

    is_int(d->build_config(&config, space), 100, "100 bytes with ICE");
    is_mem(space, want, sizeof(want), "fields stand only where their feature is offered");
    d->parse_config(config.features, space, 100, &back);
    ok(back.capacity == config.capacity && back.slot_offset == 20 && back.max_slots == 32 &&
           back.capability_count == 88 && back.num_queues == 16,
       "a driver reads back what was built");
    config.features = PLAIN;
    is_int(d->build_config(&config, space), 96, "96 bytes without ICE");
}

static void test_capability(void)
{
    struct capability capability = {ALG_ESSIV_AES_CBC, KEY_SIZE_192, 65536}, back;
    uint8_t entry[4];

    d->build_capability(&capability, entry);
    is_mem(entry, ((uint8_t[]){3, 7, 2, 0}), 4, "alg, exponent, key size, reserved");
    ok(d->parse_capability(entry, &back) && back.data_unit == 65536, "and back");
    entry[2] = 0;
    ok(!d->parse_capability(entry, &back), "key size 0 ends the list");
}

int main(void)
{
    test_build_transfer();
    test_build_keys();
    test_parse();
    test_config();
    test_capability();
    ok(dialect_by_name("ice2") == d && !dialect_by_name("ice3"), "dialects by name");
    return tap_done();
}
