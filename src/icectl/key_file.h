/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ICESIM_ICECTL_KEY_FILE_H
#define ICESIM_ICECTL_KEY_FILE_H

#include "base/algorithm.h"
#include "base/why.h"

/*
 * Reads the raw key of `algorithm` from file `path` ("-": standard input), which must hold exactly
 * that. Returns secret memory, to be freed with secret_free; NULL: `why` says what is wrong. Read
 * with read(2): stdio would keep a copy.
 */
uint8_t *read_key_file(const char *path, const struct algorithm *algorithm, struct ice_why *why);

#endif
