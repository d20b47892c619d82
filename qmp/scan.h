/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * scan: skipping over JSON that is trusted to be well-formed, such as what QEMU prints.
 *
 * Model: a position in a text and its end.  Nothing is validated that need not be looked at, but
 * nothing is ever read beyond the end, whatever the text is.
 *
 * Rules: functions that cannot go on return NULL.  Strings are in double quotes.
 */
#ifndef QMP_SCAN_H
#define QMP_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "qmp/span.h"

const char *scan_space(const char *p, const char *end);

/* Returns the end of the value that begins at p. */
const char *scan_value(const char *p, const char *end);

/* Reads the member that begins at p; returns its end. */
const char *scan_member(const char *p, const char *end, struct span *key, struct span *value);

/* Is it the key of that name, written without escapes? */
bool scan_key_is(struct span key, const char *name);

/*
 * Goes from element to element: *p starts behind the opening bracket or brace and is where the next
 * one begins when the result is true.  after is the end of the element before, NULL at first.
 * False at the closing character, with *p behind it, and with *p NULL where something else stands.
 */
bool scan_next(const char **p, const char *after, const char *end, char close);

#endif
