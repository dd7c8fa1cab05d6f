/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of a SLOT_LIST result. */
#ifndef ICESIM_ICECTL_SLOT_ROWS_H
#define ICESIM_ICECTL_SLOT_ROWS_H

#include "frame/frame.h"

#define ROW_TEXT 64

struct slot_row {
    uint64_t slot, physical; /* on the function's wire; in the engine */
    uint64_t data_unit, in_flight;
    bool programmed;
    char alg[ROW_TEXT], key_type[ROW_TEXT], fingerprint[ROW_TEXT],
        owner[ROW_TEXT]; /* "" for null */
};

/* The next row of the array whose head has been read. 0 or -EPROTO. */
int read_slot_row(struct reader *reader, struct slot_row *row, struct ice_why *why);

/* The row of `slot` in a whole result; *found: whether there is one. 0 or -EPROTO. */
int find_slot_row(struct reader result, uint64_t slot, struct slot_row *row, bool *found,
                  struct ice_why *why);

#endif
