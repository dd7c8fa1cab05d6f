/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every byte of every dialect as wire_bytes.py has it, which knows the drafts and none of our code:
 * what drivers build, what devices build, and both parsed back.
 */
#include "base/algorithm.h"
#include "base/bytes.h"
#include "dialect/dialect.h"
#include "tap.h"
#include "virtio/blk.h"
#include <stdlib.h>
#include <sys/wait.h>

#define LINE_MAX_BYTES 4096

/* ---- the lines ---- */

/* What follows " name=", "" when the line has none. */
static const char *value(const char *line, const char *name)
{
    char key[32];
    const char *at;

    snprintf(key, sizeof(key), " %s=", name);
    at = strstr(line, key);
    return at ? at + strlen(key) : "";
}

static uint64_t number(const char *line, const char *name)
{
    return strtoull(value(line, name), NULL, 10);
}

/* Up to the blank behind it. */
static const char *word(const char *line, const char *name, char buffer[static LINE_MAX_BYTES])
{
    const char *from = value(line, name);
    size_t len = strcspn(from, " \n");

    memcpy(buffer, from, len);
    buffer[len] = 0;
    return buffer;
}

/* `name` in hexadecimal digits; no more than `room` bytes. */
static size_t hex(const char *line, const char *name, uint8_t *bytes, size_t room)
{
    char buffer[LINE_MAX_BYTES];
    const char *digits = word(line, name, buffer);
    size_t n = 0;
    unsigned byte;

    for (; n < room && sscanf(digits + 2 * n, "%2x", &byte) == 1; n++)
        bytes[n] = (uint8_t)byte;
    return n;
}

static const struct dialect *dialect_of(const char *line)
{
    char buffer[LINE_MAX_BYTES];

    return dialect_by_name(word(line, "dialect", buffer));
}

static unsigned read_capabilities(const char *line, struct capability list[static CAPABILITIES_MAX])
{
    char buffer[LINE_MAX_BYTES], *rest = buffer, *entry;
    unsigned count = 0;

    word(line, "capabilities", buffer);
    while ((entry = strsep(&rest, "+"))) {
        char *name = strsep(&entry, ":");
        const struct algorithm *algorithm = algorithm_by_name(name);

        list[count++] = (struct capability){algorithm->alg, algorithm->key_size,
                                            (uint32_t)strtoul(entry, NULL, 10)};
    }
    return count;
}

static bool same_capabilities(const struct capability *a, const struct capability *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (a[i].alg != b[i].alg || a[i].key_size != b[i].key_size ||
            a[i].data_unit != b[i].data_unit)
            return false;
    return true;
}

/* ---- cases: each returns what is wrong, or NULL ---- */

static void read_command(const char *line, struct command *command, uint8_t key[static 128])
{
    char buffer[LINE_MAX_BYTES], limb[17] = "";
    const struct algorithm *algorithm = algorithm_by_name(word(line, "alg", buffer));

    *command = (struct command){
        .sector = number(line, "sector"),
        .tagged = number(line, "tagged"),
        .keyed = number(line, "keyed"),
        .slot = (uint32_t)number(line, "slot"),
        .key = {.type = (unsigned)number(line, "key_type"),
                .alg = algorithm ? algorithm->alg : 0,
                .key_size = algorithm ? algorithm->key_size : 0,
                .data_unit = (uint32_t)number(line, "data_unit"),
                .dun_bytes = (unsigned)number(line, "dun_bytes"),
                .len = (uint16_t)hex(line, "key", key, 128),
                .bytes = key},
    };
    word(line, "kind", buffer);
    while (command->kind < COMMAND_KINDS - 1 && strcmp(command_name(command->kind), buffer) != 0)
        command->kind++;
    word(line, "dun", buffer);
    for (unsigned i = 0; command->tagged && i < 4; i++) {
        memcpy(limb, buffer + 16 * (3 - i), 16);
        command->dun.limb[i] = strtoull(limb, NULL, 16);
    }
}

static bool same_command(const struct command *a, const struct command *b)
{
    const struct command_key *x = &a->key, *y = &b->key;

    return a->kind == b->kind && a->sector == b->sector && a->tagged == b->tagged &&
           a->keyed == b->keyed && a->slot == b->slot &&
           !memcmp(&a->dun, &b->dun, sizeof(a->dun)) && x->type == y->type && x->alg == y->alg &&
           x->key_size == y->key_size && x->data_unit == y->data_unit &&
           x->dun_bytes == y->dun_bytes && x->len == y->len &&
           (!x->len || !memcmp(x->bytes, y->bytes, x->len));
}

