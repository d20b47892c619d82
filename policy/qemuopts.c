/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/qemuopts.h"

#include "policy/args_util.h"
#include "policy/qemuopts_json.h"

#include <stdlib.h>
#include <string.h>

const char QEMUOPTS_NULL[] = "null";

struct qemuopts {
    struct qemuopt *v;
    size_t n;
    json_t *root;       /* the JSON form's truth; v is made from it.  NULL: the text form */
    char *text;         /* JSON: as given, or NULL once something has changed */
};

static void item_free(struct qemuopt *item)
{
    free(item->key);
    if (item->value != QEMUOPTS_NULL)
        free(item->value);
    free(item->raw);
}

/* Steals the three strings. */
static void items_add(struct qemuopts *opts, char *key, char *value, char *raw)
{
    opts->v = args_util_grow(opts->v, opts->n + 1, sizeof(*opts->v));
    opts->v[opts->n++] = (struct qemuopt){ .key = key, .value = value, .raw = raw };
}

static void items_clear(struct qemuopts *opts)
{
    for (size_t i = 0; i < opts->n; i++)
        item_free(&opts->v[i]);
    opts->n = 0;
}

static void json_item(void *opaque, const char *key, const json_t *scalar)
{
    char *value = json_is_null(scalar) ? (char *)QEMUOPTS_NULL : qemuopts_json_scalar(scalar);

    items_add(opaque, args_util_dup(key), value, NULL);
}

static void items_from_json(struct qemuopts *opts)
{
    items_clear(opts);
    qemuopts_json_walk(opts->root, json_item, opts);
}

/* ---- the text form (util/qemu-option.c: get_opt_name_value) ---- */

/* Where a value ends: at the first comma that is not doubled, or at the end of the text. */
static size_t value_span(const char *text)
{
    size_t i = 0;

    while (text[i] != '\0') {
        if (text[i] == ',' && text[i + 1] != ',')
            break;
        i += text[i] == ',' ? 2 : 1;
    }
    return i;
}

static char *value_undouble(const char *text, size_t len)
{
    char *out = args_util_ndup(text, len);
    size_t o = 0;

    for (size_t i = 0; i < len; i++) {
        out[o++] = text[i];
        if (text[i] == ',')
            i++;
    }
    out[o] = '\0';
    return out;
}

static char *value_double(const char *value)
{
    char *out = args_util_grow(NULL, 2 * strlen(value) + 1, 1);
    size_t o = 0;

    for (; *value != '\0'; value++) {
        out[o++] = *value;
        if (*value == ',')
            out[o++] = ',';
    }
    out[o] = '\0';
    return out;
}

/* One item of the text; returns its length without the comma that follows. */
static size_t text_item(struct qemuopts *opts, const char *text, const char *implied)
{
    size_t name = strcspn(text, "=,");
    size_t span;
    bool off;

    if (text[name] == '=') {
        span = name + 1 + value_span(text + name + 1);
        items_add(opts, args_util_ndup(text, name),
                  value_undouble(text + name + 1, span - name - 1), args_util_ndup(text, span));
    } else if (implied) {
        span = value_span(text);
        items_add(opts, args_util_dup(implied), value_undouble(text, span),
                  args_util_ndup(text, span));
    } else {
        span = name;
        off = name > 2 && strncmp(text, "no", 2) == 0;
        items_add(opts, off ? args_util_ndup(text + 2, name - 2) : args_util_ndup(text, name),
                  args_util_dup(off ? "off" : "on"), args_util_ndup(text, name));
    }
    return span;
}

struct qemuopts *qemuopts_new(void)
{
    struct qemuopts *opts = args_util_grow(NULL, 1, sizeof(*opts));

    *opts = (struct qemuopts){ .v = NULL };
    return opts;
}

struct qemuopts *qemuopts_new_json(json_t *object)
{
    struct qemuopts *opts = qemuopts_new();

    opts->root = object;
    items_from_json(opts);
    return opts;
}

struct qemuopts *qemuopts_parse(const char *text, const char *implied, struct err *err)
{
    struct qemuopts *opts;

    if (*text == '{') {
        json_t *root = qemuopts_json_load(text, err);

        if (!root)
            return NULL;
        opts = qemuopts_new_json(root);
        opts->text = args_util_dup(text);
        return opts;
    }
    opts = qemuopts_new();
    while (*text != '\0') {
        text += text_item(opts, text, implied);
        implied = NULL;
        if (*text == ',')
            text++;
    }
    return opts;
}

