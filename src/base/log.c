/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line is made on the caller's stack and leaves in one write(2), so that lines of several threads
 * do not mix. What clients send may end up in it: control characters cannot forge a line.
 */
#include "base/log.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 1024

static const char *const level_names[] = {
    [LOG_ERROR] = "error",
    [LOG_WARNING] = "warning",
    [LOG_INFO] = "info",
    [LOG_DEBUG] = "debug",
};

static atomic_int log_threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_threshold, (int)level, memory_order_relaxed);
}

int log_level_parse(const char *name, enum log_level *level)
{
    for (unsigned i = 0; i < ARRAY_SIZE(level_names); i++) {
        if (!strcmp(level_names[i], name)) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

static size_t write_prefix(char *line, size_t size, enum log_level level)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    len += (size_t)snprintf(line + len, size - len, ".%03ldZ icesim: %s: ", now.tv_nsec / 1000000,
                            level_names[level]);
    return len;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if ((int)level > atomic_load_explicit(&log_threshold, memory_order_relaxed))
        return;

    int saved = errno;
    char line[LINE_MAX_LEN];
    size_t start = write_prefix(line, sizeof(line), level);
    size_t room = sizeof(line) - start;

    va_list ap;
    va_start(ap, fmt);
    int made = vsnprintf(line + start, room, fmt, ap);
    va_end(ap);
    size_t len = start + (made < 0 ? 0 : min_u64((uint64_t)made, room - 1));

    for (size_t i = start; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[len++] = '\n';
    /* There is nowhere to report a failure to. */
    while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
        ;
    errno = saved;
}
