/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * span: a piece of somebody else's text.
 *
 * Never ends in NUL; `at` is NULL when there is no such piece, which an empty piece is not.  What
 * it is borrowed from, and until when, is said where a span is handed out.
 */
#ifndef QMP_SPAN_H
#define QMP_SPAN_H

#include <stddef.h>

struct span {
    const char *at;
    size_t len;
};

/* new, from malloc: the piece with a NUL behind it. */
char *span_dup(struct span span);

#endif
