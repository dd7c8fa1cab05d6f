/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions as text: what is taken, and the clause for what is not. */
#include "icesim/function_spec.h"
#include "base/bytes.h"
#include "tap.h"
#include "virtio/ice.h"
#include <errno.h>

static struct function_spec parse(const char *text)
{
    struct function_spec spec;
    struct ice_why why = {.text = ""};
    is_int(function_spec_parse(text, &spec, &why), 0, "%s %s", text, why.text);
    return spec;
}

static const char *const refusals[][2] = {
    {"", "\"\" is not a name (a letter a-z, then up to 31 of a-z, 0-9, _ and -)"},
    {"host", "\"host\" is a reserved word"},
    {"control,ro", "\"control\" is a reserved word"},
    {"a,", "\"\" is not a key of functions"},
    {"a,,ro", "\"\" is not a key of functions"},
    {"a,RO", "\"RO\" is not a key of functions"},
    {"a,ro,ro", "ro is given twice"},
    {"a,ro=1", "ro takes no value"},
    {"a,strict=", "strict takes no value"},
    {"a,slots", "slots= has no value"},
    {"a,slots=", "slots= has no value"},
    {"a,slots=8", "slots=8 is not FIRST+COUNT"},
    {"a,slots=8+", "slots=8+ is not FIRST+COUNT"},
    {"a,slots=+8", "slots=+8 is not FIRST+COUNT"},
    {"a,slots=1+2+3", "slots=1+2+3 is not FIRST+COUNT"},
    {"a,slots=-1+2", "slots=-1+2 is not FIRST+COUNT"},
    {"a,slots=250+6", "slots=250+6 goes past 255"},
    {"a,slots=0+18446744073709551617", "slots=0+18446744073709551617 goes past 255"},
    {"a,slots=1+2,slots=1+2", "slots is given twice"},
    {"a,sectors=5+0", "sectors=5+0 has no sector"},
    {"a,sectors=1+0xffffffffffffffff", "sectors=1+0xffffffffffffffff goes past 36028797018963967"},
    {"a,block-size=4096,sectors=0+7", "sectors: 7 are no whole blocks of block-size=4096"},
    {"a,size=1M", "size= is of image=, which is not there"},
    {"a,image=f,size=1000", "size=1000 is not a multiple of 512 above 0"},
    {"a,image=f,size=4KB", "size=4KB is not a size (bytes, or with K, M, G or T)"},
    {"a,dialect=ice3", "dialect=ice3 is none of ice1, ice2, inline"},
    {"a,addr=real", "addr=real is none of physical, virtual"},
    {"a,dun-bits=48", "dun-bits=48 is none of 32, 64, 128, 256"},
    {"a,on-overflow=saturate", "on-overflow=saturate is none of reject, truncate, wrap"},
    {"a,on-reset=no", "on-reset=no is none of clear, keep"},
    {"a,block-size=1024", "block-size=1024 is none of 512, 4096"},
    {"a,key-types=wrapped+raw", "key-types=wrapped+raw is none of raw, wrapped, raw+wrapped"},
    {"a,header=whole", "header=whole is none of trimmed"},
    {"a,caps=aes-256-xts", "caps: aes-256-xts has no data units; aes-256-xts:4096 has one"},
    {"a,caps=aes-512-xts:512", "caps: \"aes-512-xts\" is no algorithm"},
    {"a,caps=ufs+emmc", "caps: \"ufs\" is no algorithm"},
    {"a,caps=aes-256-xts:1000",
     "caps: \"1000\" is no data unit: a power of two, 512 to 65536 bytes"},
    {"a,caps=aes-256-xts:512/", "caps: \"\" is no data unit: a power of two, 512 to 65536 bytes"},
    {"a,caps=aes-256-xts:128K",
     "caps: \"128K\" is no data unit: a power of two, 512 to 65536 bytes"},
    {"a,caps=aes-256-xts:4096/4K", "caps: aes-256-xts with 4K is given twice"},
    {"a,caps=aes-256-xts:512+aes-256-xts:512", "caps: aes-256-xts with 512 is given twice"},
    {"a,block-size=4096,caps=emmc", "caps: a data unit of 512 bytes is below block-size=4096"},
    {"a,slots=0+0,caps=ufs", "caps= means nothing without slots"},
    {"a,dun-bits=32,slots=3+0", "dun-bits= means nothing without slots"},
    {"a,keys=slots,slots=0+0", "keys= means nothing without slots"},
    {"a,keys=both", "keys=both is none of slots, inline"},
    {"a,keys", "keys= has no value"},
    {"a,keys=inline,keys=inline", "keys is given twice"},
    {"a,keys=inline,slots=0+4", "slots= means nothing with keys=inline"},
    {"a,slots=0+0,keys=inline", "slots= means nothing with keys=inline"},
    {"a,addr=virtual,keys=inline", "addr= means nothing with keys=inline"},
    {"a,on-reset=keep,keys=inline", "on-reset= means nothing with keys=inline"},
    {"a,integrity=1", "integrity takes no value"},
    {"a,integrity,slots=0+4", "slots= means nothing with integrity"},
    {"a,keys=inline,integrity", "keys= means nothing with integrity"},
    {"a,integrity,caps=ufs", "caps= means nothing with integrity"},
    {"a,integrity,key-types=raw", "key-types= means nothing with integrity"},
    {"a,key-types=wrapped,caps=aes-256-xts:512+aes-128-xts:512",
     "caps: no wrapped key is of aes-128-xts, and key-types=wrapped"},
    {"a,caps=aes-192-ecb:512,key-types=wrapped",
     "caps: no wrapped key is of aes-192-ecb, and key-types=wrapped"},
};

