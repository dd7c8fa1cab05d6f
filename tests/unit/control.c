/* SPDX-License-Identifier: BSD-2-Clause */
/* The control plane without a socket: arguments, lists, the secure monitor, wrapped keys. */
#include "base/bytes.h"
#include "base/secret.h"
#include "cipher/cipher.h"
#include "cipher/wrap.h"
#include "control_bench.h"
#include <errno.h>
#include <unistd.h>

/* ---- arguments ---- */

static void test_arguments(void)
{
    static const uint8_t field[129];
    char longest[FUNCTION_SPEC_MAX + 2];
    struct document none;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    is_int(run(MESSAGE_STATS, NULL, 0, &none), -EINVAL, "a missing key");
    is_str(said(-1, &none), "key \"function\" is missing", "is named");
    REFUSES(EINVAL, "key \"scope\" is not known", "an unknown key", MESSAGE_STATS, vm1,
            TEXT("scope", "device"));
    REFUSES(EINVAL, "key \"function\" is given twice", "a key given twice", MESSAGE_STATS, vm1,
            vm1);
    REFUSES(EPROTO, "an unsigned integer where a text string was expected", "a number for a text",
            MESSAGE_STATS, NUMBER("function", 1));
    REFUSES(EPROTO, "a text string where an unsigned integer was expected", "a text for a number",
            MESSAGE_SLOT_EVICT, vm1, TEXT("slot", "1"));
    REFUSES(EPROTO, "a text string where a byte string was expected", "a text for bytes",
            MESSAGE_KEY_DERIVE, vm1, TEXT("key", "1"));
    REFUSES(EINVAL, "key \"slot\": 4294967296 is above 4294967295", "a number past its limit",
            MESSAGE_SLOT_EVICT, vm1, NUMBER("slot", UINT64_C(1) << 32));
    REFUSES(EINVAL, "key \"key\": 129 bytes, not above 128", "bytes past their limit",
            MESSAGE_KEY_DERIVE, vm1, BYTES("key", field, sizeof(field)));
    REFUSES(EINVAL, "key \"function\": \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" is too long",
            "a text past its limit", MESSAGE_FUNCTION_ADD, TEXT("function", longest));
    REFUSES(EINVAL, "key \"function\": the text has a control character", "a control character",
            MESSAGE_STATS, TEXT("function", "vm\n1"));
    REFUSES(EINVAL, "a key has a control character", "one in a key", MESSAGE_STATS,
            TEXT("fun\033ction", "vm1"));
    REFUSES(ENOENT, "there is no function \"vm9\"", "a function that is not there",
            MESSAGE_SLOT_LIST, TEXT("function", "vm9"));
    REFUSES(ENOENT, "there is no function or layer \"vm9\"", "nor a layer", MESSAGE_STATS,
            TEXT("function", "vm9"));
    REFUSES(EPROTO, "an unsigned integer where a boolean was expected", "a number for a boolean",
            MESSAGE_VIEW_REMOVE, vm1, TEXT("name", "v"), NUMBER("wait", 1));
}

/* ---- lists ---- */