static unsigned seen[3][COMMAND_KINDS][2]; /* dialect, kind, on the control queue */

static const char *check_command(const char *line)
{
    const struct dialect *dialect = dialect_of(line);
    uint8_t key[128], want[DIALECT_HEAD_MAX], head[DIALECT_HEAD_MAX];
    struct command command, back;
    struct ice_why why = {0};
    struct wire wire = {.features = number(line, "features"), .trimmed = number(line, "trimmed")};
    size_t len = hex(line, "head", want, sizeof(want));

    read_command(line, &command, key);
    wire.control = dialect->on_control_queue(command.kind);
    wire.readable = len;
    for (unsigned i = 0; i < 3; i++)
        seen[i][command.kind][wire.control] += dialect == dialect_at(i);
    if (dialect->can_send(wire.features, &command, &why))
        return "can_send refuses it";
    memset(head, 0xa5, sizeof(head));
    if (!wire.trimmed &&
        (dialect->build(wire.features, &command, head) != len || memcmp(head, want, len) != 0))
        return "build";
    if (dialect->head_length(&wire, load_le32(want)) != len)
        return "head_length";
    if (dialect->parse(&wire, want, &back, &why) || back.broken || why.err)
        return "parse refuses it";
    return same_command(&command, &back) && back.type == load_le32(want) ? NULL : "parse";
}

static const char *check_config(const char *line)
{
    const struct dialect *dialect = dialect_of(line);
    struct capability list[CAPABILITIES_MAX], listed[CAPABILITIES_MAX];
    uint8_t want[DIALECT_CONFIG_MAX] = {0}, space[DIALECT_CONFIG_MAX];
    struct function_config back;
    struct function_config config = {
        .features = number(line, "features"),
        .capacity = number(line, "capacity"),
        .size_max = (uint32_t)number(line, "size_max"),
        .seg_max = (uint32_t)number(line, "seg_max"),
        .blk_size = (uint32_t)number(line, "blk_size"),
        .num_queues = (uint16_t)number(line, "num_queues"),
        .max_segment_sectors = (uint32_t)number(line, "sectors"),
        .max_segments = (uint32_t)number(line, "segments"),
        .writeback = (uint8_t)number(line, "writeback"),
        .slot_offset = (unsigned)number(line, "first"),
        .max_slots = (unsigned)number(line, "slots"),
        .dun_bytes = (unsigned)number(line, "dun_bytes"),
        .key_types = (unsigned)number(line, "key_types"),
        .capability_count = read_capabilities(line, list),
        .capabilities = list,
    };
    size_t len = hex(line, "space", want, sizeof(want));
    bool crypto = len > 96, inlined = crypto && dialect == &dialect_inline;
    unsigned count = crypto && !inlined ? config.capability_count : 0;

    memset(space, 0xa5, sizeof(space));
    if (dialect->build_config(&config, space) != len || memcmp(space, want, sizeof(want)) != 0)
        return "build_config";
    dialect->parse_config(config.features, want, len, &back);
    if (back.capacity != config.capacity || back.max_slots != (crypto ? config.max_slots : 0) ||
        back.slot_offset != (crypto ? config.slot_offset : 0) || back.capability_count != count ||
        back.dun_bytes != (inlined ? config.dun_bytes : 0) ||
        back.key_types != (inlined ? config.key_types : 0))
        return "parse_config";
    if (dialect->build_capabilities)
        return NULL;
    return dialect->parse_capabilities(want, len, listed) == count &&
                   same_capabilities(list, listed, count)
               ? NULL
               : "parse_capabilities";
}

static const char *check_capabilities(const char *line)
{
    const struct dialect *dialect = dialect_of(line);
    struct capability list[CAPABILITIES_MAX], back[CAPABILITIES_MAX];
    uint8_t want[CAPABILITY_REPLY_MAX] = {0}, reply[CAPABILITY_REPLY_MAX];
    unsigned count = read_capabilities(line, list);
    size_t len = hex(line, "reply", want, sizeof(want));

    memset(reply, 0xa5, sizeof(reply));
    if (dialect->build_capabilities(list, count, reply) != len || memcmp(reply, want, len) != 0)
        return "build_capabilities";
    /* An answer is padded with zeros. */
    if (dialect->parse_capabilities(want, sizeof(want), back) != count ||
        !same_capabilities(list, back, count))
        return "parse_capabilities";
    return NULL;
}

#define AT(type, field) (bytes + offsetof(struct type, field))

