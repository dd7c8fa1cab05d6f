/* SPDX-License-Identifier: BSD-2-Clause */
/* The control plane's messages of views and layers, and what statistics say of them. */
#include "base/secret.h"
#include "control_bench.h"
#include <errno.h>

#define KEY_64 TEXT("alg", "aes-256-xts"), NUMBER("data_unit", 4096), BYTES("key", key, 64)

#define VIEW_V1(count, path)                                                                       \
    "{\"name\":\"v1\",\"alg\":\"aes-256-xts\",\"data_unit\":4096,\"key_type\":\"raw\","            \
    "\"fingerprint\":\"98d7c176c31263d4\",\"sector\":\"0x0\",\"count\":\"" count                   \
    "\",\"dun\":\"0x0\","                                                                          \
    "\"fallback\":\"auto\",\"path\":\"" path "\"}"

static void test_views(void)
{
    const struct pair v1 = TEXT("name", "v1");
    SAYS("[]", "no view", MESSAGE_VIEW_LIST, vm1);
    SAYS(VIEW_V1("0x400", "native"), "a view of all", MESSAGE_VIEW_ADD, KEY_64, vm1, v1);
    SAYS("{\"name\":\"a\",\"alg\":\"aes-256-xts\",\"data_unit\":4096,\"key_type\":\"raw\","
         "\"fingerprint\":\"98d7c176c31263d4\",\"sector\":\"0x8\",\"count\":\"0x10\","
         "\"dun\":\"0x10000000000000000\",\"fallback\":\"force\",\"path\":\"fallback\"}",
         "a view of a part, with a DUN above 64 bits, by force", MESSAGE_VIEW_ADD, KEY_64, vm1,
         TEXT("name", "a"), TEXT("key_type", "raw"), TEXT("sector", "0x8"), TEXT("count", "0x10"),
         TEXT("dun", "0x10000000000000000"), TEXT("fallback", "force"));
    struct document answer;
    int err = RUN(MESSAGE_VIEW_LIST, &answer, vm1);
    const char *list = said(err, &answer);
    ok(strstr(list, "[{\"name\":\"a\"") == list && strstr(list, "," VIEW_V1("0x400", "native") "]"),
       "the list has both, by name");
    SAYS("[]", "the other function has none", MESSAGE_VIEW_LIST, vm2);
    REFUSES(EEXIST, "there is a view v1 of vm1 already", "once more", MESSAGE_VIEW_ADD, KEY_64, vm1,
            v1);
    REFUSES(EBUSY, "view a is on it", "removal of the function", MESSAGE_FUNCTION_REMOVE, vm1);
    err = RUN(MESSAGE_STATS, &answer, vm1);
    ok(strstr(
           said(err, &answer),
           "\"keys\":[{\"view\":\"a\",\"path\":\"fallback\",\"hits\":0,\"misses\":0,\"programs\":0,"
           "\"evictions\":0,\"waits\":0,\"fallbacks\":0},{\"view\":\"v1\",\"path\":\"native\""),
       "statistics have its keys");
    err = RUN(MESSAGE_STATS, &answer, vm1);
    ok(strstr(
           said(err, &answer),
           "\"profile_slots\":[{\"slot\":0,\"hits\":0,\"misses\":0,\"programs\":0,\"evictions\":0,"
           "\"waits\":0,\"references\":0,\"fingerprint\":null},{\"slot\":1,"),
       "and its slots");
    SAYS("{}", "remove", MESSAGE_VIEW_REMOVE, vm1, v1, FLAG("wait", false));
    SAYS("{}", "remove, willing to wait", MESSAGE_VIEW_REMOVE, vm1, TEXT("name", "a"),
         FLAG("wait", true));
    REFUSES(ENOENT, "there is no view \"v1\" of vm1", "once more", MESSAGE_VIEW_REMOVE, vm1, v1,
            FLAG("wait", false));
}

