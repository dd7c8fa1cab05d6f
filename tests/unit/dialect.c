/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dialects, device side: how long heads are, what is refused or tolerated and by which rule.
 * Bytes are compared by dialect_bytes.
 */
#include "dialect/dialect.h"
#include "base/algorithm.h"
#include "base/bytes.h"
#include "tap.h"
#include "virtio/inline.h"
#include "virtio/virtio.h"
#include <errno.h>

#define BIT(name)  VIRTIO_FEATURE(VIRTIO_BLK_F_##name)
#define PLAIN      VIRTIO_FEATURE(VIRTIO_F_VERSION_1)
#define ICE        (PLAIN | BIT(ICE) | BIT(LIFETIME) | BIT(DISCARD))
#define KEY_OPS    (ICE | BIT(ICE_KEY_OPS))
#define KEYED      (ICE | BIT(ICE_KEYS_INLINE))
#define ENCRYPTION (PLAIN | BIT(CTRL_VQ) | BIT(INLINE_ENCRYPTION))

static const struct dialect *const ice1 = &dialect_ice1, *const ice2 = &dialect_ice2,
                                   *const in_line = &dialect_inline;

/* ---- heads ---- */

static void test_head_length(void)
{
    static const struct {
        const struct dialect *const *dialect;
        struct wire wire;
        uint32_t type;
        size_t length;
        const char *what;
    } cases[] = {
        {&ice2, {.features = ICE}, 1, 32, "OUT with ICE"},
        {&ice2, {.features = PLAIN}, 1, 16, "OUT without ICE"},
        {&ice2, {.features = ICE}, 11, 32, "DISCARD with ICE"},
        {&ice2, {.features = KEY_OPS}, 29, 168, "KEY_PROGRAM: header and body"},
        {&ice2, {.features = ICE}, 29, 32, "KEY_PROGRAM not negotiated: the header alone"},
        {&ice2, {.features = KEY_OPS}, 39, 164, "KEY_PREPARE"},
        {&ice2, {.features = KEY_OPS}, 36, 32, "KEY_GENERATE has no body"},
        {&ice2, {.features = ICE}, 27, 0, "27 means nothing in ice2"},
        {&ice2, {.features = ICE}, 28, 32, "28 asks for capabilities in ice2"},
        {&ice1, {.features = ICE}, 27, 0, "27 means nothing in ice1"},
        {&ice1, {.features = ICE}, 28, 0, "nor does 28"},
        {&ice1, {.features = KEY_OPS}, 31, 40, "KEY_EVICT in ice1"},
        {&ice2, {.features = KEYED}, 41, 168, "KEYED_OUT: header and body"},
        {&ice2, {.features = KEYED, .trimmed = true, .readable = 168}, 43, 168, "KEY_FORGET too"},
        {&ice1, {.features = KEY_OPS}, 42, 32, "KEYED_IN that is not negotiated: no body"},
        {&in_line, {.features = ENCRYPTION}, 41, 0, "the inline draft has no such type"},
        {&ice2, {.features = ICE, .trimmed = true}, 0, 32, "trimmed IN"},
        {&ice2, {.features = ICE, .trimmed = true}, 4, 32, "trimmed FLUSH"},
        {&ice2, {.features = ICE, .trimmed = true, .readable = 48}, 11, 16, "trimmed DISCARD"},
        {&ice2, {.features = ICE, .trimmed = true, .readable = 16}, 8, 16, "trimmed GET_ID"},
        {&ice2, {.features = ICE, .trimmed = true, .readable = 32}, 8, 32, "GET_ID not trimmed"},
        {&ice2, {.features = ICE, .trimmed = true, .readable = 31}, 28, 16, "31 bytes: trimmed"},
        {&ice2, {.features = KEY_OPS, .trimmed = true, .readable = 40}, 31, 40, "KEY_EVICT is not"},
        {&ice2, {.features = PLAIN, .trimmed = true, .readable = 32}, 8, 16, "no ICE, no payload"},
        {&in_line, {.features = ENCRYPTION}, 1, 16, "inline OUT"},
        {&in_line, {.features = ENCRYPTION, .trimmed = true}, 28, 56, "CRYPTO_IN"},
        {&in_line, {.features = PLAIN}, 27, 16, "CRYPTO_OUT not negotiated"},
        {&in_line, {.features = ENCRYPTION}, 29, 0, "a command on a request queue"},
        {&in_line, {.features = ENCRYPTION, .control = true}, 29, 16, "GET_CRYPTO_MODES"},
        {&in_line, {.features = ENCRYPTION, .control = true}, 30, 168, "KEYSLOT_PROGRAM"},
        {&in_line, {.features = ENCRYPTION, .control = true}, 31, 20, "KEYSLOT_EVICT"},
        {&in_line, {.features = ENCRYPTION, .control = true}, 35, 148, "PREPARE_KEY"},
        {&in_line, {.features = ENCRYPTION, .control = true}, 36, 0, "36 means nothing there"},
        {&in_line, {.features = ENCRYPTION, .control = true}, 0, 0, "IN on the control queue"},
        {&in_line, {.features = ENCRYPTION, .control = true}, 28, 0, "CRYPTO_IN there"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        is_int((intmax_t)(*cases[i].dialect)->head_length(&cases[i].wire, cases[i].type),
               (intmax_t)cases[i].length, "%s: %s", (*cases[i].dialect)->name, cases[i].what);
}

/* ---- refusals and rules ---- */

/* A head of zeros but for one 32-bit word and three bytes, and what becomes of it. */
struct refusal {
    const struct dialect *const *dialect;
    uint64_t features;
    bool control;
    uint32_t type;
    struct {
        uint16_t at;
        uint8_t value;
    } bytes[3];
    uint8_t status;
    enum rule rule;
    int err;
    const char *text;
};

#define OK     VIRTIO_BLK_S_OK
#define IOERR  VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP

static const struct refusal refusals[] = {
    {&ice2,
     PLAIN,
     false,
     28,
     {{0}},
     UNSUPP,
     RULE_TYPE_UNNEGOTIATED,
     EOPNOTSUPP,
     "GET_CRYPTO_CAPABILITIES needs feature bit 22, which the driver has not negotiated"},
    {&ice1,
     ICE,
     false,
     29,
     {{0}},
     UNSUPP,
     RULE_TYPE_UNNEGOTIATED,
     EOPNOTSUPP,
     "KEY_PROGRAM needs feature bit 56, which the driver has not negotiated"},
    {&ice1,
     PLAIN,
     false,
     11,
     {{0}},
     UNSUPP,
     RULE_TYPE_UNNEGOTIATED,
     EOPNOTSUPP,
     "DISCARD needs feature bit 13, which the driver has not negotiated"},
    {&in_line,
     PLAIN | BIT(CTRL_VQ),
     false,
     27,
     {{0}},
     UNSUPP,
     RULE_TYPE_UNNEGOTIATED,
     EOPNOTSUPP,
     "CRYPTO_OUT needs feature bit 23, which the driver has not negotiated"},
    {&in_line,
     PLAIN | BIT(CTRL_VQ),
     true,
     33,
     {{0}},
     UNSUPP,
     RULE_TYPE_UNNEGOTIATED,
     EOPNOTSUPP,
     "GENERATE_KEY needs feature bit 23, which the driver has not negotiated"},
    /* the header */
    {&ice2, ICE, false, 0, {{4, 9}, {8, 7}}, OK, RULE_NONE, 0, NULL},
    {&ice2, ICE, false, 4, {{8, 1}}, OK, RULE_SECTOR_UNUSED, 0, NULL},
    {&ice1, ICE, false, 11, {{15, 1}}, OK, RULE_SECTOR_UNUSED, 0, NULL},
    {&in_line, ENCRYPTION, false, 28, {{8, 1}}, OK, RULE_NONE, 0, NULL},
    {&in_line, ENCRYPTION, true, 29, {{4, 1}, {8, 1}}, OK, RULE_SECTOR_UNUSED, 0, NULL},
    /* the payload */
    {&ice2,
     ICE,
     false,
     1,
     {{17, 2}},
     IOERR,
     RULE_ACTIVATE_VALUE,
     EINVAL,
     "activate is 2, neither 0 nor 1"},
    {&ice1,
     ICE,
     false,
     0,
     {{17, 255}},
     IOERR,
     RULE_ACTIVATE_VALUE,
     EINVAL,
     "activate is 255, neither 0 nor 1"},
    {&ice2,
     ICE,
     false,
     1,
     {{17, 2}, {18, 1}},
     IOERR,
     RULE_ACTIVATE_VALUE,
     EINVAL,
     "activate is 2, neither 0 nor 1"},
    {&ice2, ICE, false, 1, {{16, 3}}, OK, RULE_PAYLOAD_UNUSED, 0, NULL},
    {&ice2, ICE, false, 0, {{31, 1}}, OK, RULE_PAYLOAD_UNUSED, 0, NULL},
    {&ice2, ICE, false, 4, {{24, 1}}, OK, RULE_PAYLOAD_UNUSED, 0, NULL},
    {&ice2, ICE, false, 4, {{16, 3}, {17, 1}, {24, 1}}, OK, RULE_NONE, 0, NULL},
    {&ice2, ICE, false, 1, {{17, 1}, {18, 1}}, OK, RULE_RESERVED, 0, NULL},
    {&ice2, ICE, false, 1, {{23, 1}}, OK, RULE_RESERVED, 0, NULL},
    {&ice2, ICE, false, 11, {{17, 1}, {16, 3}}, OK, RULE_ACTIVATE_TYPE, 0, NULL},
    {&ice2, ICE, false, 8, {{17, 7}}, OK, RULE_ACTIVATE_TYPE, 0, NULL},
    {&ice2, ICE, false, 8, {{8, 1}, {17, 1}}, OK, RULE_SECTOR_UNUSED, 0, NULL},
    {&ice2, KEY_OPS, false, 31, {{17, 1}}, OK, RULE_ACTIVATE_TYPE, 0, NULL},
    {&in_line, ENCRYPTION, false, 27, {{20, 1}}, OK, RULE_RESERVED, 0, NULL},
    /* keys that come along */
    {&ice2, KEYED, false, 41, {{17, 1}, {34, 64}}, OK, RULE_NONE, 0, NULL},
    {&ice1, KEYED, false, 42, {{17, 1}, {18, 1}}, OK, RULE_RESERVED, 0, NULL},
    {&ice2, KEYED, false, 41, {{17, 1}, {39, 1}}, OK, RULE_RESERVED, 0, NULL},
    {&ice2, KEYED, false, 43, {{34, 64}}, OK, RULE_NONE, 0, NULL},
    {&ice2, KEYED, false, 43, {{17, 1}}, OK, RULE_ACTIVATE_TYPE, 0, NULL},
    {&ice2,
     KEYED,
     false,
     41,
     {{34, 64}},
     IOERR,
     RULE_ACTIVATE_VALUE,
     EINVAL,
     "activate is 0, not 1, though a key follows"},
    {&ice2,
     KEYED,
     false,
     42,
     {{17, 1}, {16, 3}},
     IOERR,
     RULE_SLOT_WINDOW,
     EINVAL,
     "slot 3 in a request with a key, which has no slot"},
    {&ice2,
     KEYED,
     false,
     41,
     {{17, 1}, {32, 4}},
     IOERR,
     RULE_SLOT_WINDOW,
     EINVAL,
     "slot 4 in a request with a key, which has no slot"},
    {&ice2,
     KEYED,
     false,
     43,
     {{32, 5}},
     IOERR,
     RULE_SLOT_WINDOW,
     EINVAL,
     "slot 5 in a request with a key, which has no slot"},
    {&ice2,
     KEYED,
     false,
     42,
     {{17, 1}, {34, 129}},
     IOERR,
     RULE_KEY_INVALID,
     EINVAL,
     "a key of 129 bytes is longer than its field of 128"},
    {&ice2,
     KEY_OPS,
     false,
     41,
     {{17, 1}},
     UNSUPP,
     RULE_TYPE_UNNEGOTIATED,
     EOPNOTSUPP,
     "KEYED_OUT needs feature bit 57, which the driver has not negotiated"},
    /* key bodies */
    {&ice2,
     KEY_OPS,
     false,
     29,
     {{34, 129}},
     IOERR,
     RULE_KEY_INVALID,
     EINVAL,
     "a key of 129 bytes is longer than its field of 128"},
    {&ice2, KEY_OPS, false, 29, {{34, 128}, {167, 1}}, OK, RULE_NONE, 0, NULL},
    {&ice2, KEY_OPS, false, 29, {{34, 127}, {167, 1}}, OK, RULE_RESERVED, 0, NULL},
    {&ice2, KEY_OPS, false, 29, {{39, 1}}, OK, RULE_RESERVED, 0, NULL},
    {&ice2, KEY_OPS, false, 31, {{39, 1}}, OK, RULE_RESERVED, 0, NULL},
    {&ice2,
     KEY_OPS,
     false,
     33,
     {{35, 1}},
     IOERR,
     RULE_KEY_BLOB,
     EBADMSG,
     "a key of 16777216 bytes is longer than its field of 128"},
    {&ice1,
     KEY_OPS,
     false,
     39,
     {{32, 129}},
     IOERR,
     RULE_KEY_BLOB,
     EBADMSG,
     "a key of 129 bytes is longer than its field of 128"},
    {&ice1,
     KEY_OPS,
     false,
     37,
     {{32, 129}},
     IOERR,
     RULE_KEY_INVALID,
     EINVAL,
     "a key of 129 bytes is longer than its field of 128"},
    {&ice1, KEY_OPS, false, 37, {{32, 32}, {68, 1}}, OK, RULE_RESERVED, 0, NULL},
    {&ice1, KEY_OPS, false, 37, {{32, 32}, {67, 1}}, OK, RULE_NONE, 0, NULL},
    {&in_line,
     ENCRYPTION,
     true,
     30,
     {{148, 129}, {164, 8}},
     IOERR,
     RULE_KEY_INVALID,
     EINVAL,
     "a key of 129 bytes is longer than its field of 128"},
    {&in_line, ENCRYPTION, true, 30, {{148, 64}, {84, 1}, {164, 8}}, OK, RULE_RESERVED, 0, NULL},
    {&in_line,
     ENCRYPTION,
     true,
     30,
     {{164, 0}},
     IOERR,
     RULE_KEY_INVALID,
     EINVAL,
     "dun_bytes is 0, outside 1..32"},
    {&in_line,
     ENCRYPTION,
     true,
     30,
     {{164, 33}},
     IOERR,
     RULE_KEY_INVALID,
     EINVAL,
     "dun_bytes is 33, outside 1..32"},
    {&in_line,
     ENCRYPTION,
     true,
     35,
     {{16, 129}},
     IOERR,
     RULE_KEY_BLOB,
     EBADMSG,
     "a key of 129 bytes is longer than its field of 128"},
};

static void test_refusals(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        const struct refusal *r = &refusals[i];
        const struct dialect *dialect = *r->dialect;
        const struct wire wire = {.features = r->features, .control = r->control};
        uint8_t head[DIALECT_HEAD_MAX] = {(uint8_t)r->type};
        struct command command;
        struct ice_why why = {0};

        for (size_t k = 0; k < ARRAY_SIZE(r->bytes); k++)
            if (r->bytes[k].at)
                head[r->bytes[k].at] = r->bytes[k].value;
        is_int(dialect->parse(&wire, head, &command, &why), r->status, "%s, type %u, case %zu",
               dialect->name, r->type, i);
        is_str(command.broken ? rule_name(command.broken) : "", r->rule ? rule_name(r->rule) : "",
               "  the rule");
        is_int(why.err, r->err, "  errno");
        is_str(why.err ? why.text : NULL, r->text, "  in words");
    }
}

static void test_parse(void)
{
    uint8_t head[DIALECT_HEAD_MAX] = {1, [8] = 0x80, [16] = 200, 1, [24] = 7, [31] = 0x80};
    struct wire wire = {.features = ICE, .trimmed = true, .readable = 64};
    struct command command;

    is_int(ice2->parse(&wire, head, &command, NULL), OK, "a tagged OUT parses");
    ok(command.tagged && command.slot == 200 && command.sector == 0x80, "slot and sector");
    is_int((intmax_t)command.dun.limb[0], (intmax_t)0x8000000000000007, "all 64 bits of the DUN");
    head[17] = 0;
    is_int(ice2->parse(&wire, head, &command, NULL), OK, "activate 0 parses");
    ok(!command.tagged && !command.slot && !command.dun.limb[0],
       "with activate 0 slot and DUN are ignored");
    head[0] = 4;
    head[17] = 2;
    is_int(ice2->parse(&wire, head, &command, NULL), OK, "FLUSH ignores the payload");
    ok(command.kind == COMMAND_FLUSH && !command.tagged, "FLUSH with activate 2 is a plain flush");
    head[0] = 11;
    head[8] = 0;
    is_int(ice2->parse(&wire, head, &command, NULL), OK, "a trimmed DISCARD parses");
    ok(!command.broken, "and its ranges are not taken for a payload");
    memset(head, 0, sizeof(head));
    head[0] = 30;
    head[152] = 2;
    head[164] = 8;
    wire = (struct wire){.features = ENCRYPTION, .control = true};
    is_int(in_line->parse(&wire, head, &command, NULL), OK, "a mode that is not known parses");
    ok(!algorithm_by_id(command.key.alg, command.key.key_size), "as an algorithm that is none");
    ok(command.key.data_unit == 1, "unit bits 0 is one byte");
    head[160] = 32;
    in_line->parse(&wire, head, &command, NULL);
    ok(command.key.data_unit == 0, "unit bits 32 is no size");
}

/* What icesim adds to a draft is unknown to a strict function, and there to others. */
static void test_strict_types(void)
{
    static const uint32_t added[] = {29, 31, 33, 36, 37, 39, 41, 42, 43}, drafted[] = {0, 4, 8, 28};
    const struct wire strict = {.features = ICE, .strict = true}, other = {.features = ICE};

    for (size_t i = 0; i < ARRAY_SIZE(added); i++)
        ok(!ice2->head_length(&strict, added[i]) && ice2->head_length(&other, added[i]),
           "type %u is icesim's own", added[i]);
    for (size_t i = 0; i < ARRAY_SIZE(drafted); i++)
        ok(ice2->head_length(&strict, drafted[i]) == 32, "type %u is the draft's", drafted[i]);
    ok(in_line->head_length(&(struct wire){.features = ENCRYPTION, .control = true, .strict = true},
                            30),
       "key commands of the inline draft are its own");
}

/* ---- anything at all ---- */

static uint64_t random_state = 2026;

static uint64_t some(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Random bytes, mostly zeros, of a type that somebody knows. */
static void some_head(uint8_t head[static DIALECT_HEAD_MAX])
{
    memset(head, 0, DIALECT_HEAD_MAX);
    for (unsigned n = some() % 64; n; n--)
        head[some() % DIALECT_HEAD_MAX] = (uint8_t)(some() >> 8);
    store_le32(head, some() % 44);
}

/* The status, the rule and the reason agree, and what parses is built to the same again. */
static bool is_sound(const struct dialect *dialect, const struct wire *wire, const uint8_t *head)
{
    struct command command, again;
    struct ice_why why = {0};
    uint8_t built[DIALECT_HEAD_MAX];
    uint8_t status = dialect->parse(wire, head, &command, &why);

    if (status != OK)
        return why.err > 0 && why.text[0] && command.broken && !rule_is_tolerated(command.broken);
    if (why.err || (command.broken && !rule_is_tolerated(command.broken)))
        return false;
    if (dialect->can_send(wire->features, &command, NULL))
        return true;
    dialect->build(wire->features, &command, built);
    struct wire plain = {.features = wire->features, .control = wire->control};
    return !dialect->parse(&plain, built, &again, NULL) && again.type == command.type &&
           again.sector == command.sector && again.tagged == command.tagged &&
           again.slot == command.slot && again.key.len == command.key.len &&
           again.key.data_unit == command.key.data_unit && again.key.type == command.key.type &&
           !memcmp(&again.dun, &command.dun, sizeof(again.dun)) && !again.broken;
}

static void test_random(void)
{
    uint8_t head[DIALECT_HEAD_MAX];

    for (unsigned i = 0; i < 3; i++) {
        const struct dialect *dialect = dialect_at(i);
        unsigned known = 0, sound = 0;

        for (unsigned n = 0; n < 100000; n++) {
            struct wire wire = {.features = some() % 4 ? UINT64_MAX : some(),
                                .control = dialect->control_feature && some() % 2,
                                .trimmed = some() % 2,
                                .readable = some() % 64};
            some_head(head);
            if (!dialect->head_length(&wire, load_le32(head)))
                continue;
            known++;
            sound += is_sound(dialect, &wire, head);
        }
        ok(known > 10000 && sound == known, "%s: %u of %u random heads parse soundly",
           dialect->name, sound, known);
    }
}

int main(void)
{
    test_head_length();
    test_refusals();
    test_parse();
    test_strict_types();
    test_random();
    return tap_done();
}
