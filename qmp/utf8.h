/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * utf8: characters in QEMU's modified UTF-8, where U+0000 is written C0 80.
 *
 * Facts (QEMU util/unicode.c): surrogates, U+FDD0 to U+FDEF and the last two of each plane are no
 * characters; a wrong sequence ends before the first byte that doesn't continue it.
 */
#ifndef QMP_UTF8_H
#define QMP_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Is it a character that may be written? */
bool utf8_valid(int32_t c);

/* The character at s, of which n > 0 bytes are there, or -1; *used is how long it, or what is wrong
 * there, is. */
int32_t utf8_decode(const char *s, size_t n, size_t *used);

/* Writes a valid character, returns its length.  No NUL is added. */
size_t utf8_encode(char out[4], int32_t c);

/* Copies text up to a NUL for people to read: what is wrong becomes U+FFFD; U+0000 stays C0 80.  It is
 * cut at a character to fit into size. */
void utf8_clean(char *out, size_t size, const char *text, size_t len);

#endif