static void test_refusals(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        struct function_spec spec;
        struct ice_why why = {.text = ""};
        is_int(function_spec_parse(refusals[i][0], &spec, &why), -EINVAL, "%s", refusals[i][0]);
        is_str(why.text, refusals[i][1], "%s", refusals[i][1]);
    }
}

static void test_lengths(void)
{
    char text[FUNCTION_SPEC_MAX + 2] = "a,image=";
    struct function_spec spec;
    struct ice_why why = {.text = ""};
    memset(text + 8, 'i', FUNCTION_IMAGE_MAX);
    is_int(function_spec_parse(text, &spec, &why), 0, "the longest image name");
    is_int((intmax_t)strlen(spec.image), FUNCTION_IMAGE_MAX, "is all there");
    text[8 + FUNCTION_IMAGE_MAX] = 'i';
    is_int(function_spec_parse(text, &spec, &why), -EINVAL, "one more is refused");
    is_str(why.text, "image= has 256 bytes; 255 is the most", "in words");
    memset(text, 'a', FUNCTION_SPEC_MAX + 1);
    is_int(function_spec_parse(text, &spec, &why), -EINVAL, "too long a text");
    is_str(why.text, "a function takes at most 512 bytes of text", "in words");
}

static void test_defaults(void)
{
    struct function_spec spec = parse("vm0");
    is_str(spec.name, "vm0", "the name");
    ok(!spec.has_slots && !spec.has_sectors && !spec.image[0] && !spec.image_size &&
           !spec.dialect && !spec.strict && spec.addressing == SLOTS_AS_DIALECT &&
           !spec.trimmed_headers && !spec.read_only && !spec.keep_on_reset &&
           spec.block_size == 512 && !spec.dun_bits && spec.on_overflow == OVERFLOW_REJECT &&
           !spec.key_types && !spec.capability_count && !spec.keys_inline && !spec.integrity,
       "all else is left open");
}

