/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A table of keys, each with a function that takes its value. Whatever depends on a second key is
 * looked at when all are read, so their order says nothing.
 */
#include "function_spec.h"
#include "base/bytes.h"
#include "base/parse.h"
#include "base/units.h"
#include "virtio/ice.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define UNIT_KINDS 8u /* data units of 512 << 0..7 bytes */

struct parse {
    struct function_spec *spec;
    const char *key, *value; /* what is being read; the value is the parser's own copy */
    unsigned seen;           /* a bit for each of `keys` */
    unsigned preset_dun_bits;
    struct ice_why *why;
};

/* KEY=VALUE and what is wrong with it. */
__attribute__((format(printf, 2, 3))) static int refuse(const struct parse *p, const char *format,
                                                        ...)
{
    char text[ICE_WHY_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return why_set(p->why, EINVAL, "%s=%.48s %s", p->key, p->value, text);
}

/* ---- values ---- */

/* The index of the value among `names`, or -EINVAL with all of them in words. */
static int choose(struct parse *p, const char *const *names, unsigned n)
{
    char list[96] = "";
    for (unsigned i = 0; i < n; i++) {
        if (!strcmp(p->value, names[i]))
            return (int)i;
        strcat(strcat(list, i ? ", " : ""), names[i]);
    }
    return refuse(p, "is none of %s", list);
}

#define CHOOSE(p, ...)                                                                             \
    ({                                                                                             \
        static const char *const names_[] = {__VA_ARGS__};                                         \
        choose((p), names_, ARRAY_SIZE(names_));                                                   \
    })

static int take_range(struct parse *p, uint64_t end, uint64_t *first, uint64_t *count)
{
    int err = parse_range(p->value, end, first, count, NULL);
    if (err == -ERANGE)
        return refuse(p, "goes past %llu", (unsigned long long)end);
    return err ? refuse(p, "is not FIRST+COUNT") : 0;
}

static int take_slots(struct parse *p)
{
    uint64_t first, count;
    int err = take_range(p, SLOTS_MAX, &first, &count);
    if (err)
        return err;
    p->spec->has_slots = true;
    p->spec->first_slot = (unsigned)first;
    p->spec->slots = (unsigned)count;
    return 0;
}

static int take_sectors(struct parse *p)
{
    p->spec->has_sectors = true;
    int err = take_range(p, UINT64_MAX / SECTOR_SIZE, &p->spec->first_sector, &p->spec->sectors);
    if (!err && !p->spec->sectors)
        err = refuse(p, "has no sector");
    return err;
}

static int take_image(struct parse *p)
{
    size_t len = strlen(p->value);
    if (len > FUNCTION_IMAGE_MAX)
        return why_set(p->why, EINVAL, "image= has %zu bytes; %u is the most", len,
                       FUNCTION_IMAGE_MAX);
    memcpy(p->spec->image, p->value, len + 1);
    return 0;
}

static int take_size(struct parse *p)
{
    if (parse_size(p->value, &p->spec->image_size, NULL))
        return refuse(p, "is not a size (bytes, or with K, M, G or T)");
    if (!p->spec->image_size || p->spec->image_size % SECTOR_SIZE)
        return refuse(p, "is not a multiple of %u above 0", SECTOR_SIZE);
    return 0;
}

static int take_dialect(struct parse *p)
{
    p->spec->dialect = dialect_by_name(p->value);
    return p->spec->dialect ? 0 : CHOOSE(p, "ice1", "ice2", "inline");
}

static int take_strict(struct parse *p)
{
    p->spec->strict = true;
    return 0;
}

static int take_addr(struct parse *p)
{
    int n = CHOOSE(p, "physical", "virtual");
    if (n >= 0)
        p->spec->addressing = n ? SLOTS_VIRTUAL : SLOTS_PHYSICAL;
    return n;
}

static int take_dun_bits(struct parse *p)
{
    int n = CHOOSE(p, "32", "64", "128", "256");
    if (n >= 0)
        p->spec->dun_bits = 32u << n;
    return n;
}

static int take_on_overflow(struct parse *p)
{
    static const enum overflow_policy policies[] = {OVERFLOW_REJECT, OVERFLOW_TRUNCATE,
                                                    OVERFLOW_WRAP};
    int n = CHOOSE(p, "reject", "truncate", "wrap");
    if (n >= 0)
        p->spec->on_overflow = policies[n];
    return n;
}

static int take_on_reset(struct parse *p)
{
    int n = CHOOSE(p, "clear", "keep");
    p->spec->keep_on_reset = n == 1;
    return n;
}

static int take_block_size(struct parse *p)
{
    int n = CHOOSE(p, "512", "4096");
    p->spec->block_size = n == 1 ? 4096 : 512;
    return n;
}

static int take_key_types(struct parse *p)
{
    static const unsigned types[] = {ICE_KEY_TYPE_RAW, ICE_KEY_TYPE_WRAPPED,
                                     ICE_KEY_TYPE_RAW | ICE_KEY_TYPE_WRAPPED};
    int n = CHOOSE(p, "raw", "wrapped", "raw+wrapped");
    if (n >= 0)
        p->spec->key_types = types[n];
    return n;
}

static int take_keys(struct parse *p)
{
    int n = CHOOSE(p, "slots", "inline");
    p->spec->keys_inline = n == 1;
    return n;
}

static int take_integrity(struct parse *p)
{
    p->spec->integrity = true;
    return 0;
}

static int take_header(struct parse *p)
{
    int n = CHOOSE(p, "trimmed");
    p->spec->trimmed_headers = n == 0;
    return n;
}

static int take_ro(struct parse *p)
{
    p->spec->read_only = true;
    return 0;
}

/* ---- capabilities ---- */

/* For each of `algorithms` the exponents of its data units. */
struct caps {
    uint8_t units[ALGORITHM_COUNT];
};

static int add_units(struct parse *p, const struct algorithm *algorithm, char *list,
                     struct caps *caps)
{
    uint8_t *units = &caps->units[algorithm - algorithms];
    for (char *text; (text = strsep(&list, "/"));) {
        uint64_t bytes = 0;
        if (parse_size(text, &bytes, NULL) || bytes < DATA_UNIT_MIN || bytes > DATA_UNIT_MAX ||
            bytes & (bytes - 1))
            return why_set(p->why, EINVAL,
                           "caps: \"%.32s\" is no data unit: a power of two, %u to %u bytes", text,
                           DATA_UNIT_MIN, DATA_UNIT_MAX);
        uint8_t bit = (uint8_t)(bytes / DATA_UNIT_MIN);
        if (*units & bit)
            return why_set(p->why, EINVAL, "caps: %s with %.32s is given twice", algorithm->name,
                           text);
        *units |= bit;
    }
    return 0;
}

/* In the order of the ICE drafts' struct: algorithm, data unit, key size. */
static void list_caps(const struct caps *caps, struct function_spec *spec)
{
    for (unsigned alg = ALG_AES_XTS; alg <= ALG_ESSIV_AES_CBC; alg++)
        for (unsigned unit = 0; unit < UNIT_KINDS; unit++)
            for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
                if (algorithms[i].alg != alg || !(caps->units[i] & 1u << unit))
                    continue;
                spec->capabilities[spec->capability_count++] = (struct capability){
                    algorithms[i].alg, algorithms[i].key_size, DATA_UNIT_MIN << unit};
            }
}