static void test_functions(void)
{
    struct document answer;
    int err = run(MESSAGE_FUNCTION_LIST, NULL, 0, &answer);
    is_str(said(err, &answer),
           "[{\"name\":\"vm1\",\"dialect\":\"ice2\",\"strict\":false,\"addressing\":\"physical\","
           "\"slots\":{\"first\":0,\"count\":8},\"first_sector\":\"0x0\",\"sectors\":\"0x400\","
           "\"image\":null,\"read_only\":false,\"keys\":\"slots\",\"key_types\":[\"raw\","
           "\"wrapped\"],\"integrity\":false,\"clients\":0},"
           "{\"name\":\"vm2\",\"dialect\":\"ice2\",\"strict\":true,\"addressing\":\"virtual\","
           "\"slots\":{\"first\":8,\"count\":8},\"first_sector\":\"0x400\",\"sectors\":\"0x200\","
           "\"image\":null,\"read_only\":true,\"keys\":\"slots\",\"key_types\":[\"raw\"],"
           "\"integrity\":false,\"clients\":0},"
           "{\"name\":\"vm3\",\"dialect\":\"inline\",\"strict\":false,\"addressing\":\"virtual\","
           "\"slots\":{\"first\":16,\"count\":2},\"first_sector\":\"0x600\",\"sectors\":\"0x100\","
           "\"image\":null,\"read_only\":false,\"keys\":\"slots\",\"key_types\":[\"wrapped\"],"
           "\"integrity\":false,\"clients\":0},"
           "{\"name\":\"vm4\",\"dialect\":\"ice2\",\"strict\":false,\"addressing\":\"physical\","
           "\"slots\":{\"first\":0,\"count\":0},\"first_sector\":\"0x700\",\"sectors\":\"0x100\","
           "\"image\":null,\"read_only\":false,\"keys\":\"slots\",\"key_types\":[\"raw\","
           "\"wrapped\"],\"integrity\":false,\"clients\":0}]",
           "function list");
    SAYS("{\"name\":\"late\",\"dialect\":\"ice2\",\"strict\":false,\"addressing\":\"physical\","
         "\"slots\":{\"first\":24,\"count\":2},\"first_sector\":\"0x0\",\"sectors\":\"0x800\","
         "\"image\":\"control-test.img\",\"read_only\":false,\"keys\":\"slots\",\"key_types\":["
         "\"raw\",\"wrapped\"],"
         "\"integrity\":false,\"clients\":0}",
         "function add answers its entry", MESSAGE_FUNCTION_ADD,
         TEXT("function", "late,slots=24+2,image=control-test.img,size=1M"));
    unlink("control-test.img");
    REFUSES(EEXIST, "there is a function late already", "the same name again", MESSAGE_FUNCTION_ADD,
            TEXT("function", "late,slots=26+1"));
    SAYS("{}", "function remove", MESSAGE_FUNCTION_REMOVE, TEXT("function", "late"));
    REFUSES(ENOENT, "there is no function \"late\"", "once more", MESSAGE_FUNCTION_REMOVE,
            TEXT("function", "late"));
    struct document refused;
    is_int(RUN(MESSAGE_FUNCTION_ADD, &refused, TEXT("function", "late,slots=8+")), -EINVAL,
           "a specification that is none: %s", why.text);
    document_free(&refused);
    is_int(RUN(MESSAGE_FUNCTION_ADD, &refused, TEXT("function", "late,slots=7+2")), -EBUSY,
           "a window that overlaps: %s", why.text);
    document_free(&refused);
}

/* ---- the secure monitor ---- */

#define PROGRAM(answer, function, slot_, alg_, unit, type, bytes, len)                             \
    RUN(MESSAGE_SLOT_PROGRAM, answer, function, NUMBER("slot", slot_), TEXT("alg", alg_),          \
        NUMBER("data_unit", unit), TEXT("key_type", type), BYTES("key", bytes, len))

static void refuses_program(int err, int number, const char *want)
{
    struct document none = {0};
    is_int(err, -number, "not programmed: %s", want);
    is_str(said(-1, &none), want, "which says why");
}

static bool is_programmed(unsigned slot)
{
    struct slot_info info;
    engine_slot_info(control.host->engine, slot, &info);
    return info.programmed;
}

static void test_program(void)
{
    struct document answer;
    uint8_t fingerprint[FINGERPRINT_BYTES];
    char want[128];
    cipher_fingerprint(key, 64, fingerprint);
    snprintf(want, sizeof(want), "{\"fingerprint\":\"%02x%02x%02x%02x%02x%02x%02x%02x\"}",
             fingerprint[0], fingerprint[1], fingerprint[2], fingerprint[3], fingerprint[4],
             fingerprint[5], fingerprint[6], fingerprint[7]);
    int err = PROGRAM(&answer, vm2, 9, "aes-256-xts", 4096, "raw", key, 64);
    is_str(said(err, &answer), want, "a key for a strict function's physical slot 9");
    err = RUN(MESSAGE_SLOT_LIST, &answer, vm2);
    ok(strstr(said(err, &answer),
              "{\"slot\":1,\"programmed\":true,\"alg\":\"aes-256-xts\",\"data_unit\":4096,"
              "\"key_type\":\"raw\",\"fingerprint\":"),
       "is slot 1 on its wire");
    err = RUN(MESSAGE_SLOT_LIST, &answer, vm2);
    ok(strstr(said(err, &answer), "\"in_flight\":0,\"physical\":9}"), "and slot 9 of the engine");
    err = RUN(MESSAGE_RESET, &answer, TEXT("scope", "device"), vm2);
    document_free(&answer);
    ok(!err && is_programmed(9), "a device reset leaves it");
    SAYS("{}", "evict", MESSAGE_SLOT_EVICT, vm2, NUMBER("slot", 9));
    ok(!is_programmed(9), "empties it");
    SAYS("{}", "evict of an empty slot", MESSAGE_SLOT_EVICT, vm2, NUMBER("slot", 9));
    err = PROGRAM(&answer, vm2, 15, "aes-128-ecb", 512, "raw", key, 16);
    document_free(&answer);
    ok(!err && is_programmed(15), "another");
    SAYS("{\"generation\":\"0x1\"}", "function reset", MESSAGE_RESET, TEXT("scope", "function"),
         vm2);
    ok(!is_programmed(15), "empties its slots");
}

