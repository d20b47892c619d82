/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log: one line a message on standard error, "qmp-proxy: LEVEL: TEXT".
 *
 * What is logged are names and outcomes, and with level trace what the proxy itself sends to QEMU;
 * never arguments of clients' commands: those may hold secrets.
 */
#ifndef PROXY_LOG_H
#define PROXY_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_TRACE,
                 LOG_LEVEL__COUNT };

extern const char *const log_level_name[LOG_LEVEL__COUNT];

void log_set_level(enum log_level level);
bool log_level_parse(const char *text, enum log_level *out);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