static void test_refused_views(void)
{
    const struct pair v1 = TEXT("name", "v1");
    REFUSES(EINVAL, "\"view\" is a reserved word", "a reserved name", MESSAGE_VIEW_ADD, KEY_64, vm1,
            TEXT("name", "view"));
    uint8_t *weak = secret_alloc(64);
    REFUSES(EINVAL, "the two halves of the XTS key are equal", "a weak key", MESSAGE_VIEW_ADD, vm1,
            v1, TEXT("alg", "aes-256-xts"), NUMBER("data_unit", 4096), BYTES("key", weak, 64));
    secret_free(weak);
    REFUSES(EINVAL, "the key has 63 bytes; aes-256-xts takes 64", "a short key", MESSAGE_VIEW_ADD,
            vm1, v1, TEXT("alg", "aes-256-xts"), NUMBER("data_unit", 4096), BYTES("key", key, 63));
    REFUSES(EINVAL, "fallback \"never\" is none of auto, forbid, force", "another policy",
            MESSAGE_VIEW_ADD, KEY_64, vm1, v1, TEXT("fallback", "never"));
    REFUSES(EINVAL, "key_type \"cooked\" is neither raw nor wrapped", "another type of key",
            MESSAGE_VIEW_ADD, KEY_64, vm1, v1, TEXT("key_type", "cooked"));
    REFUSES(EINVAL, "key \"sector\": \"0x\" is not a number", "no number", MESSAGE_VIEW_ADD, KEY_64,
            vm1, v1, TEXT("sector", "0x"));
    REFUSES(ERANGE, "key \"count\": \"0x10000000000000000\" is above 18446744073709551615",
            "a number of more than 64 bits", MESSAGE_VIEW_ADD, KEY_64, vm1, v1,
            TEXT("count", "0x10000000000000000"));
    REFUSES(EINVAL, "a view has at least one data unit, not 0 sectors", "a view of nothing",
            MESSAGE_VIEW_ADD, KEY_64, vm1, v1, TEXT("count", "0x0"));
    REFUSES(ERANGE,
            "key \"dun\": \"0x10000000000000000000000000000000000000000000000000000000000000\""
            " has more than 256 bits",
            "a DUN of 257 bits", MESSAGE_VIEW_ADD, KEY_64, vm1, v1,
            TEXT("dun", "0x10000000000000000000000000000000000000000000000000000000000000000"));
    REFUSES(ENOENT, "there is no function or layer \"vm9\"", "neither", MESSAGE_VIEW_ADD, KEY_64,
            TEXT("function", "vm9"), v1);
    SAYS("[]", "none of them is there", MESSAGE_VIEW_LIST, vm1);
}

static void test_layers(void)
{
    const struct pair l = TEXT("name", "l"), both = TEXT("functions", "vm1,vm4");
    SAYS("{\"name\":\"l\",\"map\":\"striped:65536\",\"functions\":[\"vm1\",\"vm4\"],"
         "\"sectors\":\"0x200\",\"capabilities\":[]}",
         "a layer of which one has no slots", MESSAGE_LAYER_ADD, l, TEXT("map", "striped"), both);
    struct document answer;
    int err = RUN(MESSAGE_LAYER_ADD, &answer, TEXT("name", "k"), TEXT("map", "linear"),
                  TEXT("functions", "vm1"));
    ok(strstr(said(err, &answer),
              "\"sectors\":\"0x400\",\"capabilities\":[{\"alg\":\"aes-128-xts\",\"key_bytes\":32,"
              "\"data_units\":[512,1024,"),
       "another, of one that has");
    SAYS("{}", "remove", MESSAGE_LAYER_REMOVE, TEXT("name", "k"));
    SAYS(VIEW_V1("0x200", "fallback"), "a view of the first", MESSAGE_VIEW_ADD, KEY_64,
         TEXT("function", "l"), TEXT("name", "v1"), TEXT("count", "0x200"));
    REFUSES(EBUSY, "view v1 is on it", "which keeps it", MESSAGE_LAYER_REMOVE, l);
    REFUSES(EINVAL, "map \"mirror\" is none of linear, striped, striped:BYTES", "another map",
            MESSAGE_LAYER_ADD, TEXT("name", "m"), TEXT("map", "mirror"), both);
    REFUSES(EINVAL, "map \"striped:x\": \"x\" is not a size (bytes, or with K, M, G or T)",
            "no stripe", MESSAGE_LAYER_ADD, TEXT("name", "m"), TEXT("map", "striped:x"), both);
    REFUSES(EINVAL, "a layer has at most 16 functions", "17 functions", MESSAGE_LAYER_ADD,
            TEXT("name", "m"), TEXT("map", "linear"), TEXT("functions", "a,,,,,,,,,,,,,,,,"));
    SAYS("{}", "the view goes", MESSAGE_VIEW_REMOVE, TEXT("function", "l"), TEXT("name", "v1"),
         FLAG("wait", false));
    SAYS("{}", "and the layer", MESSAGE_LAYER_REMOVE, l);
    err = run(MESSAGE_LAYER_LIST, NULL, 0, &answer);
    is_str(said(err, &answer), "[]", "so there is none");
}

int main(void)
{
    open_host(false);
    test_views();
    test_refused_views();
    test_layers();
    close_host();
    return tap_done();
}
