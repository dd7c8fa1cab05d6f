/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of icesim, checked as far as it can be without touching anything. */
#ifndef ICESIM_ICESIM_OPTIONS_H
#define ICESIM_ICESIM_OPTIONS_H

#include "base/log.h"
#include "base/why.h"
#include "dialect/dialect.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct options {
    const char *image; /* NULL: RAM */
    uint64_t size;     /* bytes, 0: the image's */
    unsigned slots;
    const struct dialect *dialect;
    const char *dir; /* NULL: the default */
    const char *mount;
    bool allow_root;
    const char *run;
    const char *pidfile;
    bool no_mlock;
    unsigned stop_timeout; /* seconds */
    enum log_level log_level;
    bool help, version; /* then nothing else is checked */
};

/* The strings are argv's. 0, or -EINVAL with a clause that names the option. */
int options_parse(int argc, char **argv, struct options *options, struct ice_why *why);

void options_help(FILE *to);

#endif
