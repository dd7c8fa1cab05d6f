/* SPDX-License-Identifier: BSD-2-Clause */
/* The CBOR codec: exact bytes, every refusal with its text, truncation anywhere. */
#include "frame/frame.h"
#include "base/bytes.h"
#include "base/json.h"
#include "tap.h"

#include <errno.h>
#include <stdlib.h>

struct bytes {
    const char *bytes;
    size_t len;
};

#define B(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static struct reader reader_of(struct bytes bytes)
{
    const uint8_t *start = (const uint8_t *)bytes.bytes;
    return (struct reader){start, start + bytes.len};
}

/* ---- items ---- */

static void test_items(void)
{
    static const struct {
        const char *name;
        struct bytes bytes;
        enum item_type type;
        uint64_t value;
    } cases[] = {
        {"0", B("\x00"), ITEM_UINT, 0},
        {"23", B("\x17"), ITEM_UINT, 23},
        {"24", B("\x18\x18"), ITEM_UINT, 24},
        {"1 in 16 bits", B("\x19\x00\x01"), ITEM_UINT, 1},
        {"1 in 32 bits", B("\x1a\x00\x00\x00\x01"), ITEM_UINT, 1},
        {"1 in 64 bits", B("\x1b\x00\x00\x00\x00\x00\x00\x00\x01"), ITEM_UINT, 1},
        {"2^64-1", B("\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), ITEM_UINT, UINT64_MAX},
        {"-1", B("\x20"), ITEM_NEGATIVE, 0},
        {"-500", B("\x39\x01\xf3"), ITEM_NEGATIVE, 499},
        {"bytes",
         B("\x43"
           "abc"),
         ITEM_BYTES, 3},
        {"no bytes", B("\x40"), ITEM_BYTES, 0},
        {"text",
         B("\x64"
           "\xc3\xbc!!"),
         ITEM_TEXT, 4},
        {"text, long head",
         B("\x7b\x00\x00\x00\x00\x00\x00\x00\x01"
           "x"),
         ITEM_TEXT, 1},
        {"array", B("\x83"), ITEM_ARRAY, 3},
        {"array of 2^64-1", B("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), ITEM_ARRAY, UINT64_MAX},
        {"map", B("\xa2"), ITEM_MAP, 2},
        {"false", B("\xf4"), ITEM_BOOL, 0},
        {"true", B("\xf5"), ITEM_BOOL, 1},
        {"null", B("\xf6"), ITEM_NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reader reader = reader_of(cases[i].bytes);
        struct item item;
        bool more = true;

        ok(reader_next(&reader, &item) == READ_OK && item.type == cases[i].type &&
               item.value == cases[i].value && reader.next == reader.end,
           "%s is read", cases[i].name);
        for (size_t len = 0; len < cases[i].bytes.len; len++) {
            reader = reader_of((struct bytes){cases[i].bytes.bytes, len});
            const uint8_t *start = reader.next;
            more &= reader_next(&reader, &item) == READ_MORE && reader.next == start;
        }
        ok(more, "%s, cut anywhere, waits for more and consumes nothing", cases[i].name);
    }
}

static void test_refused_items(void)
{
    static const struct {
        const char *name;
        struct bytes bytes;
    } cases[] = {
        {"a break", B("\xff")},
        {"an indefinite array", B("\x9f\x00\xff")},
        {"an indefinite map", B("\xbf\xff")},
        {"indefinite bytes", B("\x5f\x41\x00\xff")},
        {"indefinite text", B("\x7f\xff")},
        {"indefinite integer", B("\x1f")},
        {"a reserved width", B("\x1c\x00\x00\x00\x00\x00\x00\x00\x00")},
        {"a reserved width of bytes", B("\x5e\x00\x00\x00\x00\x00\x00\x00\x00")},
        {"a tag", B("\xc0\x00")},
        {"a long tag", B("\xd9\xd9\xf7\x00")},
        {"undefined", B("\xf7")},
        {"a simple value", B("\xf8\xff")},
        {"true in two bytes", B("\xf8\x15")},
        {"a half float", B("\xf9\x00\x00")},
        {"a float", B("\xfa\x00\x00\x00\x00")},
        {"a double", B("\xfb\x00\x00\x00\x00\x00\x00\x00\x00")},
        {"text that is not UTF-8", B("\x62\xc3\x28")},
        {"text with a surrogate", B("\x63\xed\xa0\x80")},
        {"text with an overlong NUL", B("\x62\xc0\x80")},
        {"text that ends inside a character", B("\x62"
                                                "a\xc3")},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reader reader = reader_of(cases[i].bytes), before = reader;
        struct item item;

        ok(reader_next(&reader, &item) == READ_BAD && reader.next == before.next, "%s is refused",
           cases[i].name);
    }
}

static void test_hostile_lengths(void)
{
    static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 8, UINT64_MAX - 9, INT64_MAX, 4};

    for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
        for (unsigned major = 2; major <= 3; major++) {
            uint8_t bytes[12] = {(uint8_t)(major << 5 | 27)};
            struct reader reader = {bytes, bytes + sizeof(bytes)};
            struct item item;

            for (unsigned b = 0; b < 8; b++)
                bytes[1 + b] = (uint8_t)(lengths[i] >> (56 - 8 * b));
            ok(reader_next(&reader, &item) == READ_MORE && reader.next == bytes,
               "major %u, length 0x%llx: more is wanted", major, (unsigned long long)lengths[i]);
            ok(reader_next_head(&reader, &item) == READ_OK && item.value == lengths[i] &&
                   reader.next == bytes + 9 && item.bytes == bytes + 9,
               "major %u, length 0x%llx: the head alone is read", major,
               (unsigned long long)lengths[i]);
        }
    }
}

/* ---- typed reads ---- */

typedef int typed_read(struct reader *reader, struct ice_why *why);

static int do_uint(struct reader *reader, struct ice_why *why)
{
    uint64_t value;
    return read_uint(reader, 200, &value, why);
}

static int do_bool(struct reader *reader, struct ice_why *why)
{
    bool value;
    return read_bool(reader, &value, why);
}

static int do_bytes(struct reader *reader, struct ice_why *why)
{
    const uint8_t *bytes;
    size_t len;
    return read_bytes(reader, &bytes, &len, why);
}

static int do_text(struct reader *reader, struct ice_why *why)
{
    const char *text;
    size_t len;
    return read_text(reader, &text, &len, why);
}

static int do_array(struct reader *reader, struct ice_why *why)
{
    uint64_t elements;
    return read_array(reader, &elements, why);
}

static int do_map(struct reader *reader, struct ice_why *why)
{
    uint64_t pairs;
    return read_map(reader, &pairs, why);
}

static int do_why(struct reader *reader, struct ice_why *why)
{
    struct ice_why value;
    return read_why(reader, &value, why);
}

static int do_end(struct reader *reader, struct ice_why *why)
{
    return read_end(reader, why);
}

static void test_typed_refusals(void)
{
    static const struct {
        typed_read *read;
        struct bytes bytes;
        const char *text;
    } cases[] = {
        {do_uint, B(""), "the message ends too early"},
        {do_uint, B("\x18"), "the message ends too early"},
        {do_uint, B("\x18\xc9"), "201 where at most 200 was expected"},
        {do_bool, B("\x01"), "an unsigned integer where a boolean was expected"},
        {do_uint, B("\x20"), "a negative integer where an unsigned integer was expected"},
        {do_uint, B("\xf6"), "null where an unsigned integer was expected"},
        {do_uint, B("\xff"), "byte 0xff begins no item that may stand in a frame"},
        {do_bytes, B("\x61x"), "a text string where a byte string was expected"},
        {do_bytes, B("\x42x"), "the message ends too early"},
        {do_bytes, B("\x5b\xff\xff\xff\xff\xff\xff\xff\xffx"), "the message ends too early"},
        {do_text, B("\x41x"), "a byte string where a text string was expected"},
        {do_text, B("\x61\xff"), "a text string is not UTF-8"},
        {do_text, B("\xf5"), "a boolean where a text string was expected"},
        {do_array, B("\xa0"), "a map where an array was expected"},
        {do_array, B("\x82\x00"), "the message ends too early"},
        {do_array, B("\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00"), "the message ends too early"},
        {do_map, B("\x80"), "an array where a map was expected"},
        {do_map, B("\xa2\x00\x00\x00"), "the message ends too early"},
        {do_why, B("\x82\x00\x61x"), "a reason has the errno 0"},
        {do_why, B("\x83\x05\x61x\x00"), "a reason is null or [errno, text]"},
        {do_why, B("\x82\x19\x10\x00\x61x"), "4096 where at most 4095 was expected"},
        {do_why, B("\x82\x05\x05"), "an unsigned integer where a text string was expected"},
        {do_why, B("\x00"), "an unsigned integer where an array was expected"},
        {do_end, B("\x00\x00"), "2 bytes follow the end of the message"},
        {read_skip, B(""), "the message ends too early"},
        {read_skip, B("\x82\x00"), "the head of an item promises more than the frame may hold"},
        {read_skip, B("\x42\x00"), "the head of an item promises more than the frame may hold"},
        {read_skip, B("\x82\x18\x18\x18"), "an item is longer than the frame may be"},
        {read_skip, B("\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00"),
         "the head of an item promises more than the frame may hold"},
        {read_skip, B("\xbb\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00"),
         "the head of an item promises more than the frame may hold"},
        {read_skip, B("\x82\x00\xf7"), "byte 0xf7 begins no item that may stand in a frame"},
        {read_skip, B("\x81\x81\x81\x81\x81\x81\x81\x81\x80"),
         "maps and arrays are nested more than 8 deep"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reader reader = reader_of(cases[i].bytes), before = reader;
        struct ice_why why = {0};

        is_int(cases[i].read(&reader, &why), -EPROTO, "typed read %zu is refused", i);
        is_str(why.text, cases[i].text, "typed read %zu says why", i);
        ok(reader.next == before.next, "typed read %zu consumes nothing", i);
    }
}

static void test_typed_reads(void)
{
    struct reader reader = reader_of((struct bytes)B("\x18\xc8\x42hi\x62yo\xf4\xf5\x82\x00\x00"));
    const uint8_t *bytes;
    const char *text;
    uint64_t value;
    size_t len;
    bool flag;

    ok(!read_uint(&reader, 200, &value, NULL) && value == 200, "read_uint at its limit");
    ok(!read_bytes(&reader, &bytes, &len, NULL) && len == 2 && !memcmp(bytes, "hi", 2), "bytes");
    ok(!read_text(&reader, &text, &len, NULL) && len == 2 && !memcmp(text, "yo", 2), "text");
    ok(!read_bool(&reader, &flag, NULL) && !flag, "false");
    ok(!read_bool(&reader, &flag, NULL) && flag, "true");
    ok(!read_array(&reader, &value, NULL) && value == 2, "array");
    ok(!read_skip(&reader, NULL) && !read_skip(&reader, NULL) && !read_end(&reader, NULL), "end");

    reader = reader_of((struct bytes)B("\xa2\x61k\x83\x01\xa0\x80\x20\x43xyz\xf6"));
    ok(!read_skip(&reader, NULL) && reader.end - reader.next == 1, "skip steps over a whole tree");
    reader = reader_of((struct bytes)B("\x81\x81\x81\x81\x81\x81\x81\x80"));
    ok(!read_skip(&reader, NULL) && !read_end(&reader, NULL), "8 levels are allowed");
}

static void test_read_why(void)
{
    struct reader reader = reader_of((struct bytes)B("\xf6\x82\x10\x65"
                                                     "a\nb\x1b"
                                                     "c"));
    struct ice_why value = {.err = 7};
    uint8_t bytes[512];
    struct writer writer = {bytes, bytes + sizeof(bytes), false};
    struct ice_why cause = {.err = EBUSY};
    char text[300];

    ok(!read_why(&reader, &value, NULL) && value.err == 0, "null says nothing");
    ok(!read_why(&reader, &value, NULL) && value.err == 16, "an errno is read");
    is_str(value.text, "a?b?c", "control characters do not reach a terminal");

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    write_array(&writer, 2);
    write_uint(&writer, EBUSY);
    write_text(&writer, text);
    reader = (struct reader){bytes, writer.next};
    ok(!read_why(&reader, &value, NULL) && strlen(value.text) == ICE_WHY_TEXT - 1,
       "a long text is cut");

    snprintf(cause.text, sizeof(cause.text), "slot 3 is in use");
    writer = (struct writer){bytes, bytes + sizeof(bytes), false};
    write_why(&writer, NULL);
    write_why(&writer, &cause);
    reader = (struct reader){bytes, writer.next};
    ok(!read_why(&reader, &value, NULL) && !value.err, "write_why of NULL is null");
    ok(!read_why(&reader, &value, NULL) && value.err == EBUSY, "write_why keeps the errno");
    is_str(value.text, cause.text, "write_why keeps the text");
}

/* ---- writing ---- */

static void test_writer(void)
{
    static const char want[] = "\x88\x17\x18\x18\x1a\x00\x40\x00\x00\x38\x63\x42hi\x63vm0\xa1"
                               "\xf5\xf4\xf6";
    uint8_t bytes[64];
    bool full = true;

    for (size_t room = 0; room < sizeof(want); room++) {
        struct writer writer = {bytes, bytes + room, false};
        memset(bytes, 0xee, sizeof(bytes));
        write_array(&writer, 8);
        write_uint(&writer, 23);
        write_uint(&writer, 24);
        write_uint(&writer, 4 << 20);
        write_int(&writer, -100);
        write_bytes(&writer, "hi", 2);
        write_text(&writer, "vm0");
        write_map(&writer, 1);
        write_bool(&writer, true);
        write_bool(&writer, false);
        write_null(&writer);
        if (room == sizeof(want) - 1)
            ok(!writer.full && writer.next == bytes + room, "all of it fits exactly");
        else
            full &= writer.full;
        full &= bytes[room] == 0xee;
    }
    is_mem(bytes, want, sizeof(want) - 1, "each item in its shortest form");
    ok(full, "with less room the writer is full and writes nothing behind its end");
}

static void test_writer_edges(void)
{
    uint8_t bytes[64];
    struct writer writer = {bytes, bytes + sizeof(bytes), false};

    write_int(&writer, INT64_MIN);
    write_int(&writer, 5);
    is_mem(bytes, "\x3b\x7f\xff\xff\xff\xff\xff\xff\xff\x05", 10, "-2^63 and 5");
    writer = (struct writer){bytes, bytes + sizeof(bytes), false};
    write_text(&writer, "a\xff\xc3\xbc\xe2\x82");
    is_mem(bytes,
           "\x66"
           "a?\xc3\xbc??",
           7, "text on the wire is UTF-8");
    writer = (struct writer){bytes, bytes + 3, false};
    write_text(&writer, "abc");
    ok(writer.full, "a text that does not fit");
    write_null(&writer);
    ok(writer.full, "what would fit after that is not written");
}

/* ---- documents ---- */

static char *json_of(const void *bytes, size_t len, int *err)
{
    struct reader reader = {bytes, (const uint8_t *)bytes + len};
    struct json *json = json_new();

    *err = json_from_cbor(json, NULL, &reader);
    return json_finish(json);
}

static void test_document(void)
{
    struct document document = {0};
    char *text;
    int err;

    document_array(&document, 300);
    for (unsigned i = 0; i < 299; i++)
        document_uint(&document, i);
    document_map(&document, 5);
    document_text(&document, "name");
    document_text(&document, "vm\"0\n\xff");
    document_text(&document, "sectors");
    document_hex(&document, UINT64_MAX);
    document_text(&document, "owner");
    document_null(&document);
    document_text(&document, "programmed");
    document_bool(&document, true);
    document_text(&document, "list");
    document_array(&document, 0);
    text = json_of(document.bytes, document.len, &err);
    is_int(err, 0, "a document becomes JSON");
    ok(!strncmp(text, "[0,1,2,", 7), "its start");
    is_str(strstr(text, ",{"),
           ",{\"name\":\"vm\\\"0\\u000a?\",\"sectors\":\"0xffffffffffffffff\",\"owner\":null,"
           "\"programmed\":true,\"list\":[]}]",
           "its end");
    free(text);
    document_free(&document);
    ok(!document.bytes && !document.len, "a freed document is an empty one");
}

/* Byte strings are key bytes. */
static void test_secret_document(void)
{
    static const uint8_t want[] = {0x83, 0x01, 0x44, 1, 2, 3, 4, 0x02};
    struct document document = {0}, whole = {0};

    document_array(&document, 3);
    document_uint(&document, 1);
    ok(!document.secret, "a document without key bytes is plain");
    document_bytes(&document, "\1\2\3\4", 4);
    ok(document.secret, "with the first it moves to secret memory");
    document_uint(&document, 2);
    ok(document.len == sizeof(want) && !memcmp(document.bytes, want, sizeof(want)),
       "what was there comes along");
    document_append(&whole, &document);
    ok(whole.secret && whole.len == sizeof(want) && !memcmp(whole.bytes, want, sizeof(want)),
       "appended to another it makes that secret too");
    for (unsigned i = 0; i < 2000; i++)
        document_uint(&whole, UINT32_MAX);
    ok(whole.secret && !whole.failed && whole.len == sizeof(want) + 10000 &&
           !memcmp(whole.bytes, want, sizeof(want)),
       "which grows there");
    document_free(&whole);
    document_free(&document);
    ok(!document.bytes && !document.secret, "and ends as an empty one");
}

static void test_json_refusals(void)
{
    static const struct {
        const char *name;
        struct bytes bytes;
    } cases[] = {
        {"nothing", B("")},
        {"a map cut off", B("\xa1\x61x")},
        {"a map key that is a number", B("\xa1\x01\x02")},
        {"a map key with a NUL", B("\xa1\x62x\0\x02")},
        {"a map key of 64 bytes",
         B("\xa1\x78\x40"
           "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\x02")},
        {"a byte string", B("\x41x")},
        {"an integer below -2^63", B("\x3b\x80\x00\x00\x00\x00\x00\x00\x00")},
        {"an array of 2^64-1", B("\x9b\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00")},
        {"9 levels", B("\x81\x81\x81\x81\x81\x81\x81\x81\x80")},
    };
    char *text;
    int err;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        text = json_of(cases[i].bytes.bytes, cases[i].bytes.len, &err);
        is_int(err, -EPROTO, "%s becomes no JSON", cases[i].name);
        free(text);
    }
    text = json_of("\x83\x20\x3b\x7f\xff\xff\xff\xff\xff\xff\xff\xa1\x61k\x81\x00", 16, &err);
    is_str(text, "[-1,-9223372036854775808,{\"k\":[0]}]", "negative numbers and nesting");
    free(text);
}

int main(void)
{
    test_items();
    test_refused_items();
    test_hostile_lengths();
    test_typed_reads();
    test_typed_refusals();
    test_read_why();
    test_writer();
    test_writer_edges();
    test_document();
    test_secret_document();
    test_json_refusals();
    return tap_done();
}
