/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands: one function each, and the table that finds them and tells about them. */
#ifndef ICESIM_ICECTL_COMMANDS_H
#define ICESIM_ICECTL_COMMANDS_H

#include "common.h"

struct command_entry {
    const char *name; /* one or two words */
    /* argv[0] is the last word of the name. Prints to icectl->out; failures are told. */
    enum status (*run)(struct icectl *icectl, const struct command_entry *entry, int argc,
                       char **argv);
    const char *synopsis, *help;
};

/* All of icectl; returns the exit status. */
int icectl_run(int argc, char **argv);

/* The command that argv begins with, and how many words it has; NULL: none. */
const struct command_entry *command_find(int argc, char **argv, int *words);

/* When there is none: `slot --help` is answered, all else told. */
enum status command_unknown(struct icectl *icectl, int argc, char **argv);

typedef enum status command_function(struct icectl *icectl, const struct command_entry *entry,
                                     int argc, char **argv);

command_function command_wait;
command_function command_info;
command_function command_caps;
command_function command_slot_list;
command_function command_slot_program;
command_function command_slot_evict;
command_function command_key_generate;
command_function command_key_convert; /* import, prepare, derive: by entry->name */
command_function command_io_read;
command_function command_io_write;
command_function command_io_flush;
command_function command_io_id;
command_function command_io_lifetime;
command_function command_io_range; /* discard, zero, erase: by entry->name */
command_function command_function_list;
command_function command_function_add;
command_function command_function_remove;
command_function command_view_list;
command_function command_view_add;
command_function command_view_remove;
command_function command_layer_list;
command_function command_layer_add;
command_function command_layer_remove;
command_function command_resize;
command_function command_reset;
command_function command_stats;
command_function command_batch;

#endif