static void test_refused_programs(void)
{
    struct document a;
    uint8_t *weak = secret_alloc(64);
    refuses_program(PROGRAM(&a, vm2, 8, "aes-256-xts", 4096, "cooked", key, 64), EINVAL,
                    "key_type \"cooked\" is neither raw nor wrapped");
    refuses_program(PROGRAM(&a, vm2, 8, "rot13", 4096, "raw", key, 64), EINVAL,
                    "alg \"rot13\" is not known");
    refuses_program(PROGRAM(&a, vm2, 8, "aes-256-xts", 4096, "raw", key, 63), EINVAL,
                    "aes-256-xts takes a key of 64 bytes, not 63");
    refuses_program(PROGRAM(&a, vm2, 8, "aes-256-xts", 4095, "raw", key, 64), EOPNOTSUPP,
                    "vm2 does not advertise aes-256-xts with data units of 4095 bytes");
    refuses_program(PROGRAM(&a, vm2, 8, "aes-256-xts", 4096, "wrapped", key, 64), EOPNOTSUPP,
                    "vm2 takes raw keys only");
    refuses_program(PROGRAM(&a, vm1, 0, "aes-256-xts", 4096, "wrapped", key, 0), EBADMSG,
                    "a wrapped key of 0 bytes");
    is_int(PROGRAM(&a, vm1, 0, "aes-256-xts", 4096, "wrapped", key, 64), -EBADMSG,
           "no wrapped key: %s", why.text);
    document_free(&a);
    is_int(PROGRAM(&a, vm1, 0, "aes-256-xts", 4096, "raw", weak, 64), -EINVAL, "a weak key: %s",
           why.text);
    document_free(&a);
    ok(!is_programmed(0) && !is_programmed(8), "none of them did anything");
    secret_free(weak);
}

static void test_windows(void)
{
    struct document a;
    int err = PROGRAM(&a, vm1, 3, "aes-256-xts", 4096, "raw", key, 64);
    document_free(&a);
    is_int(err, 0, "a key of vm1");
    refuses_program(PROGRAM(&a, vm2, 3, "aes-256-xts", 4096, "raw", key, 64), EPERM,
                    "the secure monitor holds vm2 to slots 8..15");
    REFUSES(EPERM, "the secure monitor holds vm2 to slots 8..15", "evict below the window",
            MESSAGE_SLOT_EVICT, vm2, NUMBER("slot", 7));
    REFUSES(EPERM, "the secure monitor holds vm2 to slots 8..15", "evict above it",
            MESSAGE_SLOT_EVICT, vm2, NUMBER("slot", 16));
    REFUSES(EPERM, "the secure monitor holds vm2 to slots 8..15", "evict past the engine",
            MESSAGE_SLOT_EVICT, vm2, NUMBER("slot", UINT32_MAX));
    REFUSES(EPERM, "the secure monitor holds vm4 to no slot", "evict without slots",
            MESSAGE_SLOT_EVICT, vm4, NUMBER("slot", 0));
    ok(is_programmed(3), "the key of vm1 is there");
}

/* With --unsafe-monitor. */
static void test_no_windows(void)
{
    struct document a;
    int err = PROGRAM(&a, vm1, 3, "aes-256-xts", 4096, "raw", key, 64);
    document_free(&a);
    ok(!err && is_programmed(3), "a key of vm1");
    SAYS("{}", "vm2 evicts it", MESSAGE_SLOT_EVICT, vm2, NUMBER("slot", 3));
    ok(!is_programmed(3), "and it is gone");
    err = PROGRAM(&a, vm2, 31, "aes-256-xts", 4096, "raw", key, 64);
    document_free(&a);
    ok(!err && is_programmed(31), "and takes a slot that is nobody's");
    REFUSES(EINVAL, "slot 32 is outside the engine's slots 0..31", "but none that there is not",
            MESSAGE_SLOT_EVICT, vm2, NUMBER("slot", 32));
}

