/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/qemuopts_json.h"

#include "policy/args_util.h"

#include <stdlib.h>
#include <string.h>

json_t *qemuopts_json_load(const char *text, struct err *err)
{
    json_error_t why;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &why);

    if (!root) {
        err_set(err, "unsupported-argument",
                "this argument begins like JSON and is none that can be read (%s): %.200s",
                why.text, text);
        return NULL;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        err_set(err, "unsupported-argument", "an option's JSON must be an object: %.200s", text);
        return NULL;
    }
    return root;
}

char *qemuopts_json_scalar(const json_t *scalar)
{
    if (json_is_string(scalar))
        return args_util_dup(json_string_value(scalar));
    if (json_is_boolean(scalar))
        return args_util_dup(json_is_true(scalar) ? "on" : "off");
    if (json_is_integer(scalar))
        return args_util_format("%" JSON_INTEGER_FORMAT, json_integer_value(scalar));
    if (json_is_real(scalar))
        return args_util_format("%.17g", json_real_value(scalar));
    return args_util_dup("null");
}

static void walk(const json_t *node, const char *key,
                 void (*item)(void *opaque, const char *key, const json_t *scalar), void *opaque)
{
    const char *dot = *key ? "." : "";
    const char *name;
    json_t *member;
    size_t i;

    if (json_is_object(node)) {
        json_object_foreach((json_t *)node, name, member) {
            ARGS_AUTO_TEXT path = args_util_format("%s%s%s", key, dot, name);

            walk(member, path, item, opaque);
        }
    } else if (json_is_array(node)) {
        json_array_foreach(node, i, member) {
            ARGS_AUTO_TEXT path = args_util_format("%s%s%zu", key, dot, i);

            walk(member, path, item, opaque);
        }
    } else {
        item(opaque, key, node);
    }
}

void qemuopts_json_walk(const json_t *root,
                        void (*item)(void *opaque, const char *key, const json_t *scalar),
                        void *opaque)
{
    walk(root, "", item, opaque);
}

static json_t *child_get(json_t *node, const char *name)
{
    char *end;
    unsigned long i;

    if (!json_is_array(node))
        return json_object_get(node, name);
    i = strtoul(name, &end, 10);
    return *name && !*end ? json_array_get(node, i) : NULL;
}

/* Steals value.  An array only takes an index that it has. */
static void child_set(json_t *node, const char *name, json_t *value)
{
    if (json_is_array(node))
        json_array_set_new(node, strtoul(name, NULL, 10), value);
    else
        json_object_set_new(node, name, value);
}

/* The object or array that holds the last part of the key; a whole key that is a member ("a.b" as
 * one name) wins.  *last is set to the part.  With make, objects on the way are made. */
static json_t *parent_find(json_t *root, char *key, bool make, char **last)
{
    json_t *node = root;
    char *part = key;
    char *dot;

    while (!child_get(node, part) && (dot = strchr(part, '.'))) {
        json_t *next;

        *dot = '\0';
        next = child_get(node, part);
        if (!json_is_object(next) && !json_is_array(next)) {
            if (!make)
                return NULL;
            child_set(node, part, json_object());
            next = child_get(node, part);
            if (!next)
                return NULL;
        }
        node = next;
        part = dot + 1;
    }
    *last = part;
    return node;
}

void qemuopts_json_set(json_t *root, const char *key, json_t *value)
{
    ARGS_AUTO_TEXT copy = args_util_dup(key);
    char *last;
    json_t *parent = parent_find(root, copy, true, &last);

    if (parent)
        child_set(parent, last, value);
    else
        json_decref(value);
}

bool qemuopts_json_remove(json_t *root, const char *key)
{
    ARGS_AUTO_TEXT copy = args_util_dup(key);
    char *last;
    json_t *parent = parent_find(root, copy, false, &last);

    if (!parent || !child_get(parent, last))
        return false;
    if (json_is_array(parent))
        return json_array_remove(parent, strtoul(last, NULL, 10)) == 0;
    return json_object_del(parent, last) == 0;
}

char *qemuopts_json_dump(const json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT);

    if (!text)
        abort();
    return text;
}
