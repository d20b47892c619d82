/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qmp/splice.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"

/* A result that grows; it was made large enough for all that is put into it. */
struct out {
    char *at;
    size_t len;
};

static struct out out_new(size_t most)
{
    struct out out = { .at = alloc_bytes(most + 1) };

    return out;
}

static char *out_end(struct out *out, size_t *len)
{
    out->at[out->len] = '\0';
    *len = out->len;
    return out->at;
}

static void put(struct out *out, const char *from, size_t n)
{
    if (n)
        memcpy(out->at + out->len, from, n);
    out->len += n;
}

static void put_text(struct out *out, const char *text)
{
    put(out, text, strlen(text));
}

static const char *span_end(struct span s)
{
    return s.at + s.len;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The end of the string that begins at p; end when it has none. */
static const char *string_end(const char *p, const char *end)
{
    char quote = *p++;

    while (p < end && *p != quote)
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    return p < end ? p + 1 : end;
}

/* Copies tokens without the whitespace between them. */
static void put_compact(struct out *out, const char *p, const char *end)
{
    while (p < end) {
        const char *from = p;

        if (is_space(*p)) {
            p++;
            continue;
        }
        while (p < end && !is_space(*p))
            p = *p == '"' || *p == '\'' ? string_end(p, end) : p + 1;
        put(out, from, (size_t)(p - from));
    }
}

char *splice_request(const struct message *m, const char *id, size_t *len)
{
    const char *end = span_end(m->text);
    size_t id_len = id ? strlen(id) : 0;
    struct out out = out_new(m->text.len + id_len + sizeof("\"id\":,"));

    if (!id) {
        put_compact(&out, m->text.at, end);
    } else if (m->has_id) {
        put_compact(&out, m->text.at, m->id.at);
        put(&out, id, id_len);
        put_compact(&out, span_end(m->id), end);
    } else {
        put_text(&out, "{\"id\":");
        put(&out, id, id_len);
        put_text(&out, ",");
        put_compact(&out, m->text.at + 1, end);
    }
    return out_end(&out, len);
}

/* One string of a client as every reader takes it: in double quotes, U+0000 and DEL escaped. */
static const char *put_strict_string(struct out *out, const char *p, const char *end)
{
    const char *stop = string_end(p, end) - 1;

    put_text(out, "\"");
    for (p++; p < stop; p++) {
        if (p[0] == '\\' && p[1] == '\'') {
            put_text(out, "'");
            p++;
        } else if (p[0] == '\\') {
            put(out, p, 2);
            p++;
        } else if (p[0] == '"') {
            put_text(out, "\\\"");
        } else if (p[0] == '\x7f') {
            put_text(out, "\\u007F");
        } else if (p[0] == '\xc0') {
            put_text(out, "\\u0000");
            p++;
        } else {
            put(out, p, 1);
        }
    }
    put_text(out, "\"");
    return stop + 1;
}

static void put_id(struct out *out, struct span id)
{
    const char *p = id.at, *end = span_end(id);

    while (p < end) {
        if (*p == '"' || *p == '\'') {
            p = put_strict_string(out, p, end);
            continue;
        }
        put(out, is_space(*p) ? " " : p, 1);
        p++;
    }
}

/* The most that put_id() makes of an id: DEL becomes six bytes. */
static size_t id_most(struct span id)
{
    return id.len * 6;
}

char *splice_id(struct span id, size_t *len)
{
    struct out out = out_new(id_most(id));

    put_id(&out, id);
    return out_end(&out, len);
}

/* The reply has no id: puts it where QEMU has it, before an error and after anything else. */
static void put_with_new_id(struct out *out, struct span text, bool first, struct span id)
{
    if (first) {
        put_text(out, "{\"id\": ");
        put_id(out, id);
        put_text(out, ", ");
        put(out, text.at + 1, text.len - 1);
    } else {
        put(out, text.at, text.len - 1);
        put_text(out, ", \"id\": ");
        put_id(out, id);
        put_text(out, "}");
    }
}

/* A pretty-printing monitor's message is still one line for a client.  Newlines are never inside of
 * strings. */
static void join_lines(struct out *out)
{
    char *end = out->at + out->len;

    for (char *p = out->at; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        *p = ' ';
    for (char *p = out->at; (p = memchr(p, '\r', (size_t)(end - p))); p++)
        *p = ' ';
}

char *splice_reply(const char *text, size_t text_len, const struct message_reply *reply,
                   const struct span *id, size_t *len)
{
    bool wanted = id && id->at;
    struct span all = { text, text_len };
    struct out out = out_new(text_len + (wanted ? id_most(*id) : 0) + sizeof("\"id\": , \r\n"));

    while (all.len && is_space(all.at[all.len - 1]))
        all.len--;
    while (all.len && is_space(*all.at)) {
        all.at++;
        all.len--;
    }
    if (reply->has_id) {
        const struct span *cut = wanted ? &reply->id : &reply->id_member;

        put(&out, all.at, (size_t)(cut->at - all.at));
        if (wanted)
            put_id(&out, *id);
        put(&out, span_end(*cut), (size_t)(span_end(all) - span_end(*cut)));
    } else if (wanted && (reply->kind == MESSAGE_RETURN || reply->kind == MESSAGE_ERROR)) {
        put_with_new_id(&out, all, reply->kind == MESSAGE_ERROR, *id);
    } else {
        put(&out, all.at, all.len);
    }
    join_lines(&out);
    put_text(&out, "\r\n");
    return out_end(&out, len);
}

json_t *splice_arguments(const struct message *m, size_t flags)
{
    json_t *arguments;
    size_t len;
    char *strict;

    if (!m->arguments.at)
        return NULL;
    strict = splice_id(m->arguments, &len);
    arguments = json_loadb(strict, len, JSON_ALLOW_NUL | flags, NULL);
    free(strict);
    return arguments;
}
