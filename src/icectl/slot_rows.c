/* SPDX-License-Identifier: BSD-2-Clause */
#include "slot_rows.h"
#include "base/bytes.h"

#include <stdio.h>

static bool is(const char *key, size_t len, const char *name)
{
    return strlen(name) == len && !memcmp(key, name, len);
}

static char *text_field(struct slot_row *row, const char *key, size_t len)
{
    return is(key, len, "alg")           ? row->alg
           : is(key, len, "key_type")    ? row->key_type
           : is(key, len, "fingerprint") ? row->fingerprint
           : is(key, len, "owner")       ? row->owner
                                         : NULL;
}

static uint64_t *uint_field(struct slot_row *row, const char *key, size_t len)
{
    return is(key, len, "slot")        ? &row->slot
           : is(key, len, "physical")  ? &row->physical
           : is(key, len, "data_unit") ? &row->data_unit
           : is(key, len, "in_flight") ? &row->in_flight
                                       : NULL;
}

/* Values of another type than a key's are as good as none. */
static void take_value(struct slot_row *row, const char *key, size_t len, const struct item *item)
{
    char *text = text_field(row, key, len);
    uint64_t *number = uint_field(row, key, len);

    if (text && item->type == ITEM_TEXT)
        snprintf(text, ROW_TEXT, "%.*s", (int)min_u64(item->value, ROW_TEXT), item->bytes);
    else if (number && item->type == ITEM_UINT)
        *number = item->value;
    else if (is(key, len, "programmed") && item->type == ITEM_BOOL)
        row->programmed = item->value;
}

int read_slot_row(struct reader *reader, struct slot_row *row, struct ice_why *why)
{
    uint64_t pairs;
    int err = read_map(reader, &pairs, why);

    *row = (struct slot_row){.physical = UINT64_MAX};
    for (; !err && pairs; pairs--) {
        const char *key;
        struct reader value;
        struct item item;
        size_t len;

        err = read_text(reader, &key, &len, why);
        value = *reader;
        if (!err)
            err = read_skip(reader, why);
        if (!err && reader_next(&value, &item) == READ_OK)
            take_value(row, key, len, &item);
    }
    if (row->physical == UINT64_MAX)
        row->physical = row->slot;
    return err;
}

int find_slot_row(struct reader result, uint64_t slot, struct slot_row *row, bool *found,
                  struct ice_why *why)
{
    uint64_t rows;
    int err = read_array(&result, &rows, why);

    *found = false;
    for (; !err && !*found && rows; rows--) {
        err = read_slot_row(&result, row, why);
        *found = !err && row->slot == slot;
    }
    return err;
}
