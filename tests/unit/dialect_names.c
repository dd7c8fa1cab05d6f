/* SPDX-License-Identifier: BSD-2-Clause */
/* Dialects: what each cannot say, the capabilities that it can name, lists and names. */
#include "base/algorithm.h"
#include "base/bytes.h"
#include "base/json.h"
#include "dialect/channel.h"
#include "dialect/describe.h"
#include "dialect/dialect.h"
#include "tap.h"
#include "virtio/inline.h"
#include "virtio/virtio.h"
#include <errno.h>
#include <stdlib.h>

#define BIT(name)  VIRTIO_FEATURE(VIRTIO_BLK_F_##name)
#define PLAIN      VIRTIO_FEATURE(VIRTIO_F_VERSION_1)
#define ICE        (PLAIN | BIT(ICE) | BIT(LIFETIME) | BIT(DISCARD))
#define KEY_OPS    (ICE | BIT(ICE_KEY_OPS))
#define KEYED      (ICE | BIT(ICE_KEYS_INLINE))
#define ENCRYPTION (PLAIN | BIT(CTRL_VQ) | BIT(INLINE_ENCRYPTION))

static const struct dialect *const ice1 = &dialect_ice1, *const ice2 = &dialect_ice2,
                                   *const in_line = &dialect_inline;

/* ---- what cannot be said ---- */

static void cannot(const struct dialect *dialect, uint64_t features, struct command command,
                   const char *text)
{
    struct ice_why why = {0};

    is_int(dialect->can_send(features, &command, &why), -EOPNOTSUPP, "%s cannot say it",
           dialect->name);
    is_str(why.text, text, "  in words");
}

static void test_can_send(void)
{
    static uint8_t bytes[64];
    struct command key = {.kind = COMMAND_KEY_PROGRAM,
                          .key = {ICE_KEY_TYPE_RAW, ALG_AES_XTS, KEY_SIZE_256, 4096, 8, 64, bytes}};
    struct command read = {.kind = COMMAND_READ, .tagged = true, .slot = 256};

    ok(!ice1->can_send(KEY_OPS, &key, NULL) && !in_line->can_send(ENCRYPTION, &key, NULL),
       "a usual key can be sent");
    cannot(ice1, ICE, (struct command){.kind = COMMAND_GET_CAPABILITIES},
           "ice1 names its capability in the configuration space: no request does");
    cannot(ice2, ICE, read, "slot 256 is above 255, the last that the ICE drafts name");
    ok(!in_line->can_send(ENCRYPTION, &read, NULL), "slot 256 can be said in inline");
    read.slot = 255;
    ok(!ice2->can_send(ICE, &read, NULL), "slot 255 can in ice2");
    cannot(ice2, PLAIN, read,
           "VIRTIO_BLK_F_ICE is not negotiated: no request has a place for a slot");
    read.dun.limb[1] = 1;
    cannot(ice1, ICE, read, "the ICE drafts have 64 bits for a DUN");
    read.dun.limb[3] = UINT64_MAX;
    ok(!in_line->can_send(ENCRYPTION, &read, NULL), "a DUN of 256 bits can in inline");
    cannot(ice2, ICE, (struct command){.kind = COMMAND_UNKNOWN},
           "the ICE drafts have no such request");
    cannot(in_line, ENCRYPTION, (struct command){.kind = COMMAND_UNKNOWN},
           "the inline draft has no such request");
    key.kind = COMMAND_WRITE;
    key.tagged = key.keyed = true;
    ok(!ice1->can_send(KEYED, &key, NULL), "a key along with a write can be sent");
    cannot(ice2, KEY_OPS, key,
           "VIRTIO_BLK_F_ICE_KEYS_INLINE is not negotiated: no request takes a key along");
    cannot(in_line, ENCRYPTION, key, "the inline draft has no such request");
    key.kind = COMMAND_FLUSH;
    cannot(ice2, KEYED, key, "the ICE drafts have no such request");
    key.kind = COMMAND_KEY_PROGRAM;
    key.tagged = key.keyed = false;
    key.key.key_size = KEY_SIZE_128;
    cannot(in_line, ENCRYPTION, key, "the inline draft has a number for aes-256-xts alone");
    key.key.key_size = KEY_SIZE_256;
    key.key.dun_bytes = 0;
    cannot(in_line, ENCRYPTION, key, "the inline draft has DUNs of 1..32 bytes, not 0");
    ok(!ice2->can_send(KEY_OPS, &key, NULL), "ice2 does not say how long DUNs are");
    key.key.dun_bytes = 8;
    key.key.data_unit = 1000;
    cannot(ice2, KEY_OPS, key, "the ICE drafts have no number for data units of 1000 bytes");
    cannot(in_line, KEY_OPS, key, "the inline draft has no number for data units of 1000 bytes");
    key.key.data_unit = 4096;
    key.key.len = 129;
    cannot(ice2, KEY_OPS, key, "a key of 129 bytes is longer than its field of 128");
    cannot(in_line, KEY_OPS, key, "a key of 129 bytes is longer than its field of 128");
}

