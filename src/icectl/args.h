/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Command lines by argtable2, but strict: no abbreviations, one line per failure. A table begins
 * with the `--help` flag and ends with an arg_end.
 */
#ifndef ICESIM_ICECTL_ARGS_H
#define ICESIM_ICECTL_ARGS_H

#include "common.h"
#include <argtable2.h>
#include <stdbool.h>

struct command_entry;

/* Reads argv, whose [0] is no option, into the table. After `--help` nothing is checked. */
enum status args_read(const struct icectl *icectl, int argc, char **argv, void **table);

/*
 * The same for a command, which prints its help itself. True: the command may run. False: it has
 * ended with *status: help was printed, or a failure told.
 */
bool args_parse(const struct icectl *icectl, const struct command_entry *entry, int argc,
                char **argv, void **table, enum status *status);

/*
 * The index of the first argument that is neither an option of the table nor the value of one;
 * argc: none. With *unknown set it is an option that the table does not have.
 */
int args_first_operand(int argc, char **argv, void **table, bool *unknown);

/* Prints the table's options, a line each. */
void args_print_options(FILE *out, void **table);

/* The value of -f, if it was given. */
enum status args_function(struct icectl *icectl, const struct arg_str *option);

/*
 * The value of an option that was given; else *value stays. A STATUS_USAGE names the option.
 */
enum status args_number(const struct icectl *icectl, const struct arg_str *option, uint64_t max,
                        uint64_t *value);
enum status args_dun(const struct icectl *icectl, const struct arg_str *option, struct dun *dun);
enum status args_size(const struct icectl *icectl, const struct arg_str *option, uint64_t *bytes);
enum status args_slot(const struct icectl *icectl, const struct arg_str *option, uint32_t *slot);
/* A data unit: a size that is a power of two from 512 to 2 GiB. */
enum status args_data_unit(const struct icectl *icectl, const struct arg_str *option,
                           uint32_t *bytes);

#endif
