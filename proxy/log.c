/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const log_level_name[LOG_LEVEL__COUNT] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warning",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_TRACE] = "trace",
};

#define LOG_LINE_MAX 16384

static enum log_level log_limit = LOG_LEVEL_WARN;

void log_set_level(enum log_level level)
{
    log_limit = level;
}

bool log_level_parse(const char *text, enum log_level *out)
{
    for (int i = 0; i < LOG_LEVEL__COUNT; i++) {
        if (strcmp(text, log_level_name[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* One write() a line, so that lines of several threads and of QEMU do not mix. */
static void __attribute__((format(printf, 2, 0)))
log_line(enum log_level level, const char *fmt, va_list ap)
{
    char line[LOG_LINE_MAX];
    int head, body;
    size_t len;

    if (level > log_limit)
        return;
    head = snprintf(line, sizeof(line), "qmp-proxy: %s: ", log_level_name[level]);
    body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, ap);
    if (body < 0)
        return;
    len = strlen(line);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0)
        return; /* nowhere to say it */
}

#define LOG_FUNCTION(name, level)       \
    void name(const char *fmt, ...)     \
    {                                   \
        va_list ap;                     \
                                        \
        va_start(ap, fmt);              \
        log_line(level, fmt, ap);       \
        va_end(ap);                     \
    }

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
LOG_FUNCTION(log_trace, LOG_LEVEL_TRACE)
