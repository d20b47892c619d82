/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jstring: the text between a JSON string's quotes.
 *
 * Model: a token of kind TOKEN_STRING, quotes included, single or double.  It is checked once;
 * everything else relies on that.  The escapes are JSON's and \' ; decoded text is UTF-8, with
 * U+0000 as C0 80.
 */
#ifndef QMP_JSTRING_H
#define QMP_JSTRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qmp/err.h"
#include "qmp/span.h"

/* Reads a checked string character by character. */
struct jstring {
    const char *at;
    const char *end;
};

/* Checks the content of a string token, with the errors of QEMU's parser. */
bool jstring_check(struct span token, struct err *err);

struct jstring jstring_start(struct span token);

/* The next character, or -1 at the end. */
int32_t jstring_next(struct jstring *s);

bool jstring_equal(struct span a, struct span b);
bool jstring_is(struct span token, const char *text);
uint64_t jstring_hash(struct span token, uint64_t seed);

/* Decodes into out, always ended by NUL; returns the length that the whole text has.  Text that
 * doesn't fit into size is cut at a character. */
size_t jstring_decode(struct span token, char *out, size_t size);

#endif