void qemuopts_free(struct qemuopts *opts)
{
    if (!opts)
        return;
    items_clear(opts);
    free(opts->v);
    json_decref(opts->root);
    free(opts->text);
    free(opts);
}

/* ---- reading ---- */

size_t qemuopts_count(const struct qemuopts *opts)
{
    return opts->n;
}

const struct qemuopt *qemuopts_at(const struct qemuopts *opts, size_t i)
{
    return &opts->v[i];
}

static struct qemuopt *item_last(const struct qemuopts *opts, const char *key)
{
    for (size_t i = opts->n; i > 0; i--) {
        if (strcmp(opts->v[i - 1].key, key) == 0)
            return &opts->v[i - 1];
    }
    return NULL;
}

const char *qemuopts_get(const struct qemuopts *opts, const char *key)
{
    const struct qemuopt *item = item_last(opts, key);

    return item ? item->value : NULL;
}

bool qemuopts_get_bool(const struct qemuopts *opts, const char *key, bool def)
{
    static const char *const yes[] = { "on", "yes", "true", "y", NULL };
    const char *value = qemuopts_get(opts, key);

    return value ? args_util_listed(value, yes) : def;
}

bool qemuopts_is_null(const struct qemuopts *opts, const char *key)
{
    return qemuopts_get(opts, key) == QEMUOPTS_NULL;
}

static bool key_in_group(const char *key, const char *prefix)
{
    const char *rest;

    return args_util_prefix(key, prefix, &rest) && (*rest == '\0' || *rest == '.');
}

bool qemuopts_has_group(const struct qemuopts *opts, const char *prefix)
{
    for (size_t i = 0; i < opts->n; i++) {
        if (key_in_group(opts->v[i].key, prefix))
            return true;
    }
    return false;
}

bool qemuopts_is_json(const struct qemuopts *opts)
{
    return opts->root != NULL;
}

/* ---- changing ---- */

static void json_changed(struct qemuopts *opts)
{
    free(opts->text);
    opts->text = NULL;
    items_from_json(opts);
}

void qemuopts_set(struct qemuopts *opts, const char *key, const char *value)
{
    struct qemuopt *item = item_last(opts, key);

    if (opts->root) {
        json_t *text = json_string(value);

        /* A path may be no UTF-8; JSON cannot say it, and QEMU could not have been given it. */
        qemuopts_json_set(opts->root, key, text ? text : json_string(""));
        json_changed(opts);
    } else if (item) {
        free(item->value);
        free(item->raw);
        item->value = args_util_dup(value);
        item->raw = NULL;
    } else {
        items_add(opts, args_util_dup(key), args_util_dup(value), NULL);
    }
}

void qemuopts_set_bool(struct qemuopts *opts, const char *key, bool value)
{
    if (!opts->root) {
        qemuopts_set(opts, key, value ? "on" : "off");
        return;
    }
    qemuopts_json_set(opts->root, key, json_boolean(value));
    json_changed(opts);
}

static bool items_remove(struct qemuopts *opts, const char *key, bool group)
{
    size_t kept = 0;
    size_t before = opts->n;

    for (size_t i = 0; i < opts->n; i++) {
        const char *name = opts->v[i].key;

        if (group ? key_in_group(name, key) : strcmp(name, key) == 0)
            item_free(&opts->v[i]);
        else
            opts->v[kept++] = opts->v[i];
    }
    opts->n = kept;
    return kept != before;
}

bool qemuopts_remove(struct qemuopts *opts, const char *key)
{
    if (!opts->root)
        return items_remove(opts, key, false);
    if (!item_last(opts, key))
        return false;
    qemuopts_json_remove(opts->root, key);
    json_changed(opts);
    return true;
}

bool qemuopts_remove_group(struct qemuopts *opts, const char *prefix)
{
    if (!opts->root)
        return items_remove(opts, prefix, true);
    if (!qemuopts_json_remove(opts->root, prefix))
        return false;
    json_changed(opts);
    return true;
}

char *qemuopts_render(const struct qemuopts *opts)
{
    char *out = args_util_dup("");

    if (opts->root) {
        free(out);
        return opts->text ? args_util_dup(opts->text) : qemuopts_json_dump(opts->root);
    }
    for (size_t i = 0; i < opts->n; i++) {
        const struct qemuopt *item = &opts->v[i];
        ARGS_AUTO_TEXT value = value_double(item->value);
        const char *comma = i ? "," : "";
        char *more = item->raw ? args_util_format("%s%s%s", out, comma, item->raw)
                               : args_util_format("%s%s%s=%s", out, comma, item->key, value);

        free(out);
        out = more;
    }
    return out;
}
