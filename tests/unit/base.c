/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers, names, clauses, JSON text, scattered buffers, DUN arithmetic, the log, the algorithms.
 */
#include "base/algorithm.h"
#include "base/bytes.h"
#include "base/dun.h"
#include "base/iov.h"
#include "base/json.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/why.h"
#include "tap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_numbers(void)
{
    static const struct {
        const char *text;
        uint64_t max, value;
        int rc;
        const char *why;
    } rows[] = {
        {"0", 10, 0, 0, NULL},
        {"010", 10, 10, 0, NULL},
        {"0xFf", 255, 255, 0, NULL},
        {"18446744073709551615", UINT64_MAX, UINT64_MAX, 0, NULL},
        {"0xffffffffffffffff", UINT64_MAX, UINT64_MAX, 0, NULL},
        {"18446744073709551616", UINT64_MAX, 0, -ERANGE,
         "\"18446744073709551616\" is above 18446744073709551615"},
        {"0x10000000000000000", UINT64_MAX, 0, -ERANGE,
         "\"0x10000000000000000\" is above 18446744073709551615"},
        {"256", 255, 0, -ERANGE, "\"256\" is above 255"},
        {"40X", 255, 0, -EINVAL, "\"40X\" is not a number"},
        {"", 255, 0, -EINVAL, "\"\" is not a number"},
        {"0x", 255, 0, -EINVAL, "\"0x\" is not a number"},
        {"-1", 255, 0, -EINVAL, "\"-1\" is not a number"},
        {"+1", 255, 0, -EINVAL, "\"+1\" is not a number"},
        {" 1", 255, 0, -EINVAL, "\" 1\" is not a number"},
        {"1 ", 255, 0, -EINVAL, "\"1 \" is not a number"},
        {"1f", 255, 0, -EINVAL, "\"1f\" is not a number"},
        {"4K", 255, 0, -EINVAL, "\"4K\" is not a number"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct ice_why why = {0};
        uint64_t value = 0;
        int rc = parse_number(rows[i].text, rows[i].max, &value, &why);
        is_int(rc, rows[i].rc, "number \"%s\"", rows[i].text);
        if (rc == 0)
            ok(value == rows[i].value, "number \"%s\": value", rows[i].text);
        else
            is_str(why.text, rows[i].why, "number \"%s\": clause", rows[i].text);
        is_int(why.err, -rows[i].rc, "number \"%s\": errno", rows[i].text);
    }
}

static void test_duns(void)
{
    static const struct {
        const char *text;
        struct dun value;
        const char *why;
    } rows[] = {
        {"0", {{0}}, NULL},
        {"18446744073709551615", {{UINT64_MAX}}, NULL},
        {"18446744073709551616", {{0, 1}}, NULL},
        {"0x000123456789abcdef00000000000000020000000000000003",
         {{3, 2, UINT64_C(0x0123456789abcdef)}},
         NULL},
        {"115792089237316195423570985008687907853269984665640564039457584007913129639935",
         {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}},
         NULL},
        {"115792089237316195423570985008687907853269984665640564039457584007913129639936",
         {{0}},
         "\"1157920892373161954235709850086879078532699846656405640394575840\" has more than 256 "
         "bits"},
        {"0x10000000000000000000000000000000000000000000000000000000000000000",
         {{0}},
         "\"0x10000000000000000000000000000000000000000000000000000000000000\" has more than 256 "
         "bits"},
        {"", {{0}}, "\"\" is not a number"},
        {"0x", {{0}}, "\"0x\" is not a number"},
        {"7f", {{0}}, "\"7f\" is not a number"},
        {"-1", {{0}}, "\"-1\" is not a number"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct ice_why why = {0};
        struct dun value = {{0}};
        int rc = parse_dun(rows[i].text, &value, &why);
        ok(!rc == !rows[i].why && !memcmp(&value, &rows[i].value, sizeof(value)), "DUN \"%s\"",
           rows[i].text);
        if (rows[i].why)
            is_str(why.text, rows[i].why, "DUN \"%s\": clause", rows[i].text);
    }
}

static void test_dun_texts(void)
{
    static const struct {
        struct dun dun;
        const char *text;
    } rows[] = {
        {{{0}}, "0x0"},
        {{{0xabc}}, "0xabc"},
        {{{0, 1}}, "0x10000000000000000"},
        {{{3, 0, 0x1f}}, "0x1f00000000000000000000000000000003"},
        {{{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}},
         "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[DUN_TEXT];
        dun_text(&rows[i].dun, text);
        is_str(text, rows[i].text, "text of a DUN");
    }
}

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t value;
        int rc;
    } rows[] = {
        {"512", 512, 0},
        {"4k", 4096, 0},
        {"128M", UINT64_C(128) << 20, 0},
        {"0x10G", UINT64_C(16) << 30, 0},
        {"16777215T", UINT64_C(16777215) << 40, 0},
        {"16777216T", 0, -ERANGE},
        {"99999999999999999999", 0, -ERANGE},
        {"4KB", 0, -EINVAL},
        {"K", 0, -EINVAL},
        {"1P", 0, -EINVAL},
        {"1.5G", 0, -EINVAL},
        {"", 0, -EINVAL},
    };
    struct ice_why why = {0};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t value = 0;
        is_int(parse_size(rows[i].text, &value, &why), rows[i].rc, "size \"%s\"", rows[i].text);
        ok(value == rows[i].value, "size \"%s\": value", rows[i].text);
    }
    parse_size("4KB", &(uint64_t){0}, &why);
    is_str(why.text, "\"4KB\" is not a size (bytes, or with K, M, G or T)", "size: clause");
}

