/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/lexer.h"

enum state {
    STATE_NONE,
    START,
    RECOVERY,       /* after an error, before a byte that can begin something */
    DQ,
    DQ_ESCAPE,
    SQ,
    SQ_ESCAPE,
    ZERO,
    DIGITS,
    SIGN,
    POINT,
    FRACTION,
    EXP,
    EXP_SIGN,
    EXP_DIGITS,
    WORD,
    STATE__COUNT,
};

/* Classes of bytes. */
enum class {
    C_OTHER,
    C_LCURLY,
    C_RCURLY,
    C_LSQUARE,
    C_RSQUARE,
    C_COLON,
    C_COMMA,
    C_CONTROL,      /* control characters, and FE and FF, which reset the stream */
    C_SPACE,
    C_TAB,
    C_NEWLINE,      /* CR, LF */
    C_DQUOTE,
    C_SQUOTE,
    C_BACKSLASH,
    C_ZERO,
    C_DIGIT,
    C_MINUS,
    C_PLUS,
    C_DOT,
    C_LOWER_E,      /* a letter of keywords and of numbers */
    C_UPPER_E,
    C_LETTER,
    CLASS__COUNT,
};

static const uint8_t class_of[256] = {
    [0x00 ... 0x08] = C_CONTROL,
    ['\t'] = C_TAB,
    ['\n'] = C_NEWLINE,
    [0x0b ... 0x0c] = C_CONTROL,
    ['\r'] = C_NEWLINE,
    [0x0e ... 0x1f] = C_CONTROL,
    [' '] = C_SPACE,
    ['"'] = C_DQUOTE,
    ['\''] = C_SQUOTE,
    ['+'] = C_PLUS,
    [','] = C_COMMA,
    ['-'] = C_MINUS,
    ['.'] = C_DOT,
    ['0'] = C_ZERO,
    ['1' ... '9'] = C_DIGIT,
    [':'] = C_COLON,
    ['E'] = C_UPPER_E,
    ['['] = C_LSQUARE,
    ['\\'] = C_BACKSLASH,
    [']'] = C_RSQUARE,
    ['a' ... 'd'] = C_LETTER,
    ['e'] = C_LOWER_E,
    ['f' ... 'z'] = C_LETTER,
    ['{'] = C_LCURLY,
    ['}'] = C_RCURLY,
    [0xfe ... 0xff] = C_CONTROL,
};

/* What a row says of a class: the next state, or one of these with a kind of token in it.  The bits
 * are above all states and kinds.  0 is the same as for C_OTHER, the row's first. */
#define DONE(kind) (0x40 | (kind))      /* the byte ends the token and belongs to it */
#define AHEAD(kind) (0x80 | (kind))     /* the token ended before the byte, which is read again */
#define KIND_MASK 0x3f

#define BAD DONE(TOKEN_ERROR)
#define STRING_BODY(s) (s), [C_CONTROL] = BAD, [C_TAB] = BAD, [C_NEWLINE] = BAD
#define MORE_DIGITS(s) [C_ZERO] = (s), [C_DIGIT] = (s)

