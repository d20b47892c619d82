/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/span.h"

#include <stdlib.h>
#include <string.h>

char *span_dup(struct span span)
{
    char *copy = malloc(span.len + 1);

    if (!copy)
        abort();
    memcpy(copy, span.at, span.len);
    copy[span.len] = '\0';
    return copy;
}