static int parse_caps(struct parse *p, char *text)
{
    struct caps caps = {{0}};
    for (char *entry; (entry = strsep(&text, "+"));) {
        char *name = strsep(&entry, ":");
        const struct algorithm *algorithm = algorithm_by_name(name);
        if (!algorithm)
            return why_set(p->why, EINVAL, "caps: \"%.32s\" is no algorithm", name);
        if (!entry)
            return why_set(p->why, EINVAL, "caps: %s has no data units; %s:4096 has one", name,
                           name);
        int err = add_units(p, algorithm, entry, &caps);
        if (err)
            return err;
    }
    list_caps(&caps, p->spec);
    return 0;
}

static int take_caps(struct parse *p)
{
    char ufs[] = "aes-256-xts:4096", emmc[] = "aes-256-xts:512/1024/2048/4096";
    char text[FUNCTION_SPEC_MAX + 1];
    if (!strcmp(p->value, "all"))
        return 0;
    if (!strcmp(p->value, "ufs")) {
        p->preset_dun_bits = 64;
        return parse_caps(p, ufs);
    }
    if (!strcmp(p->value, "emmc")) {
        p->preset_dun_bits = 32;
        return parse_caps(p, emmc);
    }
    strcpy(text, p->value);
    return parse_caps(p, text);
}

