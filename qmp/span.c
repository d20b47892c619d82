/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/span.h"

#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"

char *span_dup(struct span span)
{
    char *copy = alloc_bytes(span.len + 1);

    memcpy(copy, span.at, span.len);
    copy[span.len] = '\0';
    return copy;
}
