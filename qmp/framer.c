/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/framer.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"
#include "qmp/lexer.h"
#include "qmp/utf8.h"

#define KEEP_BYTES 65536    /* a buffer that grew beyond this is given back after the message */
#define FIRST_BYTES 512
#define STRAY_MAX 960       /* of an erroneous token, what fits into an err with the words around */

struct framer {
    struct lexer lexer;
    size_t max_bytes;
    enum frame_kind limit_kind; /* what exceeding max_bytes is */

    char *buf;                  /* the unfinished message's bytes */
    size_t len;
    size_t size;
    bool reported;              /* buf holds a message that was handed out */

    bool gap;                   /* whitespace was read behind what is in buf */
    size_t partial;             /* bytes of the unfinished token, all in buf between calls */
    size_t token_bytes;         /* of the complete tokens */
    size_t tokens;
    int braces;
    int brackets;
};

/* One call's place in the caller's bytes. */
struct feed {
    const char *at;             /* read up to here */
    const char *end;
    const char *kept;           /* belongs to the message from here, not yet in buf */
};

struct framer *framer_new(size_t max_bytes)
{
    struct framer *f = alloc_zeroed(1, sizeof(*f));

    f->max_bytes = max_bytes ? max_bytes : FRAMER_MAX_BYTES;
    f->limit_kind = max_bytes ? FRAME_TOO_LARGE : FRAME_ERROR;
    lexer_init(&f->lexer);
    return f;
}

void framer_free(struct framer *f)
{
    if (!f)
        return;
    free(f->buf);
    free(f);
}

size_t framer_pending(const struct framer *f)
{
    return f->reported ? 0 : f->len;
}

static void append(struct framer *f, const char *from, const char *to)
{
    size_t n = (size_t)(to - from);

    if (n == 0)
        return;
    if (f->size - f->len < n) {
        size_t size = f->size ? f->size * 2 : FIRST_BYTES;

        if (size < f->len + n)
            size = f->len + n;
        f->buf = alloc_again(f->buf, size);
        f->size = size;
    }
    memcpy(f->buf + f->len, from, n);
    f->len += n;
}

/* Forgets the tokens; the lexer goes on where it is. */
static void reset(struct framer *f)
{
    f->len = 0;
    f->gap = false;
    f->partial = 0;
    f->token_bytes = 0;
    f->tokens = 0;
    f->braces = 0;
    f->brackets = 0;
    f->reported = false;
    if (f->size > KEEP_BYTES) {
        free(f->buf);
        f->buf = NULL;
        f->size = 0;
    }
}

static void report(struct framer *f, struct frame *out, enum frame_kind kind, const char *desc)
{
    out->kind = kind;
    err_set(&out->err, NULL, "%s", desc);
    reset(f);
}

/* The erroneous token is what buf ends with. */
static void report_stray(struct framer *f, struct feed *in, struct frame *out)
{
    char stray[STRAY_MAX];

    append(f, in->kept, in->at);
    utf8_clean(stray, sizeof(stray), f->buf + f->len - f->partial, f->partial);
    out->kind = FRAME_ERROR;
    err_set(&out->err, NULL, "JSON parse error, stray '%s'", stray);
    reset(f);
}

/* Takes the whitespace from `from` up to start, where a token begins unless start is all that was
 * read.  A gap may arrive in many pieces; one space is kept of it all. */
static void take_gap(struct framer *f, struct feed *in, const char *from, const char *start)
{
    if (f->tokens == 0) {
        in->kept = start;
        return;
    }
    if (start == from ? !f->gap : start - from == 1 && *from == ' ' && !f->gap && start < in->at)
        return;     /* nothing, or what is kept of it as it is */
    append(f, in->kept, from);
    in->kept = start;
    f->gap = true;
    if (start < in->at) {
        append(f, " ", &" "[1]);
        f->gap = false;
    }
}

/* Takes a complete token; true when that makes a frame. */
static bool take_token(struct framer *f, struct feed *in, enum token_kind kind, struct frame *out)
{
    f->braces += (kind == TOKEN_LCURLY) - (kind == TOKEN_RCURLY);
    f->brackets += (kind == TOKEN_LSQUARE) - (kind == TOKEN_RSQUARE);
    if (kind == TOKEN_ERROR) {
        report_stray(f, in, out);
        return true;
    }
    if (f->token_bytes + f->partial + 1 > f->max_bytes) {
        report(f, out, f->limit_kind, "JSON token size limit exceeded");
        return true;
    }
    if (f->tokens + 1 > FRAMER_MAX_TOKENS) {
        report(f, out, FRAME_ERROR, "JSON token count limit exceeded");
        return true;
    }
    if (f->braces + f->brackets > FRAMER_MAX_NESTING) {
        report(f, out, FRAME_ERROR, "JSON nesting depth limit exceeded");
        return true;
    }
    f->token_bytes += f->partial;
    f->tokens++;
    f->partial = 0;
    if ((f->braces > 0 || f->brackets > 0) && f->braces >= 0 && f->brackets >= 0)
        return false;
    append(f, in->kept, in->at);
    f->reported = true;
    out->kind = FRAME_MESSAGE;
    out->text = (struct span){ f->buf, f->len };
    return true;
}

size_t framer_feed(struct framer *f, const char *data, size_t len, struct frame *out)
{
    struct feed in = { .at = data, .end = data + len, .kept = data };

    *out = (struct frame){ .kind = FRAME_NONE };
    if (f->reported)
        reset(f);
    while (in.at < in.end) {
        const char *from = in.at;
        size_t room = f->max_bytes + 1 - f->partial;    /* QEMU gives a longer token up */
        const char *stop = (size_t)(in.end - from) > room ? from + room : in.end;
        const char *start;
        enum token_kind kind = lexer_step(&f->lexer, &in.at, stop, &start);

        if (f->partial == 0)
            take_gap(f, &in, from, start);
        f->partial += (size_t)(in.at - start);
        if (kind == TOKEN_NONE && f->partial > f->max_bytes) {
            lexer_init(&f->lexer);
            report(f, out, f->limit_kind, "JSON token size limit exceeded");
            return (size_t)(in.at - data);
        }
        if (kind != TOKEN_NONE && take_token(f, &in, kind, out))
            return (size_t)(in.at - data);
    }
    append(f, in.kept, in.at);
    return len;
}