/* ---- the whole ---- */

static const struct key {
    const char *name;
    bool is_flag;
    enum { ANY_FUNCTION, INLINE_CRYPTO, KEYSLOTS } needs; /* means nothing without */
    int (*take)(struct parse *p);
} keys[] = {
    {"slots", false, ANY_FUNCTION, take_slots},
    {"sectors", false, ANY_FUNCTION, take_sectors},
    {"image", false, ANY_FUNCTION, take_image},
    {"size", false, ANY_FUNCTION, take_size},
    {"dialect", false, ANY_FUNCTION, take_dialect},
    {"strict", true, ANY_FUNCTION, take_strict},
    {"addr", false, KEYSLOTS, take_addr},
    {"caps", false, INLINE_CRYPTO, take_caps},
    {"dun-bits", false, INLINE_CRYPTO, take_dun_bits},
    {"on-overflow", false, INLINE_CRYPTO, take_on_overflow},
    {"on-reset", false, KEYSLOTS, take_on_reset},
    {"block-size", false, ANY_FUNCTION, take_block_size},
    {"key-types", false, INLINE_CRYPTO, take_key_types},
    {"keys", false, INLINE_CRYPTO, take_keys},
    {"header", false, ANY_FUNCTION, take_header},
    {"ro", true, ANY_FUNCTION, take_ro},
    {"integrity", true, ANY_FUNCTION, take_integrity},
};

/* `word` is KEY=VALUE or FLAG; it is cut at the "=". */
static int take_word(struct parse *p, char *word)
{
    const char *name = strsep(&word, "=");
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        if (strcmp(name, keys[i].name))
            continue;
        p->key = name;
        p->value = word;
        if (p->seen & 1u << i)
            return why_set(p->why, EINVAL, "%s is given twice", name);
        if (keys[i].is_flag && word)
            return why_set(p->why, EINVAL, "%s takes no value", name);
        if (!keys[i].is_flag && (!word || !*word))
            return why_set(p->why, EINVAL, "%s= has no value", name);
        p->seen |= 1u << i;
        return keys[i].take(p);
    }
    return why_set(p->why, EINVAL, "\"%.32s\" is not a key of functions", name);
}

/* What the function lacks makes keys that are about it mean nothing. */
static int check_keys(const struct parse *p)
{
    const struct function_spec *spec = p->spec;
    unsigned has = spec->integrity || (spec->has_slots && !spec->slots) ? ANY_FUNCTION
                   : spec->keys_inline                                  ? INLINE_CRYPTO
                                                                        : KEYSLOTS;
    const char *cause = spec->integrity     ? "with integrity"
                        : spec->keys_inline ? "with keys=inline"
                                            : "without slots";
    if (spec->has_slots && (spec->integrity || spec->keys_inline))
        return why_set(p->why, EINVAL, "slots= means nothing %s", cause);
    for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
        if (p->seen & 1u << i && keys[i].needs > has)
            return why_set(p->why, EINVAL, "%s= means nothing %s", keys[i].name, cause);
    }
    return 0;
}

