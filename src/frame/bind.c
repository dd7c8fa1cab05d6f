/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where libcbor is bound lazily, the first call of each of its functions by another goes through
 * the dynamic linker, which saves the vector registers on the stack; memcpy may have left key bytes
 * in them. So all that are ever called are called before there is a key.
 */
#include "base/bytes.h"
#include "frame.h"

void frame_bind(void)
{
    static const uint64_t widths[] = {0, 1u << 7, 1u << 15, 1u << 31, UINT64_C(1) << 63};
    uint8_t bytes[ARRAY_SIZE(widths) * 9 * 6 + 8];
    struct writer writer = {.next = bytes, .end = bytes + sizeof(bytes)};
    struct item item;

    for (unsigned i = 0; i < ARRAY_SIZE(widths); i++) {
        write_uint(&writer, widths[i]);
        write_int(&writer, ~(int64_t)(widths[i] >> 1));
        write_bytes_head(&writer, widths[i]);
        write_array(&writer, widths[i]);
        write_map(&writer, widths[i]);
    }
    write_bool(&writer, true);
    write_null(&writer);
    write_text(&writer, "");
    for (struct reader reader = {bytes, writer.next}; reader_next_head(&reader, &item) == READ_OK;)
        ;
}
