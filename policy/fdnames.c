/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/fdnames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"
#include "qmp/jstring.h"
#include "qmp/lexer.h"
#include "qmp/parse.h"

#define PLACE_MAX_KEYS 5

enum place_form {
    FORM_NAME,      /* the whole string */
    FORM_URI,       /* behind "fd:", which has to be there */
    FORM_LIST,      /* names with colons between them */
};

struct place {
    const char *command;
    enum place_form form;
    bool anywhere;              /* the keys are the last ones of a longer path */
    const char *keys[PLACE_MAX_KEYS + 1];       /* from the outermost; lists do not count */
};

static const struct place places[] = {
    { "add_client", FORM_NAME, false, { "fdname" } },
    { "block-export-add", FORM_NAME, false, { "addr", "str" } },
    { "blockdev-add", FORM_NAME, true, { "server", "str" } },
    { "blockdev-reopen", FORM_NAME, true, { "server", "str" } },
    { "chardev-add", FORM_NAME, false, { "backend", "data", "addr", "data", "str" } },
    { "chardev-change", FORM_NAME, false, { "backend", "data", "addr", "data", "str" } },
    { "closefd", FORM_NAME, false, { "fdname" } },
    { "device_add", FORM_NAME, false, { "fd" } },
    { "device_add", FORM_NAME, false, { "vhostfd" } },
    { "device_add", FORM_NAME, false, { "ebpf-rss-fds" } },
    { "display-update", FORM_NAME, false, { "addresses", "str" } },
    { "dump-guest-memory", FORM_URI, false, { "protocol" } },
    { "getfd", FORM_NAME, false, { "fdname" } },
    { "migrate", FORM_URI, false, { "uri" } },
    { "migrate", FORM_NAME, false, { "channels", "addr", "str" } },
    { "migrate-incoming", FORM_URI, false, { "uri" } },
    { "migrate-incoming", FORM_NAME, false, { "channels", "addr", "str" } },
    { "migrate-recover", FORM_URI, false, { "uri" } },
    { "nbd-server-start", FORM_NAME, false, { "addr", "data", "str" } },
    { "netdev_add", FORM_NAME, false, { "fd" } },
    { "netdev_add", FORM_LIST, false, { "fds" } },
    { "netdev_add", FORM_NAME, false, { "vhostfd" } },
    { "netdev_add", FORM_LIST, false, { "vhostfds" } },
    { "netdev_add", FORM_LIST, false, { "sock-fds" } },
    { "netdev_add", FORM_NAME, false, { "local", "str" } },
    { "object-add", FORM_NAME, false, { "fd" } },
    { "qom-set", FORM_NAME, false, { "value" } },       /* of a property "fd" only */
};

#define PLACES (sizeof(places) / sizeof(places[0]))

/* Goes from string to string, keys excepted.  Lists leave no trace: what is in them stands where
 * they stand. */
struct walk {
    struct lexer lexer;
    const char *at;
    const char *end;
    size_t depth;
    struct span keys[PARSE_MAX_NESTING];        /* of each open object, the key read last */
};

static void walk_init(struct walk *w, struct span text)
{
    lexer_init(&w->lexer);
    w->at = text.at;
    w->end = text.at + text.len;
    w->depth = 0;
}

/* The next string that is a value, quotes included; false at the end. */
static bool walk_next(struct walk *w, struct span *value)
{
    struct span string = { NULL, 0 };
    const char *start;

    for (;;) {
        enum token_kind kind = lexer_step(&w->lexer, &w->at, w->end, &start);

        if (string.at && kind != TOKEN_COLON) {
            w->at = start;      /* what follows is read again, with the keys as they are now */
            *value = string;
            return true;
        }
        if (kind == TOKEN_STRING) {
            string = (struct span){ start, (size_t)(w->at - start) };
        } else if (kind == TOKEN_COLON && w->depth > 0) {
            w->keys[w->depth - 1] = string;
            string.at = NULL;
        } else if (kind == TOKEN_LCURLY && w->depth < PARSE_MAX_NESTING) {
            w->keys[w->depth++] = (struct span){ "''", 2 };
        } else if (kind == TOKEN_RCURLY && w->depth > 0) {
            w->depth--;
        } else if (kind == TOKEN_LCURLY || kind == TOKEN_ERROR || kind == TOKEN_NONE) {
            return false;
        }
    }
}