static void test_names(void)
{
    static const char *const good[] = {"vm0", "a", "a-b_c9", "abcdefghijklmnopqrstuvwxyz012345"};
    static const char *const bad[] = {
        "",        "0vm", "Vm",     "_a",   "-a",       "a.b",
        "a/b",     "..",  "vm\xc3", "vm 0", "vm\n",     "abcdefghijklmnopqrstuvwxyz0123456",
        "control", "raw", "slot",   "view", "function", "status",
        "host",
    };
    struct ice_why why;
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++)
        is_int(parse_name(good[i], &why), 0, "name \"%s\"", good[i]);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        is_int(parse_name(bad[i], &why), -EINVAL, "no name \"%s\"", bad[i]);
    is_str(why.text, "\"host\" is a reserved word", "name: clause of a reserved word");
    parse_name("Vm", &why);
    is_str(why.text, "\"Vm\" is not a name (a letter a-z, then up to 31 of a-z, 0-9, _ and -)",
           "name: clause");
}

static void test_why(void)
{
    struct ice_why why = {0};
    is_int(why_set(&why, ENOKEY, "slot %d is empty", 4), -ENOKEY, "why_set returns -err");
    is_int(why.err, ENOKEY, "why_set keeps err");
    is_str(why.text, "slot 4 is empty", "why_set formats");
    is_int(why_set(NULL, EINVAL, "nobody asks"), -EINVAL, "why_set without a why");
    is_int(why_errno(&why, ENOENT, "cannot open %s", "f"), -ENOENT, "why_errno returns -err");
    is_str(why.text, "cannot open f: No such file or directory", "why_errno says what errno means");

    char text[ICE_WHY_TEXT + 10];
    for (unsigned before = ICE_WHY_TEXT - 6; before < ICE_WHY_TEXT - 1; before++) {
        memset(text, 'a', before);
        strcpy(text + before, "\xf0\x9f\x94\x91\xe2\x82\xac\xc3\xa9");
        why_set(&why, EINVAL, "%s", text);
        size_t fits = before + 4 <= ICE_WHY_TEXT - 1 ? before + 4 : before;
        is_int((intmax_t)strlen(why.text), (intmax_t)fits, "a clause is cut between characters, %u",
               before);
    }
    memset(text, 'b', sizeof(text));
    text[sizeof(text) - 1] = 0;
    why_set(&why, EINVAL, "%s", text);
    is_int((intmax_t)strlen(why.text), ICE_WHY_TEXT - 1, "a long clause fills the room");

    parse_number(text, 1, &(uint64_t){0}, &why);
    ok(strstr(why.text, "\" is not a number") != NULL,
       "a long quotation leaves room for the cause");
}

static void test_json(void)
{
    struct json *json = json_new();
    json_object_open(json, NULL);
    json_string(json, "a", "x\"\\\n\x7f\x01");
    json_array_open(json, "list");
    json_number(json, NULL, UINT64_MAX);
    json_signed(json, NULL, -3);
    json_object_open(json, NULL);
    json_object_close(json);
    json_array_open(json, NULL);
    json_array_close(json);
    json_bool(json, NULL, true);
    json_array_close(json);
    json_hex(json, "dun", UINT64_MAX);
    json_bool(json, "no", false);
    json_null(json, "nil");
    json_string_n(json, "n", "ab\0c", 4);
    json_object_close(json);
    char *text = json_finish(json);
    is_str(text,
           "{\"a\":\"x\\\"\\\\\\u000a\\u007f\\u0001\","
           "\"list\":[18446744073709551615,-3,{},[],true],"
           "\"dun\":\"0xffffffffffffffff\",\"no\":false,\"nil\":null,\"n\":\"ab\\u0000c\"}",
           "json: containers, commas, escapes");
    free(text);
}

