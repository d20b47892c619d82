/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lexer: bytes to JSON tokens, with the dialect and the recovery of QEMU's monitor.
 *
 * Model: one small table of states and classes of bytes.  A token may be spread over any number
 * of calls; the lexer keeps only its state, the caller keeps the bytes.
 *
 * Facts (QEMU qobject/json-lexer.c): strings in single or double quotes, without control
 * characters and without FE and FF; numbers as in JSON; keywords are [a-z]+.  A number or keyword
 * is complete when a byte follows that is not part of it; that byte stays unread.  A byte that fits
 * nowhere belongs to the erroneous token and is used up; then everything is skipped up to one of
 * [ ] { } : , or a control character other than TAB or one of FE FF, which is read again.
 */
#ifndef QMP_LEXER_H
#define QMP_LEXER_H

#include <stdbool.h>
#include <stdint.h>

enum token_kind {
    TOKEN_NONE,
    TOKEN_LCURLY,
    TOKEN_RCURLY,
    TOKEN_LSQUARE,
    TOKEN_RSQUARE,
    TOKEN_COLON,
    TOKEN_COMMA,
    TOKEN_INTEGER,
    TOKEN_FLOAT,
    TOKEN_KEYWORD,
    TOKEN_STRING,
    TOKEN_ERROR,
};

struct lexer {
    uint8_t state;
};

void lexer_init(struct lexer *lexer);

/*
 * Reads from *at, before end, until a token is complete; returns its kind, or TOKEN_NONE when the
 * bytes ran out.  *at moves past what was used.  *start is where the bytes of the token begin in
 * this call: what lies between the old *at and *start is no part of any token, and for a token
 * that began in an earlier call it is the old *at.
 */
enum token_kind lexer_step(struct lexer *lexer, const char **at, const char *end,
                           const char **start);

/* Says whether the bytes read last belong to a token that is not complete. */
bool lexer_in_token(const struct lexer *lexer);

/* Ends the input: the kind of the token that is complete by that, TOKEN_ERROR for one that is
 * not, TOKEN_NONE when there is none. */
enum token_kind lexer_finish(struct lexer *lexer);

#endif
