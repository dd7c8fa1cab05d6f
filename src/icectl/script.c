/* SPDX-License-Identifier: BSD-2-Clause */
#include "script.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int script_init(struct script *script, int fd, struct ice_why *why)
{
    *script = (struct script){.fd = fd, .bytes = malloc(SCRIPT_LINE_MAX)};
    return script->bytes ? 0 : why_set(why, ENOMEM, "no memory for a line");
}

void script_free(struct script *script)
{
    free(script->bytes);
    script->bytes = NULL;
}

enum script_result script_next(struct script *script, const char **line, size_t *len)
{
    char *start = script->bytes + script->start;
    size_t left = script->end - script->start;
    const char *end = memchr(start, '\n', left);

    if (!end && !script->ended)
        return left == SCRIPT_LINE_MAX ? SCRIPT_LONG : SCRIPT_MORE;
    if (!end && left == 0)
        return SCRIPT_END;
    *line = start;
    *len = end ? (size_t)(end - start) : left;
    script->start += *len + (end != NULL);
    return SCRIPT_LINE;
}

int script_read(struct script *script)
{
    ssize_t got;

    memmove(script->bytes, script->bytes + script->start, script->end - script->start);
    script->end -= script->start;
    script->start = 0;
    got = read(script->fd, script->bytes + script->end, SCRIPT_LINE_MAX - script->end);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    script->end += (size_t)got;
    script->ended = got == 0;
    return 0;
}
