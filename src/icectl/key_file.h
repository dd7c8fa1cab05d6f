/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys in files, by read(2) and write(2): stdio would keep a copy. */
#ifndef ICESIM_ICECTL_KEY_FILE_H
#define ICESIM_ICECTL_KEY_FILE_H

#include "base/why.h"
#include <stddef.h>
#include <stdint.h>

/*
 * Reads a key of `least` to `most` bytes (least: most, or 1) from file `path` ("-": standard
 * input), which must hold no more; `of` is whose key it is, for messages ("aes-256-xts", "a wrapped
 * key"). Returns secret memory, to be freed with secret_free; NULL: `why` says what is wrong.
 */
uint8_t *read_key_file(const char *path, size_t least, size_t most, const char *of, size_t *len,
                       struct ice_why *why);

/*
 * Writes a key to a new file, of mode 0600, or to standard output (`path` NULL). 0 or -errno:
 * -EEXIST when the file is there. A file that could not be written whole is removed.
 */
int write_key_file(const char *path, const uint8_t *key, size_t len, struct ice_why *why);

#endif
