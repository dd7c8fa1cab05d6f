/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CBOR codec: a pull reader over bytes in memory, a writer into a buffer of fixed size, and the
 * scan that finds a frame's end in what has arrived so far. Nothing here allocates. Only definite
 * lengths, unsigned and negative integers, byte and text strings, arrays, maps, true, false and
 * null pass; all else (tags, floats, breaks, indefinite lengths, undefined, text that is not UTF-8)
 * is malformed. Any thread, as long as each reader, writer and document has one at a time.
 */
#ifndef ICESIM_FRAME_FRAME_H
#define ICESIM_FRAME_FRAME_H

#include "base/why.h"
#include "protocol.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Once, before there is a key in the process: afterwards no call of the codec leaves a trace of the
 * registers on the stack.
 */
void frame_bind(void);

/* ---- reading ---- */

enum item_type {
    ITEM_UINT,
    ITEM_NEGATIVE, /* value n stands for -1 - n */
    ITEM_BYTES,    /* value: length; bytes: where they stand */
    ITEM_TEXT,
    ITEM_ARRAY, /* value: elements that follow */
    ITEM_MAP,   /* value: pairs that follow */
    ITEM_BOOL,
    ITEM_NULL,
};

struct item {
    enum item_type type;
    uint64_t value;
    const uint8_t *bytes;
};

struct reader {
    const uint8_t *next, *end;
};

enum read_result {
    READ_OK,
    READ_MORE, /* the item is cut off at the end of the bytes: nothing consumed */
    READ_BAD,  /* not an item that may stand in a frame */
};

/* The next item. Of strings all the bytes must be there, else READ_MORE. */
enum read_result reader_next(struct reader *reader, struct item *item);

/*
 * As reader_next, but of a string only the head must be there; its bytes are neither looked at nor
 * consumed.
 */
enum read_result reader_next_head(struct reader *reader, struct item *item);

/*
 * Steps over one item with all that is in it, nested at most FRAME_NESTING deep and at most `limit`
 * bytes long. READ_MORE when it is cut off and `limit` still leaves room for the rest; READ_BAD,
 * with `why`, as soon as a head promises more than that. Neither consumes anything. With READ_MORE
 * `*missing`, unless it is NULL, is how many bytes must come at least: who looks again only then
 * takes a time that grows with the item's length, and not with its square.
 */
enum read_result reader_skip(struct reader *reader, size_t limit, size_t *missing,
                             struct ice_why *why);

/*
 * Typed reads for messages that are whole: 0, or -EPROTO with what was wanted in `why` and nothing
 * consumed. The counts of read_array and read_map are at most what the bytes that remain can hold.
 */
int read_uint(struct reader *reader, uint64_t max, uint64_t *value, struct ice_why *why);
int read_bool(struct reader *reader, bool *value, struct ice_why *why);
int read_bytes(struct reader *reader, const uint8_t **bytes, size_t *len, struct ice_why *why);
int read_text(struct reader *reader, const char **text, size_t *len, struct ice_why *why);
int read_array(struct reader *reader, uint64_t *elements, struct ice_why *why);
int read_map(struct reader *reader, uint64_t *pairs, struct ice_why *why);
/*
 * null, or [errno, text]; null leaves value->err 0. Text is cut to what `value` holds, control
 * characters become '?': it is meant for one line on a terminal.
 */
int read_why(struct reader *reader, struct ice_why *value, struct ice_why *why);
/* errno, text: the arguments of an ERROR, as read_why reads those of its array. */
int read_error(struct reader *reader, struct ice_why *value, struct ice_why *why);
/* Steps over one item with all that is in it, nested at most FRAME_NESTING deep. */
int read_skip(struct reader *reader, struct ice_why *why);
/* -EPROTO when bytes remain. */
int read_end(const struct reader *reader, struct ice_why *why);

enum scan_result { SCAN_READY, SCAN_MORE, SCAN_BAD };

struct frame_view {
    bool has_tag; /* message and tag are known: also when the scan ends SCAN_BAD */
    uint64_t message;
    uint64_t tag;
    unsigned args;  /* elements after the tag */
    size_t args_at; /* offset of the first of them */
    size_t length;  /* bytes of the frame, but for the bulk */
    bool bulk;      /* a REQUEST, from a client: its last byte string follows `length` */
    size_t bulk_length;
    uint16_t queue; /* of a REQUEST */
    uint32_t writable_len;
};

/*
 * Looks at the `len` bytes that have arrived of a client's frame. SCAN_READY: `view` is filled;
 * bulk bytes may be missing yet, all others are there. SCAN_MORE: not yet, len < FRAME_INLINE_MAX.
 * SCAN_BAD: malformed or over a limit, `why` says what. Limits are held against heads before any
 * byte of content is waited for.
 */
enum scan_result frame_scan(const uint8_t *bytes, size_t len, struct frame_view *view,
                            struct ice_why *why);

/* ---- writing ---- */

/* Writes until an item does not fit any more; from then on only notes that. */
struct writer {
    uint8_t *next, *end;
    bool full;
};

void write_uint(struct writer *writer, uint64_t value);
void write_int(struct writer *writer, int64_t value);
void write_bytes(struct writer *writer, const void *bytes, size_t len);
void write_bytes_head(struct writer *writer, size_t len); /* the bytes come by another way */
void write_text(struct writer *writer, const char *text); /* what is not UTF-8 becomes '?' */
void write_array(struct writer *writer, size_t elements);
void write_map(struct writer *writer, size_t pairs);
void write_bool(struct writer *writer, bool value);
void write_null(struct writer *writer);
/* null for NULL, else [errno, text] */
void write_why(struct writer *writer, const struct ice_why *why);

/* ---- documents ---- */

/*
 * A growing CBOR document, for control replies of any length. All zeros is an empty one. The server
 * fills one; a client or status.json prints it. Byte strings are key bytes, as nothing else needs
 * them: with the first one a document moves to secret memory.
 */
struct document {
    uint8_t *bytes;
    size_t len, capacity;
    bool secret; /* `bytes` is secret memory */
    bool failed; /* out of memory: later calls do nothing */
};

void document_uint(struct document *document, uint64_t value);
void document_hex(struct document *document, uint64_t value); /* as text "0x…": 64-bit values */
void document_text(struct document *document, const char *text);
void document_array(struct document *document, size_t elements);
void document_map(struct document *document, size_t pairs);
void document_bool(struct document *document, bool value);
void document_null(struct document *document);
void document_bytes(struct document *document, const void *bytes, size_t len);
/* The items of `part`; one that failed fails this too. */
void document_append(struct document *document, const struct document *part);
/* Wipes it if it is secret. */
void document_free(struct document *document);

struct json;
/*
 * Prints one item with all that is in it as JSON under `key` (NULL: none). 0 or -EPROTO (then the
 * JSON is not whole): malformed, cut off, nested too deep, a byte string, a map key that is no text
 * or is longer than FRAME_KEY_MAX, an integer below -2^63.
 */
int json_from_cbor(struct json *json, const char *key, struct reader *reader);

#endif