static int check_crypto(const struct parse *p)
{
    const struct function_spec *spec = p->spec;
    int err = check_keys(p);
    if (err)
        return err;
    for (unsigned i = 0; i < spec->capability_count; i++) {
        const struct capability *entry = &spec->capabilities[i];
        if (entry->data_unit < spec->block_size)
            return why_set(p->why, EINVAL, "caps: a data unit of %u bytes is below block-size=%u",
                           entry->data_unit, spec->block_size);
        if (spec->key_types == ICE_KEY_TYPE_WRAPPED &&
            !algorithm_takes_wrapped(entry->alg, entry->key_size))
            return why_set(p->why, EINVAL, "caps: no wrapped key is of %s, and key-types=wrapped",
                           algorithm_by_id(entry->alg, entry->key_size)->name);
    }
    return 0;
}

static int check_media(const struct parse *p)
{
    const struct function_spec *spec = p->spec;
    if (spec->image_size && !spec->image[0])
        return why_set(p->why, EINVAL, "size= is of image=, which is not there");
    if (spec->has_sectors && spec->sectors * SECTOR_SIZE % spec->block_size)
        return why_set(p->why, EINVAL, "sectors: %llu are no whole blocks of block-size=%u",
                       (unsigned long long)spec->sectors, spec->block_size);
    return 0;
}

int function_spec_parse(const char *text, struct function_spec *spec, struct ice_why *why)
{
    char copy[FUNCTION_SPEC_MAX + 1];
    struct parse p = {.spec = spec, .why = why};
    size_t len = strnlen(text, sizeof(copy));
    *spec = (struct function_spec){.block_size = SECTOR_SIZE};
    if (len == sizeof(copy))
        return why_set(why, EINVAL, "a function takes at most %u bytes of text", FUNCTION_SPEC_MAX);
    memcpy(copy, text, len + 1);
    char *rest = copy;
    const char *name = strsep(&rest, ",");
    int err = parse_name(name, why);
    if (err)
        return err;
    strcpy(spec->name, name);
    for (char *word; err >= 0 && (word = strsep(&rest, ","));)
        err = take_word(&p, word);
    if (err >= 0)
        err = check_media(&p);
    if (err >= 0)
        err = check_crypto(&p);
    if (err >= 0 && !spec->dun_bits)
        spec->dun_bits = p.preset_dun_bits;
    spec->has_slots |= spec->keys_inline || spec->integrity;
    return err < 0 ? err : 0;
}

int function_spec_settle(struct function_spec *spec, const struct dialect *dialect, bool strict,
                         struct ice_why *why)
{
    struct ice_why cause;
    if (!spec->dialect)
        spec->dialect = dialect;
    spec->strict |= strict;
    dialect = spec->dialect;
    if (spec->dun_bits > dialect->dun_bits)
        return why_set(why, EINVAL, "dun-bits=%u is above the %u of dialect %s", spec->dun_bits,
                       dialect->dun_bits, dialect->name);
    if (spec->trimmed_headers && dialect == &dialect_inline)
        return why_set(why, EINVAL,
                       "header=trimmed means nothing in dialect %s: all its headers are short",
                       dialect->name);
    if (spec->keys_inline && !dialect->keys_inline)
        return why_set(why, EINVAL, "keys=inline means nothing in dialect %s", dialect->name);
    if (spec->keys_inline && spec->strict)
        return why_set(why, EINVAL, "keys=inline is icesim's own, and strict is set");
    if (spec->strict && spec->addressing == SLOTS_PHYSICAL && dialect->virtual_slots)
        return why_set(why, EINVAL, "addr=physical is against dialect %s, and strict is set",
                       dialect->name);
    if (spec->capability_count &&
        dialect->check_capabilities(spec->capabilities, spec->capability_count, &cause))
        return why_set(why, EINVAL, "caps: %s", cause.text);
    return 0;
}