static void test_values(void)
{
    struct function_spec spec =
        parse("vm-1_x,slots=0x8+16,sectors=2048+0x1000,dialect=ice1,strict,addr=virtual,"
              "dun-bits=32,on-overflow=truncate,on-reset=keep,block-size=4096,key-types=wrapped,"
              "header=trimmed,ro");
    is_str(spec.name, "vm-1_x", "the name");
    ok(spec.has_slots && spec.first_slot == 8 && spec.slots == 16, "slots");
    ok(spec.has_sectors && spec.first_sector == 2048 && spec.sectors == 4096, "sectors");
    ok(spec.dialect == &dialect_ice1 && spec.strict && spec.addressing == SLOTS_VIRTUAL,
       "dialect, strict, addr");
    ok(spec.dun_bits == 32 && spec.on_overflow == OVERFLOW_TRUNCATE && spec.keep_on_reset &&
           spec.block_size == 4096 && spec.key_types == ICE_KEY_TYPE_WRAPPED &&
           spec.trimmed_headers && spec.read_only,
       "the others");
    spec = parse("a,image=dir/x=y.img,size=1M,on-overflow=wrap,key-types=raw+wrapped,"
                 "addr=physical,on-reset=clear,slots=5+0x1");
    is_str(spec.image, "dir/x=y.img", "an image may have = in its name");
    ok(spec.image_size == 1 << 20 && spec.on_overflow == OVERFLOW_WRAP &&
           spec.key_types == (ICE_KEY_TYPE_RAW | ICE_KEY_TYPE_WRAPPED) &&
           spec.addressing == SLOTS_PHYSICAL && !spec.keep_on_reset,
       "and the other choices");
    spec = parse("a,slots=7+0");
    ok(spec.has_slots && spec.slots == 0, "no slots at all");
    spec = parse("a,keys=slots,slots=2+2");
    ok(!spec.keys_inline && spec.slots == 2, "keys in slots");
    spec = parse("a,keys=inline,caps=ufs,dun-bits=32,on-overflow=wrap,key-types=raw");
    ok(spec.keys_inline && spec.has_slots && !spec.slots && spec.capability_count == 1 &&
           spec.key_types == ICE_KEY_TYPE_RAW,
       "keys with each request: no slots, but inline crypto");
    spec = parse("a,integrity,ro");
    ok(spec.integrity && spec.has_slots && !spec.slots, "integrity: no slots");
}

static void test_caps(void)
{
    static const struct capability want[] = {
        {ALG_AES_XTS, KEY_SIZE_128, 512},
        {ALG_AES_XTS, KEY_SIZE_256, 512},
        {ALG_AES_XTS, KEY_SIZE_256, 65536},
        {ALG_ESSIV_AES_CBC, KEY_SIZE_192, 4096},
    };
    struct function_spec spec =
        parse("a,caps=aes-192-cbc-essiv:4K+aes-256-xts:64K/512+aes-128-xts:512");
    is_int(spec.capability_count, ARRAY_SIZE(want), "four triples");
    for (size_t i = 0; i < ARRAY_SIZE(want); i++)
        ok(spec.capabilities[i].alg == want[i].alg &&
               spec.capabilities[i].key_size == want[i].key_size &&
               spec.capabilities[i].data_unit == want[i].data_unit,
           "triple %zu, in the order of the wire", i);
    is_int((intmax_t)spec.dun_bits, 0, "a list says no DUN width");
    spec = parse("a,caps=all");
    is_int(spec.capability_count, 0, "all is the dialect's default");

    spec = parse("a,caps=ufs");
    ok(spec.capability_count == 1 && spec.capabilities[0].alg == ALG_AES_XTS &&
           spec.capabilities[0].key_size == KEY_SIZE_256 && spec.capabilities[0].data_unit == 4096,
       "ufs is aes-256-xts:4096");
    is_int(spec.dun_bits, 64, "with DUNs of 64 bits");
    spec = parse("a,caps=emmc");
    ok(spec.capability_count == 4 && spec.capabilities[0].data_unit == 512 &&
           spec.capabilities[3].data_unit == 4096,
       "emmc has four data units");
    is_int(spec.dun_bits, 32, "and DUNs of 32 bits");
    spec = parse("a,caps=emmc,dun-bits=64");
    is_int(spec.dun_bits, 64, "a width that is said wins");
    spec = parse("a,dun-bits=128,caps=emmc");
    is_int(spec.dun_bits, 128, "in whatever order");
}