static const char *check_segment(const char *line)
{
    uint8_t want[64], bytes[sizeof(struct virtio_blk_segment)];

    store_le64(AT(virtio_blk_segment, sector), number(line, "sector"));
    store_le32(AT(virtio_blk_segment, num_sectors), (uint32_t)number(line, "count"));
    store_le32(AT(virtio_blk_segment, flags), (uint32_t)number(line, "flags"));
    return hex(line, "bytes", want, sizeof(want)) == sizeof(bytes) &&
                   !memcmp(bytes, want, sizeof(bytes))
               ? NULL
               : "segment";
}

static const char *check_lifetime(const char *line)
{
    uint8_t want[64], bytes[sizeof(struct virtio_blk_lifetime)];

    store_le16(AT(virtio_blk_lifetime, pre_eol_info), (uint16_t)number(line, "eol"));
    store_le16(AT(virtio_blk_lifetime, device_lifetime_est_typ_a), (uint16_t)number(line, "a"));
    store_le16(AT(virtio_blk_lifetime, device_lifetime_est_typ_b), (uint16_t)number(line, "b"));
    return hex(line, "bytes", want, sizeof(want)) == sizeof(bytes) &&
                   !memcmp(bytes, want, sizeof(bytes))
               ? NULL
               : "lifetime";
}

static const char *check_blob(const char *line)
{
    uint8_t key[128], want[KEY_BLOB_BYTES], blob[KEY_BLOB_BYTES];
    const uint8_t *back;
    size_t len = hex(line, "key", key, sizeof(key));

    memset(blob, 0xa5, sizeof(blob));
    key_blob_store(key, len, blob);
    if (hex(line, "bytes", want, sizeof(want)) != sizeof(want) ||
        memcmp(blob, want, sizeof(want)) != 0)
        return "key_blob_store";
    return key_blob_load(want, &back) == (int)len && !memcmp(back, key, len) ? NULL
                                                                             : "key_blob_load";
}

/* ---- all of them ---- */

static struct word {
    const char *name;
    const char *(*check)(const char *line);
    unsigned cases, failed;
} words[] = {
    {"command", check_command, 0, 0},           {"config", check_config, 0, 0},
    {"capabilities", check_capabilities, 0, 0}, {"segment", check_segment, 0, 0},
    {"lifetime", check_lifetime, 0, 0},         {"blob", check_blob, 0, 0},
};

static void check_line(const char *line)
{
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        size_t len = strlen(words[i].name);

        if (strncmp(line, words[i].name, len) != 0 || line[len] != ' ')
            continue;
        const char *wrong = words[i].check(line);
        words[i].cases++;
        if (wrong && words[i].failed++ < 10)
            note("%s: %s", wrong, line);
        return;
    }
    ok(false, "a case that is not known: %s", line);
}

/* Every kind that a dialect has, where it belongs, and none that it lacks. */
static void check_kinds(void)
{
    for (unsigned i = 0; i < 3; i++)
        for (unsigned kind = COMMAND_READ; kind < COMMAND_KINDS; kind++) {
            const struct command command = {.kind = kind,
                                            .key = {.alg = ALG_AES_XTS,
                                                    .key_size = KEY_SIZE_256,
                                                    .data_unit = 512,
                                                    .dun_bytes = 8}};
            const struct dialect *dialect = dialect_at(i);
            bool has = !dialect->can_send(0, &command, NULL);

            ok(!seen[i][kind][!dialect->on_control_queue(kind)] &&
                   has == !!seen[i][kind][dialect->on_control_queue(kind)],
               "%s: %u cases of %s", dialect->name, seen[i][kind][0] + seen[i][kind][1],
               command_name(kind));
        }
}

int main(void)
{
    const char *top = getenv("top_srcdir");
    char line[LINE_MAX_BYTES], script[512];
    FILE *lines;
    int status;

    snprintf(script, sizeof(script), "exec python3 -B '%s/tests/unit/wire_bytes.py'",
             top ? top : ".");
    lines = popen(script, "r");
    if (!lines)
        return 99;
    while (fgets(line, sizeof(line), lines))
        check_line(line);
    status = pclose(lines);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        skip("python3 is not installed");
        return tap_done();
    }
    if (!ok(status == 0, "wire_bytes.py ends well (it is in the source, at top_srcdir)"))
        return tap_done();
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        ok(words[i].cases && !words[i].failed, "%u cases of %s are as wire_bytes.py has them",
           words[i].cases, words[i].name);
    check_kinds();
    return tap_done();
}
