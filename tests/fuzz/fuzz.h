/* SPDX-License-Identifier: BSD-2-Clause */
/* What the targets share. An invariant that does not hold ends the process, as a crash does. */
#ifndef ICESIM_TESTS_FUZZ_H
#define ICESIM_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Takes bytes off the front of an input; zeros when it has ended. */
struct input {
    const uint8_t *next;
    size_t left;
};

static inline uint8_t input_byte(struct input *input)
{
    if (!input->left)
        return 0;
    input->left--;
    return *input->next++;
}

static inline uint16_t input_word(struct input *input)
{
    uint8_t low = input_byte(input);
    return (uint16_t)(low | input_byte(input) << 8);
}

/* A copy of exactly `len` bytes, so that a step beyond them is seen; the caller frees it. */
static inline uint8_t *input_copy(struct input *input, size_t len)
{
    uint8_t *copy = malloc(len ? len : 1);
    HOLDS(copy);
    for (size_t i = 0; i < len; i++)
        copy[i] = input_byte(input);
    return copy;
}

#endif
