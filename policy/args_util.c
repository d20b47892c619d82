/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE     /* vasprintf() */
#endif
#include "policy/args_util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"

char *args_util_dup(const char *text)
{
    return text ? args_util_ndup(text, strlen(text)) : NULL;
}

char *args_util_ndup(const char *text, size_t len)
{
    char *copy = args_util_grow(NULL, len + 1, 1);

    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *args_util_format(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        alloc_fail();
    va_end(ap);
    return text;
}

void *args_util_grow(void *old, size_t n, size_t size)
{
    void *grown = alloc_array(old, n ? n : 1, size);

    return grown;
}

bool args_util_prefix(const char *text, const char *prefix, const char **rest)
{
    size_t len = strlen(prefix);

    if (strncmp(text, prefix, len) != 0)
        return false;
    if (rest)
        *rest = text + len;
    return true;
}

bool args_util_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool args_util_listed(const char *word, const char *const *list)
{
    for (; *list; list++) {
        if (strcmp(word, *list) == 0)
            return true;
    }
    return false;
}

void args_util_free_text(char **text)
{
    free(*text);
}
