/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * parse: is a sequence of tokens a JSON value, in QEMU's dialect?
 *
 * Model: one pass without recursion and without a tree.  The first mistake ends it, with the words
 * of QEMU's parser (qobject/json-parser.c) after "JSON parse error, ".  The members of an object at
 * the top are handed to the caller as they are completed.
 *
 * Rules: keys count as equal when they are equal after decoding, at every depth.  A number is
 * whatever the lexer takes; its value is not looked at.
 */
#ifndef QMP_PARSE_H
#define QMP_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "qmp/err.h"
#include "qmp/lexer.h"
#include "qmp/span.h"

#define PARSE_MAX_NESTING 1024      /* as FRAMER_MAX_NESTING */

struct parse_value {
    struct span text;           /* from the first byte to the last, quotes and brackets included */
    enum token_kind first;      /* its first token tells its type: TOKEN_LCURLY is an object */
};

/* Called for each member of the object at the top, in the order of the text.  The spans are
 * borrowed from the text; key includes its quotes and is a valid string. */
typedef void parse_member_fn(struct span key, const struct parse_value *value, void *opaque);

/* Checks the one value in text.  member may be NULL.  *top may be NULL; it is set on success. */
bool parse_text(const char *text, size_t len, parse_member_fn *member, void *opaque,
                struct parse_value *top, struct err *err);

#endif