static const uint8_t rows[STATE__COUNT][CLASS__COUNT] = {
    [START] = {
        BAD,
        [C_LCURLY] = DONE(TOKEN_LCURLY),
        [C_RCURLY] = DONE(TOKEN_RCURLY),
        [C_LSQUARE] = DONE(TOKEN_LSQUARE),
        [C_RSQUARE] = DONE(TOKEN_RSQUARE),
        [C_COLON] = DONE(TOKEN_COLON),
        [C_COMMA] = DONE(TOKEN_COMMA),
        [C_SPACE] = START,
        [C_TAB] = START,
        [C_NEWLINE] = START,
        [C_DQUOTE] = DQ,
        [C_SQUOTE] = SQ,
        [C_ZERO] = ZERO,
        [C_DIGIT] = DIGITS,
        [C_MINUS] = SIGN,
        [C_LOWER_E] = WORD,
        [C_LETTER] = WORD,
    },
    [RECOVERY] = {
        RECOVERY,
        [C_LCURLY ... C_CONTROL] = AHEAD(TOKEN_NONE),
        [C_NEWLINE] = AHEAD(TOKEN_NONE),
    },
    [DQ] = { STRING_BODY(DQ), [C_BACKSLASH] = DQ_ESCAPE, [C_DQUOTE] = DONE(TOKEN_STRING) },
    [DQ_ESCAPE] = { STRING_BODY(DQ) },
    [SQ] = { STRING_BODY(SQ), [C_BACKSLASH] = SQ_ESCAPE, [C_SQUOTE] = DONE(TOKEN_STRING) },
    [SQ_ESCAPE] = { STRING_BODY(SQ) },
    [ZERO] = { AHEAD(TOKEN_INTEGER), MORE_DIGITS(BAD), [C_DOT] = POINT },
    [DIGITS] = {
        AHEAD(TOKEN_INTEGER),
        MORE_DIGITS(DIGITS),
        [C_DOT] = POINT,
        [C_LOWER_E] = EXP,
        [C_UPPER_E] = EXP,
    },
    [SIGN] = { BAD, [C_ZERO] = ZERO, [C_DIGIT] = DIGITS },
    [POINT] = { BAD, MORE_DIGITS(FRACTION) },
    [FRACTION] = {
        AHEAD(TOKEN_FLOAT),
        MORE_DIGITS(FRACTION),
        [C_LOWER_E] = EXP,
        [C_UPPER_E] = EXP,
    },
    [EXP] = { BAD, [C_MINUS] = EXP_SIGN, [C_PLUS] = EXP_SIGN, MORE_DIGITS(EXP_DIGITS) },
    [EXP_SIGN] = { BAD, MORE_DIGITS(EXP_DIGITS) },
    [EXP_DIGITS] = { AHEAD(TOKEN_FLOAT), MORE_DIGITS(EXP_DIGITS) },
    [WORD] = { AHEAD(TOKEN_KEYWORD), [C_LOWER_E] = WORD, [C_LETTER] = WORD },
};

static uint8_t row_next(uint8_t state, char byte)
{
    uint8_t next = rows[state][class_of[(uint8_t)byte]];

    return next ? next : rows[state][C_OTHER];
}

void lexer_init(struct lexer *lexer)
{
    lexer->state = START;
}

bool lexer_in_token(const struct lexer *lexer)
{
    return lexer->state != START && lexer->state != RECOVERY;
}

/* Most bytes of a stream are in strings: skips those that change nothing. */
static const char *skip_plain(const char *p, const char *end, uint8_t quote)
{
    while (p < end) {
        uint8_t c = class_of[(uint8_t)*p];

        if (c == quote || c == C_BACKSLASH || (c >= C_CONTROL && c <= C_NEWLINE && c != C_SPACE))
            break;
        p++;
    }
    return p;
}

enum token_kind lexer_step(struct lexer *lexer, const char **at, const char *end,
                           const char **start)
{
    const char *p = *at;
    uint8_t state = lexer->state;

    *start = p;
    while (p < end) {
        uint8_t next;

        if (state == DQ || state == SQ) {
            p = skip_plain(p, end, state == DQ ? C_DQUOTE : C_SQUOTE);
            if (p == end)
                break;
        } else if (state == START || state == RECOVERY) {
            *start = p;
        }
        next = row_next(state, *p);
        if (!(next & AHEAD(0)))
            p++;
        if (next < DONE(0)) {
            state = next;
            continue;
        }
        state = next == BAD ? RECOVERY : START;
        if ((next & KIND_MASK) == TOKEN_NONE)
            continue;
        lexer->state = state;
        *at = p;
        return (enum token_kind)(next & KIND_MASK);
    }
    lexer->state = state;
    if (!lexer_in_token(lexer))
        *start = p;
    *at = p;
    return TOKEN_NONE;
}

enum token_kind lexer_finish(struct lexer *lexer)
{
    uint8_t next = row_next(lexer->state, '\0');
    enum token_kind kind = TOKEN_NONE;

    if (lexer_in_token(lexer))
        kind = (enum token_kind)(next & KIND_MASK);
    lexer->state = START;
    return kind;
}