/* ---- capabilities ---- */

static void cannot_name(const struct dialect *dialect, const struct capability *list, unsigned n,
                        const char *text)
{
    struct ice_why why = {0};

    is_int(dialect->check_capabilities(list, n, &why), -EINVAL, "%s refuses it", dialect->name);
    is_str(why.text, text, "  in words");
}

static void test_capabilities(void)
{
    struct capability two[] = {{ALG_AES_XTS, KEY_SIZE_256, 512}, {ALG_AES_ECB, KEY_SIZE_128, 512}};
    struct capability list[CAPABILITIES_MAX], back[CAPABILITIES_MAX];
    uint8_t reply[CAPABILITY_REPLY_MAX] = {0};
    struct function_config config = {.features = ICE, .capability_count = 65535};

    is_int(ice1->default_capabilities(list), 8, "ice1 names aes-256-xts by default");
    is_int(ice2->default_capabilities(list), 88, "ice2 all");
    is_int(ice2->parse_capabilities(reply, ice2->build_capabilities(list, 88, reply), back), 88,
           "and they fit an answer");
    ok(!ice2->check_capabilities(list, 88, NULL), "and are ones that it can name");
    is_int(in_line->default_capabilities(list), 8, "inline aes-256-xts");
    ok(list[0].data_unit == 512 && list[7].data_unit == 65536 && list[7].alg == ALG_AES_XTS &&
           list[7].key_size == KEY_SIZE_256,
       "with all data unit sizes");
    for (unsigned i = 0; i < 3; i++)
        ok(!dialect_at(i)->check_capabilities(list, 8, NULL), "%s can name these",
           dialect_at(i)->name);
    cannot_name(ice1, two, 2, "ice1 can name one algorithm, not both aes-256-xts and aes-128-ecb");
    ok(!ice1->check_capabilities(two + 1, 1, NULL), "ice1 can name any one");
    cannot_name(in_line, two, 2, "inline can name aes-256-xts alone, not aes-128-ecb");
    two[0].data_unit = 131072;
    cannot_name(ice2, two, 2, "a data unit of 131072 bytes is no power of two from 512 to 65536");
    two[1].key_size = 4;
    cannot_name(ice1, two + 1, 1, "there is no algorithm 2 with key size 4");

    is_int((intmax_t)ice1->capability_room(&config), 0, "ice1 has no request for them");
    is_int((intmax_t)ice2->capability_room(&config), CAPABILITY_REPLY_MAX,
           "a number out of all reason makes no longer data area");
    config.capability_count = 3;
    is_int((intmax_t)ice2->capability_room(&config), 12, "ice2 has 4 bytes for each");
    config.capability_count = 0;
    is_int((intmax_t)ice2->capability_room(&config), 4, "and asks where there is none");
    is_int((intmax_t)in_line->capability_room(&config), 128, "inline has room for 32 modes");
}

/* Of answers that no icesim gives. */
static void test_parse_capabilities(void)
{
    const uint8_t entries[] = {0, 0, 3, 0, 0, 0, 4, 0, 9, 0, 3, 0, 0, 16, 3, 0, 0, 15, 3, 9, 0, 0};
    const uint8_t modes[] = {255, 0, 0, 0, 0, 16, 0, 128, 1, 0, 0, 0};
    struct capability list[CAPABILITIES_MAX];
    uint8_t space[DIALECT_CONFIG_MAX] = {0};

    is_int(ice2->parse_capabilities(entries, sizeof(entries), list), 2,
           "what is not known is left out, and so is half an entry");
    ok(list[0].data_unit == 512 && list[1].data_unit == 512u << 15, "what is, is not");
    is_int(in_line->parse_capabilities(modes, sizeof(modes), list), 2, "modes that are new too");
    ok(list[0].data_unit == 4096 && list[1].data_unit == UINT32_C(1) << 31,
       "bit i is a data unit of 2^i bytes");
    is_int(in_line->parse_capabilities(modes, 7, list), 0, "half a word is none");
    space[103] = 7; /* the algorithm */
    space[102] = 255;
    space[101] = 3;
    is_int(ice1->parse_capabilities(space, 104, list), 0, "an algorithm that is not known");
    space[103] = 0;
    is_int(ice1->parse_capabilities(space, 103, list), 0, "a space that is too short");
    is_int(ice1->parse_capabilities(space, 104, list), 8, "one that is not");
}