static void test_json_utf8(void)
{
    static const struct {
        const char *bytes, *want;
    } rows[] = {
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91\""},
        {"\x80", "\"\\ufffd\""},
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},
        {"\xc3", "\"\\ufffd\""},
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},
        {"\xe0\x80\xaf", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xf0\x80\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xff", "\"\\ufffd\""},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct json *json = json_new();
        json_string(json, NULL, rows[i].bytes);
        char *text = json_finish(json);
        is_str(text, rows[i].want, "json: UTF-8 %u", i);
        free(text);
    }
    json_string(NULL, "key", "value");
    json_object_open(NULL, NULL);
    json_object_close(NULL);
    ok(json_finish(NULL) == NULL, "json: no memory at the start shows at the end");
}

static void test_iov(void)
{
    char a[] = "abc", b[] = "defgh", c[] = "ij";
    struct iovec iov[] = {{a, 3}, {NULL, 0}, {b, 5}, {c, 2}};
    struct iovec huge[] = {{a, SIZE_MAX - 1}, {b, 5}};
    char to[16] = {0};

    is_int((intmax_t)iov_length(iov, 4), 10, "iov_length");
    ok(iov_length(huge, 2) == SIZE_MAX, "iov_length: a sum that overflows");
    is_int((intmax_t)iov_gather(iov, 4, 2, to, 5), 5, "iov_gather: count");
    is_str(to, "cdefg", "iov_gather: bytes");
    is_int((intmax_t)iov_gather(iov, 4, 8, to, 16), 2, "iov_gather: short at the end");
    is_int((intmax_t)iov_gather(iov, 4, 10, to, 1), 0, "iov_gather: past the end");
    is_int((intmax_t)iov_scatter(iov, 4, 1, "123456789", 9), 9, "iov_scatter: count");
    ok(!strcmp(a, "a12") && !strcmp(b, "34567") && !strcmp(c, "89"), "iov_scatter: bytes");
    is_int((intmax_t)iov_scatter(iov, 4, 9, "xyz", 3), 1, "iov_scatter: short at the end");

    iov_zero(iov, 4, 2, 2);
    ok(!memcmp(a, "a1\0", 3) && !memcmp(b,
                                        "\0"
                                        "4567",
                                        5),
       "iov_zero");

    struct iovec slice[4];
    is_int(iov_slice(iov, 4, 2, 7, slice), 3, "iov_slice: parts");
    ok(slice[0].iov_base == a + 2 && slice[0].iov_len == 1 && slice[1].iov_base == b &&
           slice[1].iov_len == 5 && slice[2].iov_base == c && slice[2].iov_len == 1,
       "iov_slice: bounds");
    is_int(iov_slice(iov, 4, 10, 5, slice), 0, "iov_slice: past the end");

    is_int(iov_advance(iov, 4, 3), 2, "iov_advance: whole parts, empty ones too");
    is_int(iov_advance(iov + 2, 2, 6), 1, "iov_advance: into a part");
    ok(iov[3].iov_base == c + 1 && iov[3].iov_len == 1, "iov_advance: what is left");
    is_int(iov_advance(iov + 3, 1, 1), 1, "iov_advance: to the end");
}