/* Every algorithm with every data unit: the longest list that there is. */
static void test_longest_caps(void)
{
    char text[FUNCTION_SPEC_MAX + 1] = "a,caps=";
    for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
        sprintf(text + strlen(text), "%s%s:512/1K/2K/4K/8K/16K/32K/64K", i ? "+" : "",
                algorithms[i].name);
    struct function_spec spec = parse(text);
    is_int(spec.capability_count, CAPABILITIES_MAX, "all triples");
}

static void test_settle(void)
{
    static const struct {
        const char *spec;
        const struct dialect *dialect;
        bool strict;
        const char *text; /* NULL: it is fine */
    } cases[] = {
        {"a", &dialect_ice1, false, NULL},
        {"a,dun-bits=64", &dialect_ice2, false, NULL},
        {"a,dun-bits=128", &dialect_ice2, false, "dun-bits=128 is above the 64 of dialect ice2"},
        {"a,dun-bits=256,dialect=inline", &dialect_ice2, true, NULL},
        {"a,dun-bits=256,dialect=ice1", &dialect_inline, false,
         "dun-bits=256 is above the 64 of dialect ice1"},
        {"a,header=trimmed", &dialect_ice2, false, NULL},
        {"a,header=trimmed", &dialect_inline, false,
         "header=trimmed means nothing in dialect inline: all its headers are short"},
        {"a,addr=physical", &dialect_inline, false, NULL},
        {"a,addr=virtual", &dialect_ice2, true, NULL},
        {"a,addr=physical", &dialect_inline, true,
         "addr=physical is against dialect inline, and strict is set"},
        {"a,addr=physical,strict", &dialect_inline, false,
         "addr=physical is against dialect inline, and strict is set"},
        {"a,keys=inline", &dialect_ice1, false, NULL},
        {"a,keys=inline,dialect=ice2", &dialect_inline, false, NULL},
        {"a,keys=inline", &dialect_inline, false, "keys=inline means nothing in dialect inline"},
        {"a,keys=inline", &dialect_ice2, true, "keys=inline is icesim's own, and strict is set"},
        {"a,keys=inline,strict", &dialect_ice1, false,
         "keys=inline is icesim's own, and strict is set"},
        {"a,integrity", &dialect_inline, true, NULL},
        {"a,caps=emmc", &dialect_ice1, false, NULL},
        {"a,caps=emmc", &dialect_inline, false, NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct function_spec spec = parse(cases[i].spec);
        struct ice_why why = {.text = ""};
        int err = function_spec_settle(&spec, cases[i].dialect, cases[i].strict, &why);
        is_int(err, cases[i].text ? -EINVAL : 0, "%s with %s", cases[i].spec,
               cases[i].dialect->name);
        is_str(why.text, cases[i].text ? cases[i].text : "", "says so");
    }
    struct function_spec spec = parse("a,dialect=ice1");
    struct ice_why why = {.text = ""};
    ok(!function_spec_settle(&spec, &dialect_ice2, true, &why) && spec.dialect == &dialect_ice1 &&
           spec.strict,
       "a dialect stays, strict comes from the host");
    ok(!function_spec_settle(&spec, &dialect_inline, false, &why) &&
           spec.dialect == &dialect_ice1 && spec.strict,
       "once settled, it stays so");
    const char *const odd[] = {"a,caps=aes-256-xts:512+aes-128-xts:512", "a,caps=aes-128-ecb:512"};
    const struct dialect *const of[] = {&dialect_ice1, &dialect_inline};
    for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
        spec = parse(odd[i]);
        is_int(function_spec_settle(&spec, of[i], false, &why), -EINVAL, "%s cannot name that",
               of[i]->name);
        ok(!strncmp(why.text, "caps: ", 6), "%s", why.text);
    }
}

int main(void)
{
    test_refusals();
    test_lengths();
    test_defaults();
    test_values();
    test_caps();
    test_longest_caps();
    test_settle();
    return tap_done();
}
