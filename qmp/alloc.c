/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/alloc.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void alloc_fail(void)
{
    /* Nothing of that asks for memory: stderr has no buffer. */
    fputs(program_invocation_short_name, stderr);
    fputs(": error: out of memory\n", stderr);
    abort();
}

static void *alloc_checked(void *got)
{
    if (!got)
        alloc_fail();
    return got;
}

/* With a size of 0 libc may return NULL, or free what there was. */
void *alloc_bytes(size_t size)
{
    return alloc_checked(malloc(size ? size : 1));
}

void *alloc_zeroed(size_t n, size_t size)
{
    return alloc_checked(calloc(n ? n : 1, size ? size : 1));
}

void *alloc_again(void *old, size_t size)
{
    return alloc_checked(realloc(old, size ? size : 1));
}

void *alloc_array(void *old, size_t n, size_t size)
{
    return alloc_checked(reallocarray(old, n ? n : 1, size ? size : 1));
}

char *alloc_copy(const char *text)
{
    return alloc_checked(strdup(text));
}

char *alloc_copy_n(const char *text, size_t len)
{
    return alloc_checked(strndup(text, len));
}

char *alloc_print(const char *fmt, ...)
{
    char *text;
    va_list ap;

    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        alloc_fail();
    va_end(ap);
    return text;
}

static void __attribute__((constructor)) alloc_for_jansson(void)
{
    json_set_alloc_funcs(alloc_bytes, free);
}