/* ---- lists and names ---- */

static void test_lists(void)
{
    struct channel channel = {.dialect = in_line, .control_queue = 16};
    uint8_t blob[KEY_BLOB_BYTES] = {[0] = 129};
    const uint8_t *key;
    unsigned tolerated = 0;

    ok(dialect_by_name("ice1") == ice1 && dialect_by_name("ice2") == ice2 &&
           dialect_by_name("inline") == in_line && !dialect_by_name("ice3"),
       "dialects by name");
    ok(dialect_at(0) == ice1 && dialect_at(2) == in_line && !dialect_at(3), "and by number");
    is_int(dialect_control_queue(PLAIN | BIT(MQ), 16), 16,
           "the control queue is behind the others");
    is_int(dialect_control_queue(PLAIN, 16), 1, "of which there is one without MQ");
    is_int(channel_queue(&channel, COMMAND_KEY_PROGRAM), 16, "key commands go to it");
    is_int(channel_queue(&channel, COMMAND_GET_CAPABILITIES), 16, "and the question for modes");
    is_int(channel_queue(&channel, COMMAND_WRITE), 0, "and nothing else");
    channel.dialect = ice2;
    is_int(channel_queue(&channel, COMMAND_KEY_PROGRAM), 0, "nor anything of ice2");
    is_int(key_blob_load(blob, &key), -EBADMSG, "a blob that says 129 bytes");
    is_str(command_name(COMMAND_KEY_PREPARE), "key_prepare", "commands have names");
    for (unsigned rule = RULE_NONE + 1; rule < RULE_COUNT; rule++)
        tolerated += rule_is_tolerated(rule) && rule_name(rule)[0] && rule_text(rule)[0];
    ok(tolerated > 0 && tolerated < RULE_COUNT - 1, "%u of %u rules are tolerated", tolerated,
       RULE_COUNT - 1);
    is_str(rule_name(RULE_SLOT_WINDOW), "slot-window", "rules have names");
    is_str(rule_text(RULE_SLOT_WINDOW), "a slot outside the function's window", "and texts");
    is_str(feature_name(ice1, 22), "VIRTIO_BLK_F_ICE", "bit 22 of ice1");
    is_str(feature_name(in_line, 22), "VIRTIO_BLK_F_CTRL_VQ", "bit 22 of inline");
    is_str(feature_name(in_line, 23), "VIRTIO_BLK_F_INLINE_ENCRYPTION", "bit 23 of inline");
    is_str(feature_name(ice2, 23), NULL, "bit 23 of ice2");
    is_str(feature_name(ice2, 56), "VIRTIO_BLK_F_ICE_KEY_OPS", "bit 56 of ice2");
    is_str(feature_name(ice2, 57), "VIRTIO_BLK_F_ICE_KEYS_INLINE", "bit 57");
    is_str(command_name(COMMAND_KEY_FORGET), "key_forget", "its command");
    is_str(feature_name(in_line, 56), NULL, "bit 56 of inline");
}

static char *describe(const struct description *description)
{
    struct json *json = json_new();

    describe_info(json, NULL, description);
    return json_finish(json);
}

static void test_describe(void)
{
    const struct capability list[] = {{ALG_AES_XTS, KEY_SIZE_256, 4096}};
    struct description description = {
        .function = "vm0",
        .dialect = in_line,
        .negotiated = ENCRYPTION,
        .capabilities = list,
        .capability_count = 1,
        .config = {.dun_bytes = 8, .key_types = ICE_KEY_TYPE_RAW | ICE_KEY_TYPE_WRAPPED}};
    char *text = describe(&description);

    ok(strstr(text, "\"capability_num\":1,\"dun_bytes\":8,\"key_types\":[\"raw\",\"wrapped\"]}"),
       "the DUN's width, key types, and how many capabilities are known");
    ok(strstr(text, "\"features\":[\"VIRTIO_BLK_F_CTRL_VQ\",\"VIRTIO_BLK_F_INLINE_ENCRYPTION\","
                    "\"VIRTIO_F_VERSION_1\"]"),
       "features by the dialect's names");
    free(text);
    description.dialect = ice2;
    description.config = (struct function_config){.capability_count = 88};
    text = describe(&description);
    ok(strstr(text, "\"capability_num\":88}"), "what the dialect does not say is not there");
    free(text);
}

int main(void)
{
    test_can_send();
    test_capabilities();
    test_parse_capabilities();
    test_lists();
    test_describe();
    return tap_done();
}
