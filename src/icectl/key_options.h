/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of a command that takes a key: what it is for, and the file that holds it. */
#ifndef ICESIM_ICECTL_KEY_OPTIONS_H
#define ICESIM_ICECTL_KEY_OPTIONS_H

#include "args.h"
#include "base/algorithm.h"

/* Part of a command's table. */
struct key_options {
    struct arg_str *alg, *key_file, *data_unit;
    struct arg_lit *wrapped;
};

#define KEY_OPTIONS                                                                                \
    {                                                                                              \
        .alg = arg_str1(NULL, "alg", "ALG", "algorithm; icectl caps lists them"),                  \
        .key_file = arg_str1(NULL, "key-file", "FILE|-", "the key"),                               \
        .data_unit = arg_str0(NULL, "data-unit", "BYTES", "size of a data unit (4096)"),           \
        .wrapped = arg_lit0(NULL, "wrapped", "the file holds an ephemeral wrapped key"),           \
    }

/* What they say of the key, but for its bytes. A failure is told. */
enum status read_key_options(const struct icectl *icectl, const struct key_options *options,
                             const struct algorithm **algorithm, uint32_t *data_unit);

/* The key's bytes, as read_key_file returns them. */
uint8_t *read_key(const struct key_options *options, const struct algorithm *algorithm, size_t *len,
                  struct ice_why *why);

#endif
