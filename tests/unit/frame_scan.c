/* SPDX-License-Identifier: BSD-2-Clause */
/* The scan of clients' frames: each limit, truncation at each byte, 100,000 hostile cases. */
#include "base/bytes.h"
#include "base/json.h"
#include "frame/frame.h"
#include "tap.h"

#include <limits.h>
#include <stdlib.h>

#define HOSTILE_CASES 100000

struct bytes {
    const char *bytes;
    size_t len;
};

#define B(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

/* A copy with its end at the end of a heap block, so that ASan sees a read behind it. */
static enum scan_result scan_exact(const void *bytes, size_t len, struct frame_view *view,
                                   struct ice_why *why)
{
    uint8_t *copy = malloc(len ? len : 1);
    enum scan_result result;

    memcpy(copy, bytes, len);
    result = frame_scan(copy + (len ? 0 : 1), len, view, why);
    free(copy);
    return result;
}

static const struct {
    const char *name;
    struct bytes bytes;
    uint64_t message, tag;
    unsigned args;
    size_t args_at;
} valid[] = {
    {"hello", B("\x83\x01\x00\x01"), 1, 0, 1, 3},
    {"no arguments", B("\x82\x02\x18\xff"), 2, 255, 0, 4},
    {"wide integers", B("\x98\x02\x19\x00\x02\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), 2, UINT64_MAX,
     0, 14},
    {"write_config", B("\x84\x07\x05\x18\x20\x41\x01"), 7, 5, 2, 3},
    {"a map",
     B("\x83\x18\x21\x01\xa2\x68"
       "function\x63vm0\x61x\x82\xf5\x20"),
     33, 1, 1, 4},
    {"an unknown number", B("\x88\x19\x03\xe7\x01\xf6\xf6\xf6\xf6\xf6\xf6"), 999, 1, 6, 5},
};

static void test_scan_valid(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(valid); i++) {
        const struct bytes *b = &valid[i].bytes;
        struct frame_view view;
        uint8_t more[64] = {0};
        bool waits = true;

        ok(scan_exact(b->bytes, b->len, &view, NULL) == SCAN_READY && view.length == b->len &&
               view.has_tag && view.message == valid[i].message && view.tag == valid[i].tag &&
               view.args == valid[i].args && view.args_at == valid[i].args_at && !view.bulk,
           "%s is scanned", valid[i].name);
        for (size_t len = 0; len < b->len; len++)
            waits &= scan_exact(b->bytes, len, &view, NULL) == SCAN_MORE;
        ok(waits, "%s, cut anywhere, waits for more", valid[i].name);
        memset(more, 0xff, sizeof(more));
        memcpy(more, b->bytes, b->len);
        ok(scan_exact(more, sizeof(more), &view, NULL) == SCAN_READY && view.length == b->len,
           "%s ends where it ends, whatever follows", valid[i].name);
    }
}

static void test_scan_request(void)
{
    static const struct bytes request =
        B("\x85\x08\x07\x19\xff\xff\x1a\x00\x40\x00\x40\x5a\x00\x40\x02\x00");
    struct frame_view view;
    bool waits = true;

    ok(scan_exact(request.bytes, request.len, &view, NULL) == SCAN_READY,
       "the largest request is ready with its head");
    ok(view.bulk && view.bulk_length == FRAME_DATA_MAX + FRAME_SECRET && view.queue == 65535 &&
           view.writable_len == FRAME_DATA_MAX + 64 && view.length == request.len && view.tag == 7,
       "its numbers are known");
    for (size_t len = 0; len < request.len; len++)
        waits &= scan_exact(request.bytes, len, &view, NULL) == SCAN_MORE;
    ok(waits, "a request, cut anywhere in its head, waits for more");
    ok(scan_exact("\x85\x08\x01\x00\x01\x43x", 7, &view, NULL) == SCAN_READY && view.length == 6 &&
           view.bulk_length == 3,
       "the bulk is not waited for");
    ok(scan_exact("\x98\x05\x19\x00\x08\x1b\0\0\0\0\0\0\0\0\x1b\0\0\0\0\0\0\0\0\x1b\0\0\0\0\0\0\0"
                  "\0\x5b\0\0\0\0\0\0\0\0",
                  41, &view, NULL) == SCAN_READY &&
           view.length == 41 && view.length <= FRAME_HEAD_MAX,
       "the longest head fits FRAME_HEAD_MAX");
}

