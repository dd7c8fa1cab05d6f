/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log: one line per event on stderr, `2026-01-31T09:00:00.123Z icesim: info: text`. Never holds
 * key bytes. Any thread; a line is one write(2).
 */
#ifndef ICESIM_BASE_LOG_H
#define ICESIM_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

/* Lines above `level` are dropped. Default LOG_INFO. */
void log_set_level(enum log_level level);

/* 0 and the level for "error", "warning", "info", "debug"; -1 for anything else. */
int log_level_parse(const char *name, enum log_level *level);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *fmt, ...);

#define log_error(...)   log_line(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)

#endif
