/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pretty: a message as QEMU's monitors with pretty=on print it.
 *
 * Four spaces a level, each member and element on a line of its own, lines end in "\r\n"; an empty
 * object or array still takes two lines (qobject/json-writer.c).
 */
#ifndef QMP_PRETTY_H
#define QMP_PRETTY_H

#include <stddef.h>

/* new, from malloc: text is one message of plain JSON, with or without its line's end. */
char *pretty_message(const char *text, size_t text_len, size_t *len);

#endif