/* ---- wrapped keys ---- */

/* The byte string of {"key": bytes}, which is to be in secret memory. */
static size_t key_of(int err, struct document *answer, uint8_t to[static 128])
{
    struct reader reader = {answer->bytes, answer->bytes + answer->len};
    const uint8_t *bytes;
    const char *text;
    uint64_t pairs;
    size_t len = 0;
    ok(!err && answer->secret, "an answer with a key is in secret memory%s", why.text);
    if (!err && !read_map(&reader, &pairs, &why) && !read_text(&reader, &text, &len, &why) &&
        !read_bytes(&reader, &bytes, &len, &why))
        memcpy(to, bytes, len);
    document_free(answer);
    return len;
}

static void test_wrapped_keys(void)
{
    struct document answer;
    uint8_t long_term[128], ephemeral[128], derived[128], want[SW_SECRET_BYTES];
    size_t n = key_of(RUN(MESSAGE_KEY_GENERATE, &answer, vm3), &answer, long_term);
    ok(n > 32 && n <= 128, "a long-term key of %zu bytes", n);
    n = key_of(RUN(MESSAGE_KEY_IMPORT, &answer, vm1, BYTES("key", key, 32)), &answer, long_term);
    n = key_of(RUN(MESSAGE_KEY_PREPARE, &answer, vm1, BYTES("key", long_term, n)), &answer,
               ephemeral);
    size_t len =
        key_of(RUN(MESSAGE_KEY_DERIVE, &answer, vm1, BYTES("key", ephemeral, n)), &answer, derived);
    wrap_derive_sw_secret(key, want, &why);
    ok(len == sizeof(want) && !memcmp(derived, want, len), "the software secret of the raw key");
    int err = PROGRAM(&answer, vm1, 5, "aes-256-xts", 4096, "wrapped", ephemeral, n);
    document_free(&answer);
    struct slot_info info;
    engine_slot_info(control.host->engine, 5, &info);
    ok(!err && info.programmed && info.wrapped, "a slot is programmed with it: %s", why.text);
    err = RUN(MESSAGE_SLOT_LIST, &answer, vm1);
    ok(strstr(said(err, &answer), "\"key_type\":\"wrapped\""), "which slot list says");

    REFUSES(EOPNOTSUPP, "vm2 takes raw keys only", "generate without wrapped keys",
            MESSAGE_KEY_GENERATE, vm2);
    is_int(RUN(MESSAGE_KEY_IMPORT, &answer, vm1, BYTES("key", key, 31)), -EINVAL, "import: %s",
           why.text);
    document_free(&answer);
    is_int(RUN(MESSAGE_KEY_PREPARE, &answer, vm1, BYTES("key", ephemeral, n)), -EBADMSG,
           "prepare of an ephemeral key: %s", why.text);
    document_free(&answer);
    ephemeral[n - 1] ^= 1;
    is_int(RUN(MESSAGE_KEY_DERIVE, &answer, vm1, BYTES("key", ephemeral, n)), -EBADMSG,
           "derive of a changed key: %s", why.text);
    document_free(&answer);
}

/* ---- statistics ---- */

static void test_stats(void)
{
    struct document answer;
    char want[64];
    bool all = true;
    int err = RUN(MESSAGE_STATS, &answer, vm2);
    const char *text = said(err, &answer);
    for (enum rule rule = RULE_NONE + 1; rule < RULE_COUNT; rule++) {
        snprintf(want, sizeof(want), "\"%s\":0", rule_name(rule));
        all = all && strstr(strstr(text, "\"violations\":{"), want);
    }
    ok(all, "statistics have every rule");
    ok(strstr(text, ",\"vhost_user\":null,"), "and no back end");
}

int main(void)
{
    open_host(false);
    test_arguments();
    test_functions();
    test_program();
    test_refused_programs();
    test_windows();
    test_wrapped_keys();
    test_stats();
    close_host();
    open_host(true);
    test_no_windows();
    close_host();
    return tap_done();
}