static const struct {
    struct bytes bytes;
    bool has_tag;
    const char *text;
} refused[] = {
    {B("\x00"), false, "a frame must be an array of known length"},
    {B("\xa1"), false, "a frame must be an array of known length"},
    {B("\x9f"), false, "a frame must be an array of known length"},
    {B("GET / HTTP/1.1\r\n"), false, "a frame must be an array of known length"},
    {B("\x80"), false, "a frame must have 2 to 8 elements"},
    {B("\x81\x01"), false, "a frame must have 2 to 8 elements"},
    {B("\x89\x01"), false, "a frame must have 2 to 8 elements"},
    {B("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), false, "a frame must have 2 to 8 elements"},
    {B("\x82\x20"), false, "the message number must be an unsigned integer"},
    {B("\x82\x61x"), false, "the message number must be an unsigned integer"},
    {B("\x82\x01\xf6"), false, "the tag must be an unsigned integer"},
    {B("\x82\x01\xff"), false, "the tag must be an unsigned integer"},
    {B("\x84\x08\x01\x00\x01"), true, "a REQUEST has 5 elements"},
    {B("\x86\x08\x01\x00\x01\x40\x00"), true, "a REQUEST has 5 elements"},
    {B("\x85\x08\x01\x20"), true, "queue must be an unsigned integer"},
    {B("\x85\x08\x01\x1a\x00\x01\x00\x00"), true,
     "queue must be an unsigned integer, not above 65535"},
    {B("\x85\x08\x01\x00\x40"), true, "writable_len must be an unsigned integer"},
    {B("\x85\x08\x01\x00\x1a\x00\x40\x00\x41"), true,
     "writable_len must be an unsigned integer, not above 4194368"},
    {B("\x85\x08\x01\x00\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), true,
     "writable_len must be an unsigned integer, not above 4194368"},
    {B("\x85\x08\x01\x00\x01\x60"), true, "readable must be a byte string of known length"},
    {B("\x85\x08\x01\x00\x01\x5f"), true, "readable must be a byte string of known length"},
    {B("\x85\x08\x01\x00\x01\x5a\x00\x40\x02\x01"), true,
     "readable must be a byte string of known length, not above 4194816"},
    {B("\x85\x08\x01\x00\x01\x5b\xff\xff\xff\xff\xff\xff\xff\xf8"), true,
     "readable must be a byte string of known length, not above 4194816"},
    {B("\x83\x01\x01\xff"), true, "byte 0xff begins no item that may stand in a frame"},
    {B("\x83\x01\x01\xc1\x00"), true, "byte 0xc1 begins no item that may stand in a frame"},
    {B("\x83\x01\x01\x59\x04\x00"), true,
     "the head of an item promises more than the frame may hold"},
    {B("\x83\x01\x01\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), true,
     "the head of an item promises more than the frame may hold"},
    {B("\x83\x01\x01\xbb\xff\xff\xff\xff\xff\xff\xff\xff"), true,
     "the head of an item promises more than the frame may hold"},
    {B("\x83\x01\x01\xb9\x01\xff"), true,
     "the head of an item promises more than the frame may hold"},
    {B("\x84\x01\x01\x59\x03\xfa"), true,
     "the head of an item promises more than the frame may hold"},
    {B("\x83\x01\x01\x82\x59\x03\xf9"), true,
     "the head of an item promises more than the frame may hold"},
    {B("\x83\x01\x01\x81\x81\x81\x81\xa1\x61x\x81\x81\x81\x80"), true,
     "maps and arrays are nested more than 8 deep"},
};

static void test_scan_refusals(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct frame_view view;
        struct ice_why why = {0};

        is_int(scan_exact(refused[i].bytes.bytes, refused[i].bytes.len, &view, &why), SCAN_BAD,
               "scan %zu is refused", i);
        is_str(why.text, refused[i].text, "scan %zu says why", i);
        is_int(view.has_tag, refused[i].has_tag, "scan %zu %s its tag", i,
               refused[i].has_tag ? "knows" : "does not know");
    }
}

/* A frame of exactly FRAME_INLINE_MAX bytes passes, one byte more does not, however it is made. */
static void test_scan_size(void)
{
    uint8_t bytes[FRAME_INLINE_MAX + 8] = {0x83, 0x01, 0x01, 0x59, 0x03, 0xfa};
    struct frame_view view;
    struct ice_why why = {0};

    is_int(scan_exact(bytes, FRAME_INLINE_MAX, &view, NULL), SCAN_READY, "the longest frame");
    is_int((intmax_t)view.length, FRAME_INLINE_MAX, "it is FRAME_INLINE_MAX long");
    is_int(scan_exact(bytes, FRAME_INLINE_MAX - 1, &view, NULL), SCAN_MORE, "one byte less");
    bytes[5]++;
    is_int(scan_exact(bytes, 6, &view, NULL), SCAN_BAD, "one byte more is refused by its head");

    /* 1 + 1 + 1 + head of 3, then 1,017 integers of a byte and one of two. */
    static const uint8_t start[] = {0x83, 0x01, 0x01, 0x99, 0x03, 0xfa};
    memcpy(bytes, start, sizeof(start));
    is_int(scan_exact(bytes, FRAME_INLINE_MAX, &view, NULL), SCAN_READY, "many small items");
    bytes[FRAME_INLINE_MAX - 1] = 0x18;
    is_int(scan_exact(bytes, FRAME_INLINE_MAX, &view, &why), SCAN_BAD,
           "a last item that is cut at the limit");
    is_str(why.text, "an item is longer than the frame may be", "it says why");
    is_int(scan_exact(bytes, sizeof(bytes), &view, NULL), SCAN_BAD, "the same with bytes behind");
}

/* ---- hostile bytes ---- */

static uint64_t seed = 0x1ce51;

static uint32_t random32(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33);
}

/* Bytes that look like CBOR more often than chance has it. */
static uint8_t random_byte(void)
{
    static const uint8_t likely[] = {0x83, 0x85, 0x08, 0x01, 0x18, 0x19, 0x1b, 0x40, 0x5a,
                                     0x5b, 0x61, 0x7b, 0x82, 0x98, 0x9b, 0xa1, 0xbb, 0xf6};
    return random32() % 3 ? likely[random32() % sizeof(likely)] : (uint8_t)random32();
}

/* True when all that can be said about one case holds. */
static bool survive(const uint8_t *bytes, size_t len)
{
    struct reader reader = {bytes, bytes + len};
    struct frame_view view = {0};
    struct ice_why why = {0}, value;
    struct json *json = json_new();
    enum scan_result result = frame_scan(bytes, len, &view, &why);
    bool sane = true;

    if (result == SCAN_READY)
        sane = view.length <= len && view.length <= FRAME_INLINE_MAX && view.has_tag &&
               view.args_at <= view.length && view.bulk_length <= FRAME_DATA_MAX + FRAME_SECRET;
    else if (result == SCAN_BAD)
        sane = why.err && why.text[0];
    else
        sane = len < FRAME_INLINE_MAX;
    while (reader_skip(&reader, len, NULL, NULL) == READ_OK && reader.next < reader.end)
        ;
    reader = (struct reader){bytes, bytes + len};
    read_why(&reader, &value, NULL);
    reader = (struct reader){bytes, bytes + len};
    json_from_cbor(json, NULL, &reader);
    sane &= reader.next <= reader.end;
    free(json_finish(json));
    return sane;
}

/* How often one looks at an item of `len` bytes that come no faster than they are waited for. */
static unsigned looks(const uint8_t *bytes, size_t len)
{
    size_t arrived = 0, missing = 1;
    unsigned n = 0;

    for (;; n++) {
        struct reader reader = {bytes, bytes + arrived};

        if (reader_skip(&reader, len, &missing, NULL) != READ_MORE)
            return reader.next == bytes + len ? n : UINT_MAX;
        if (missing < 1 || missing > len - arrived)
            return UINT_MAX;
        arrived += missing;
    }
}

static void test_missing(void)
{
    static const uint8_t head[] = {0x99, 0x4e, 0x20}, slot[] = {0x64, 's', 'l', 'o', 't'};
    static uint8_t bytes[sizeof(head) + 20000 * sizeof(slot)];
    static const uint8_t nested[] = "\x82\xa2\x01\x82\x43"
                                    "abc\x19\x12\x34\x02\xf6\x58\x1e"
                                    "a string of thirty characters.";
    unsigned wrong = 0;

    for (size_t cut = 0; cut < sizeof(nested) - 1; cut++) {
        struct reader reader = {nested, nested + cut};
        size_t missing = 0;

        wrong += reader_skip(&reader, 1000, &missing, NULL) != READ_MORE || missing < 1 ||
                 missing > sizeof(nested) - 1 - cut;
    }
    is_int(wrong, 0, "wherever an item is cut off, no more is missing than is missing");
    ok(looks(nested, sizeof(nested) - 1) < sizeof(nested) - 1, "a nested item comes to its end");
    memcpy(bytes, head, sizeof(head));
    for (size_t at = sizeof(head); at < sizeof(bytes); at += sizeof(slot))
        memcpy(bytes + at, slot, sizeof(slot));
    ok(looks(bytes, sizeof(bytes)) < 100, "an item of 100 kB is looked at %u times, not 20,000",
       looks(bytes, sizeof(bytes)));
}

static void test_random(void)
{
    unsigned insane = 0;

    for (unsigned i = 0; i < HOSTILE_CASES; i++) {
        size_t len = 1 + random32() % (i % 100 ? 40 : 1500);
        uint8_t *bytes = malloc(len);

        for (size_t at = 0; at < len; at++)
            bytes[at] = random_byte();
        if (i % 2)
            bytes[0] = (uint8_t)(0x82 + random32() % 7);
        insane += !survive(bytes, len);
        free(bytes);
    }
    is_int(insane, 0, "%u hostile cases", HOSTILE_CASES);
}

int main(void)
{
    test_scan_valid();
    test_scan_request();
    test_scan_refusals();
    test_scan_size();
    test_missing();
    test_random();
    return tap_done();
}
