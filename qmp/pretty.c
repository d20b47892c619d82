/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/pretty.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"

#define PRETTY_INDENT 4

struct pretty {
    char *out;
    size_t len, room;
    size_t depth;
    bool fresh;                 /* what comes next begins a line */
};

static void pretty_put(struct pretty *p, const char *text, size_t len)
{
    if (p->len + len > p->room) {
        p->room = 2 * (p->len + len);
        p->out = alloc_again(p->out, p->room);
    }
    memcpy(p->out + p->len, text, len);
    p->len += len;
}

static void pretty_newline(struct pretty *p)
{
    static const char spaces[PRETTY_INDENT + 1] = "    ";

    pretty_put(p, "\r\n", 2);
    for (size_t i = 0; i < p->depth; i++)
        pretty_put(p, spaces, PRETTY_INDENT);
    p->fresh = false;
}

/* Everything up to the quote that ends the string. */
static size_t pretty_string(struct pretty *p, const char *text, size_t len)
{
    size_t n = 1;

    while (n < len && text[n] != '"')
        n += text[n] == '\\' ? 2 : 1;
    n = n < len ? n + 1 : len;
    pretty_put(p, text, n);
    return n;
}

static size_t pretty_token(struct pretty *p, const char *text, size_t len)
{
    char c = text[0];

    if (c == '}' || c == ']') {
        p->depth -= p->depth > 0;
        pretty_newline(p);
        pretty_put(p, &c, 1);
        return 1;
    }
    if (p->fresh)
        pretty_newline(p);
    if (c == '"')
        return pretty_string(p, text, len);
    pretty_put(p, &c, 1);
    if (c == '{' || c == '[')
        p->depth++;
    if (c == ':')
        pretty_put(p, " ", 1);
    p->fresh = c == '{' || c == '[' || c == ',';
    return 1;
}

char *pretty_message(const char *text, size_t text_len, size_t *len)
{
    struct pretty p = { .out = alloc_bytes(text_len + 64), .room = text_len + 64 };

    for (size_t i = 0; i < text_len;) {
        if (strchr(" \t\r\n", text[i]) && text[i] != '\0')
            i++;
        else
            i += pretty_token(&p, text + i, text_len - i);
    }
    pretty_put(&p, "\r\n", 2);
    *len = p.len;
    return p.out;
}
