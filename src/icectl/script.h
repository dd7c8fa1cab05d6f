/* SPDX-License-Identifier: BSD-2-Clause */
/* A script's lines, from a descriptor that is read only when the caller says so. */
#ifndef ICESIM_ICECTL_SCRIPT_H
#define ICESIM_ICECTL_SCRIPT_H

#include "base/why.h"
#include <stdbool.h>
#include <stddef.h>

#define SCRIPT_LINE_MAX 65536u /* bytes, the line break included */

struct script {
    int fd;
    char *bytes; /* SCRIPT_LINE_MAX */
    size_t start, end;
    bool ended;
};

enum script_result {
    SCRIPT_LINE,
    SCRIPT_MORE, /* no whole line is there: call script_read */
    SCRIPT_END,
    SCRIPT_LONG, /* a line has more than SCRIPT_LINE_MAX bytes; nothing can follow */
};

/* `fd` stays the caller's. 0 or -ENOMEM. */
int script_init(struct script *script, int fd, struct ice_why *why);
void script_free(struct script *script);

/* The next line, without its break; valid until the next call. */
enum script_result script_next(struct script *script, const char **line, size_t *len);

/* One read(2). 0 or -errno. */
int script_read(struct script *script);

#endif
