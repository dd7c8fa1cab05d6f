/* SPDX-License-Identifier: BSD-2-Clause */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef ICESIM_BASE_UTF8_H
#define ICESIM_BASE_UTF8_H

#include <stddef.h>

/* Length of the valid character at `s`, where `len` > 0 bytes stand, or 0. */
size_t utf8_length(const unsigned char *s, size_t len);

/* Bytes at the start of `s` that are whole valid characters: `len` when all are. */
size_t utf8_valid(const unsigned char *s, size_t len);

#endif
