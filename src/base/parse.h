/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What people type: numbers, sizes, names. Each function takes the whole string or nothing: signs,
 * spaces, trailing text and overflow are refused. 0 or -EINVAL / -ERANGE with a `why` that
 * quotes the text.
 */
#ifndef ICESIM_BASE_PARSE_H
#define ICESIM_BASE_PARSE_H

#include "dun.h"
#include "why.h"
#include <stdint.h>

/* Decimal, or hexadecimal with 0x; at most `max`. */
int parse_number(const char *text, uint64_t max, uint64_t *value, struct ice_why *why);

/* The same of at most 256 bits. */
int parse_dun(const char *text, struct dun *dun, struct ice_why *why);

/* A number of bytes with an optional suffix K, M, G or T (powers of 1024, either case). */
int parse_size(const char *text, uint64_t *bytes, struct ice_why *why);

/* FIRST+COUNT, as of slots or sectors; -ERANGE when FIRST + COUNT is above `end`. */
int parse_range(const char *text, uint64_t end, uint64_t *first, uint64_t *count,
                struct ice_why *why);

/*
 * A name of a function, view or layer: [a-z][a-z0-9_-]{0,31}, and none of the reserved words, as
 * it becomes a socket, a folder and a file.
 */
int parse_name(const char *text, struct ice_why *why);

#endif
