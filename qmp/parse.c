/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/parse.h"

#include <stdint.h>
#include <string.h>

#include "qmp/jstring.h"
#include "qmp/keyset.h"
#include "qmp/utf8.h"

#define QUOTE_MAX 960       /* of a wrong token, what fits into an err with the words around it */

enum expect {
    EXPECT_VALUE,
    EXPECT_FIRST,           /* a value, or the end of what was just opened */
    EXPECT_COLON,
    EXPECT_SEPARATOR,       /* a comma, or the end of the container */
    EXPECT_NOTHING,         /* the text is complete */
};

struct level {
    const char *start;      /* the opening brace or bracket */
    struct span key;        /* object: the member that is being read */
    uint32_t number;        /* object: its name in the set of keys */
    bool object;
    bool in_key;            /* object: the next value is a key */
};

struct parser {
    enum expect expect;
    unsigned int depth;
    uint32_t objects;
    parse_member_fn *member;
    void *opaque;
    struct parse_value top;
    struct err *err;
    struct keyset keys;
    struct level levels[PARSE_MAX_NESTING];
};

static bool fail(struct parser *p, const char *what)
{
    err_set(p->err, NULL, "JSON parse error, %s", what);
    return false;
}

static bool check_keyword(struct parser *p, struct span token)
{
    static const char *const known[] = { "true", "false", "null" };
    char name[QUOTE_MAX];

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (token.len == strlen(known[i]) && memcmp(token.at, known[i], token.len) == 0)
            return true;
    }
    utf8_clean(name, sizeof(name), token.at, token.len);
    err_set(p->err, NULL, "JSON parse error, invalid keyword '%s'", name);
    return false;
}

/* A value ends: it is a key, a member's value, an element, or all there is. */
static bool end_value(struct parser *p, struct span text, enum token_kind first)
{
    struct parse_value value = { .text = text, .first = first };
    struct level *level;

    if (p->depth == 0) {
        p->top = value;
        p->expect = EXPECT_NOTHING;
        return true;
    }
    level = &p->levels[p->depth - 1];
    p->expect = EXPECT_SEPARATOR;
    if (!level->object)
        return true;
    if (level->in_key) {
        if (first != TOKEN_STRING)
            return fail(p, "key is not a string in object");
        level->key = text;
        level->in_key = false;
        p->expect = EXPECT_COLON;
        return true;
    }
    if (!keyset_add(&p->keys, level->number, level->key))
        return fail(p, "duplicate key");
    if (p->depth == 1 && p->member)
        p->member(level->key, &value, p->opaque);
    return true;
}

static bool open_level(struct parser *p, struct span token, bool object)
{
    if (p->depth == PARSE_MAX_NESTING) {
        err_set(p->err, NULL, "JSON nesting depth limit exceeded");
        return false;
    }
    p->levels[p->depth++] = (struct level){
        .start = token.at,
        .number = p->objects,
        .object = object,
        .in_key = object,
    };
    p->objects += object;
    p->expect = EXPECT_FIRST;
    return true;
}

static bool close_level(struct parser *p, struct span token)
{
    const struct level *level = &p->levels[--p->depth];
    size_t len = (size_t)(token.at + token.len - level->start);

    return end_value(p, (struct span){ level->start, len },
                     level->object ? TOKEN_LCURLY : TOKEN_LSQUARE);
}

static bool take_value(struct parser *p, enum token_kind kind, struct span token)
{
    switch (kind) {
    case TOKEN_LCURLY:
    case TOKEN_LSQUARE:
        return open_level(p, token, kind == TOKEN_LCURLY);
    case TOKEN_STRING:
        return jstring_check(token, p->err) && end_value(p, token, kind);
    case TOKEN_KEYWORD:
        return check_keyword(p, token) && end_value(p, token, kind);
    case TOKEN_INTEGER:
    case TOKEN_FLOAT:
        return end_value(p, token, kind);
    default:
        return fail(p, "expecting value");
    }
}

static bool take_token(struct parser *p, enum token_kind kind, struct span token)
{
    struct level *level = p->depth ? &p->levels[p->depth - 1] : NULL;
    bool closes = level && kind == (level->object ? TOKEN_RCURLY : TOKEN_RSQUARE);

    switch (p->expect) {
    case EXPECT_FIRST:
        return closes ? close_level(p, token) : take_value(p, kind, token);
    case EXPECT_VALUE:
        return take_value(p, kind, token);
    case EXPECT_COLON:
        p->expect = EXPECT_VALUE;
        return kind == TOKEN_COLON || fail(p, "missing : in object pair");
    case EXPECT_SEPARATOR:
        if (closes)
            return close_level(p, token);
        if (kind != TOKEN_COMMA)
            return fail(p, level->object ? "expected separator in dict"
                                         : "expected separator in list");
        level->in_key = level->object;
        p->expect = EXPECT_VALUE;
        return true;
    case EXPECT_NOTHING:
        break;
    }
    return fail(p, "expecting end of input");
}

static bool fail_stray(struct parser *p, struct span token)
{
    char stray[QUOTE_MAX];

    utf8_clean(stray, sizeof(stray), token.at, token.len);
    err_set(p->err, NULL, "JSON parse error, stray '%s'", stray);
    return false;
}

static bool parse_tokens(struct parser *p, const char *text, size_t len)
{
    const char *at = text, *end = text + len, *start;
    struct lexer lexer;

    lexer_init(&lexer);
    while (at < end) {
        enum token_kind kind = lexer_step(&lexer, &at, end, &start);
        struct span token = { start, (size_t)(at - start) };

        if (kind == TOKEN_NONE)
            kind = lexer_finish(&lexer);    /* that was the last token of the text */
        if (kind == TOKEN_ERROR)
            return fail_stray(p, token);
        if (kind != TOKEN_NONE && !take_token(p, kind, token))
            return false;
    }
    return p->expect == EXPECT_NOTHING || fail(p, "premature EOI");
}

bool parse_text(const char *text, size_t len, parse_member_fn *member, void *opaque,
                struct parse_value *top, struct err *err)
{
    struct parser p;        /* levels and keys are left as they are: 50 KB that few need */
    bool ok;

    p.expect = EXPECT_VALUE;
    p.depth = 0;
    p.objects = 0;
    p.member = member;
    p.opaque = opaque;
    p.err = err;
    keyset_init(&p.keys);
    ok = parse_tokens(&p, text, len);
    keyset_clear(&p.keys);
    if (ok && top)
        *top = p.top;
    return ok;
}