static bool walk_is_at(const struct walk *w, const struct place *place)
{
    size_t n = 0;

    while (place->keys[n])
        n++;
    if (place->anywhere ? w->depth < n : w->depth != n)
        return false;
    for (size_t i = 1; i <= n; i++)
        if (!jstring_is(w->keys[w->depth - i], place->keys[n - i]))
            return false;
    return true;
}

/* Is the member of that key at the top that text? */
static bool member_is(struct span arguments, const char *key, const char *text)
{
    struct walk w;
    struct span value;

    walk_init(&w, arguments);
    while (walk_next(&w, &value))
        if (w.depth == 1 && jstring_is(w.keys[0], key))
            return jstring_is(value, text);
    return false;
}

struct rewrite {
    fdnames_fn *fn;
    void *arg;
    const char *copied;         /* everything of the old text before this is in text */
    char *text;                 /* NULL while nothing has changed */
    size_t len, room;
};

static void put(struct rewrite *r, const char *bytes, size_t len)
{
    if (r->len + len >= r->room) {
        r->room = 2 * (r->len + len) + 64;
        r->text = alloc_again(r->text, r->room);
    }
    memcpy(r->text + r->len, bytes, len);
    r->len += len;
    r->text[r->len] = '\0';
}

/* Writes into a string, between whatever quotes it has. */
static void put_escaped(struct rewrite *r, const char *name)
{
    char code[8];

    for (; *name; name++) {
        if (*name == '"' || *name == '\'' || *name == '\\')
            snprintf(code, sizeof(code), "\\%c", *name);
        else if ((unsigned char)*name < 0x20)
            snprintf(code, sizeof(code), "\\u%04x", (unsigned int)*name);
        else
            snprintf(code, sizeof(code), "%c", *name);
        put(r, code, strlen(code));
    }
}

/* One name, written from `from` to `to`. */
static void rewrite_name(struct rewrite *r, const char *from, const char *to)
{
    /* The bytes around it stand in for the quotes. */
    struct span token = { from - 1, (size_t)(to - from) + 2 };
    size_t size = (size_t)(to - from) + 1;      /* no text becomes longer by being decoded */
    char *name = alloc_bytes(size);
    const char *other;

    jstring_decode(token, name, size);
    other = *name >= '0' && *name <= '9' ? NULL : r->fn(name, r->arg);
    if (other && strcmp(other, name) != 0) {
        put(r, r->copied, (size_t)(from - r->copied));
        put_escaped(r, other);
        r->copied = to;
    }
    free(name);
}

/* Nothing behind the last colon is no name. */
static void rewrite_list(struct rewrite *r, struct jstring s)
{
    const char *from = s.at, *to = from;

    while (s.at < s.end) {
        int32_t c = jstring_next(&s);

        if (c == ':') {
            rewrite_name(r, from, to);
            from = s.at;
        }
        to = s.at;
    }
    if (from < s.end)
        rewrite_name(r, from, s.end);
}

static void rewrite_value(struct rewrite *r, enum place_form form, struct span value)
{
    struct jstring s = jstring_start(value);

    if (form == FORM_LIST) {
        rewrite_list(r, s);
        return;
    }
    if (form == FORM_URI
        && (jstring_next(&s) != 'f' || jstring_next(&s) != 'd' || jstring_next(&s) != ':'))
        return;
    rewrite_name(r, s.at, s.end);
}

/* The first place of the command; its others follow. */
static const struct place *place_find(const char *command)
{
    for (size_t i = 0; i < PLACES; i++)
        if (strcmp(places[i].command, command) == 0)
            return &places[i];
    return NULL;
}

bool fdnames_concerned(const char *command)
{
    return place_find(command) != NULL;
}

char *fdnames_rewrite(const char *command, struct span arguments, fdnames_fn *fn, void *arg,
                      size_t *len)
{
    const struct place *first = place_find(command), *end = places + PLACES;
    struct rewrite r = { .fn = fn, .arg = arg, .copied = arguments.at };
    struct span value;
    struct walk w;

    if (!first || !arguments.at)
        return NULL;
    if (strcmp(command, "qom-set") == 0 && !member_is(arguments, "property", "fd"))
        return NULL;
    walk_init(&w, arguments);
    while (walk_next(&w, &value))
        for (const struct place *p = first; p < end && strcmp(p->command, command) == 0; p++)
            if (walk_is_at(&w, p))
                rewrite_value(&r, p->form, value);
    if (!r.text)
        return NULL;
    put(&r, r.copied, (size_t)(arguments.at + arguments.len - r.copied));
    *len = r.len;
    return r.text;
}