static void test_dun(void)
{
    struct dun dun = {{UINT64_MAX, UINT64_MAX, 4, 0}};
    ok(dun_add(&dun, 2), "dun_add");
    ok(dun.limb[0] == 1 && dun.limb[1] == 0 && dun.limb[2] == 5 && dun.limb[3] == 0,
       "dun_add: carries");
    dun = (struct dun){{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    ok(!dun_add(&dun, 1), "dun_add: 2^256 is refused");

    dun = dun_from_u64(UINT64_MAX);
    ok(dun_fits(&dun, 64) && dun_fits(&dun, 256) && !dun_fits(&dun, 63), "dun_fits: 2^64-1");
    dun_add(&dun, 1);
    ok(dun_fits(&dun, 65) && !dun_fits(&dun, 64), "dun_fits: 2^64");
    dun = dun_from_u64(1);
    ok(dun_fits(&dun, 1), "dun_fits: 1 in one bit");
    dun = (struct dun){{0, 0, 0, UINT64_C(1) << 63}};
    ok(dun_fits(&dun, 256) && !dun_fits(&dun, 255), "dun_fits: 2^255");
    is_int((intmax_t)dun_left(&dun, 256, 9), 9, "dun_left: at most as many as wanted");
    dun = (struct dun){{UINT64_MAX - 4, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    is_int((intmax_t)dun_left(&dun, 256, 9), 5, "dun_left: 2^256 - 5");
    dun_mask(&dun, 128);
    ok(dun_fits(&dun, 128) && dun.limb[1] == UINT64_MAX, "dun_mask: 128 bits");
    is_int((intmax_t)dun_left(&dun, 128, 9), 5, "dun_left: 2^128 - 5");
    dun_mask(&dun, 32);
    ok(dun.limb[0] == UINT32_MAX - 4 && !dun.limb[1], "dun_mask: 32 bits");
    is_int((intmax_t)dun_left(&dun, 32, 9), 5, "dun_left: 2^32 - 5");
    is_int((intmax_t)dun_left(&dun, 33, 9), 9, "dun_left: no end near");
    dun = dun_from_u64(0);
    is_int((intmax_t)dun_left(&dun, 256, UINT64_MAX), -1, "dun_left: of all");
}

static void test_algorithms(void)
{
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
        const struct algorithm *a = &algorithms[i];
        ok(algorithm_by_name(a->name) == a && algorithm_by_id(a->alg, a->key_size) == a, "%s",
           a->name);
        ok(i == 0 || a[-1].alg < a->alg || (a[-1].alg == a->alg && a[-1].key_size < a->key_size),
           "%s stands in order", a->name);
        unsigned strength = a->key_size == KEY_SIZE_128   ? 16
                            : a->key_size == KEY_SIZE_192 ? 24
                                                          : 32;
        is_int(a->key_bytes, a->alg == ALG_AES_XTS ? 2 * strength : strength,
               "%s: bytes of the key", a->name);
    }
    ok(!algorithm_by_id(ALG_AES_XTS, KEY_SIZE_192), "there is no XTS-192");
    ok(!algorithm_by_id(4, KEY_SIZE_128) && !algorithm_by_id(0, 0) && !algorithm_by_id(0, 4),
       "unknown ids");
    ok(!algorithm_by_name("AES-256-XTS"), "unknown name");
}

/* Runs `body` with stderr going to a pipe; returns what it wrote. */
static char *captured(void (*body)(void))
{
    static char text[8192];
    int pipes[2], saved = dup(STDERR_FILENO);
    if (pipe(pipes) || saved < 0)
        return NULL;
    dup2(pipes[1], STDERR_FILENO);
    close(pipes[1]);
    body();
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t len = read(pipes[0], text, sizeof(text) - 1);
    close(pipes[0]);
    text[len < 0 ? 0 : len] = '\0';
    return text;
}

static void log_one(void)
{
    log_debug("not shown");
    errno = ENOTTY;
    log_warning("one %s", "line\nwarning: forged\x1b[31m");
    is_int(errno, ENOTTY, "log: errno is left alone");
}

static void log_long(void)
{
    char text[4000];
    memset(text, 'x', sizeof(text));
    log_error("%.*s", (int)sizeof(text), text);
}

static void test_log(void)
{
    char *text = captured(log_one);
    ok(text && strlen(text) > 25 && text[10] == 'T' && text[19] == '.' && text[23] == 'Z',
       "log: time stamp");
    is_str(text ? text + 24 : NULL, " icesim: warning: one line?warning: forged?[31m\n",
           "log: one line, whatever is in it");
    text = captured(log_long);
    ok(text && strlen(text) == 1024 && strchr(text, '\n') == text + 1023,
       "log: a long line is cut");

    enum log_level level = LOG_INFO;
    ok(!log_level_parse("debug", &level) && level == LOG_DEBUG, "log: levels have names");
    is_int(log_level_parse("loud", &level), -1, "log: unknown level");
}

int main(void)
{
    test_numbers();
    test_duns();
    test_dun_texts();
    test_sizes();
    test_names();
    test_why();
    test_json();
    test_json_utf8();
    test_iov();
    test_dun();
    test_algorithms();
    test_log();
    return tap_done();
}
