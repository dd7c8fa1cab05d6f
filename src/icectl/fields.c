/* SPDX-License-Identifier: BSD-2-Clause */
#include "fields.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>

static void append(const struct field *field, const struct item *item)
{
    size_t len = strlen(field->text);

    snprintf(field->text + len, field->room - len, "%s%.*s", len ? "," : "",
             (int)min_u64(item->value, field->room), (const char *)item->bytes);
}

static void take_texts(const struct field *field, struct reader *reader, uint64_t elements)
{
    struct item item;

    for (; elements && reader_next(reader, &item) == READ_OK; elements--)
        if (item.type == ITEM_TEXT)
            append(field, &item);
}

static void take(const struct field *field, struct reader *value)
{
    struct item item;

    if (reader_next(value, &item) != READ_OK)
        return;
    if (field->number && item.type == ITEM_UINT)
        *field->number = item.value;
    if (!field->text || (item.type != ITEM_TEXT && item.type != ITEM_ARRAY))
        return;
    *field->text = '\0';
    if (item.type == ITEM_TEXT)
        append(field, &item);
    else
        take_texts(field, value, item.value);
}

int read_fields(struct reader *reader, const struct field *fields, unsigned n, struct ice_why *why)
{
    uint64_t pairs;
    int err = read_map(reader, &pairs, why);

    for (; !err && pairs; pairs--) {
        struct reader value;
        const char *key;
        size_t len;

        err = read_text(reader, &key, &len, why);
        value = *reader;
        if (!err)
            err = read_skip(reader, why);
        for (unsigned i = 0; !err && i < n; i++)
            if (strlen(fields[i].key) == len && !memcmp(fields[i].key, key, len))
                take(&fields[i], &value);
    }
    return err;
}

uint64_t hex_cell(const char *text)
{
    return strtoull(text, NULL, 16);
}
