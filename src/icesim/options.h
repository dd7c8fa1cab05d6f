/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of icesim, checked as far as it can be without touching anything. */
#ifndef ICESIM_ICESIM_OPTIONS_H
#define ICESIM_ICESIM_OPTIONS_H

#include "base/log.h"
#include "base/why.h"
#include "function_spec.h"
#include <stdio.h>

/* Where vhost-user front ends of a function come in. */
struct vhost_socket {
    const char *path; /* to listen at, SOCKET_PATH_MAX bytes at most; NULL: none */
    int fd;           /* open, above 2; -1: none */
};

struct options {
    const char *image; /* NULL: RAM */
    uint64_t size;     /* bytes, 0: the image's */
    unsigned slots;
    unsigned reserve_first, reserve_count; /* within the slots */
    const struct dialect *dialect;         /* of functions that do not say */
    bool strict;                           /* the same */
    struct function_spec *functions;       /* settled, names differ; one at least */
    unsigned function_count;
    struct vhost_socket *sockets; /* of each function, one way at most */
    bool unsafe_overlap, unsafe_monitor;
    const char *state; /* NULL: the default */
    bool bitlocker_iv_from_dun;
    const char *dir; /* NULL: the default */
    const char *mount;
    bool allow_root;
    const char *run;
    const char *pidfile;
    bool no_mlock;
    unsigned stop_timeout; /* seconds */
    enum log_level log_level;
    bool help, version, print_capabilities; /* then nothing else is checked */
};

/*
 * The strings are argv's; options_free frees the rest. 0, or -EINVAL with a clause that names the
 * option: then there is nothing to free.
 */
int options_parse(int argc, char **argv, struct options *options, struct ice_why *why);
void options_free(struct options *options);

void options_help(FILE *to);

/* What managers of vhost-user back ends ask for. */
void options_print_capabilities(FILE *to);

#endif
