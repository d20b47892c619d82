/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <langinfo.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/snapshot_print.h"
#include "qmp/alloc.h"

#define SIZE_ROOM 32

/* Levels that the tree draws; what lies deeper is drawn as a tree of its own. */
#define TREE_DEPTH_MAX 200

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* The plan */

static size_t column_width(const json_t *plan, const char *key)
{
    const json_t *step;
    size_t width = 0, i;

    json_array_foreach(plan, i, step) {
        if (snapshot_print_width(text_of(step, key)) > width)
            width = snapshot_print_width(text_of(step, key));
    }
    return width;
}

static void step_print(FILE *out, size_t number, const json_t *step, const size_t *width)
{
    static const char *const key[] = { "step", "command", "target" };
    const json_t *bytes = json_object_get(step, "bytes");
    char size[SIZE_ROOM];

    fprintf(out, "%3zu. ", number);
    for (int c = 0; c < 3; c++)
        snapshot_print_text(out, text_of(step, key[c]), width[c] + 2);
    fputs(json_is_true(json_object_get(step, "undo")) ? "undo: yes" : "undo: no", out);
    if (json_integer_value(bytes) > 0)
        fprintf(out, ", %s", snapshot_print_size(bytes, size));
    if (json_is_true(json_object_get(step, "commit-point")))
        fputs(", COMMIT POINT", out);
    putc('\n', out);
}

void snapshot_print_plan(FILE *out, const json_t *plan)
{
    const size_t width[] = {
        column_width(plan, "step"), column_width(plan, "command"), column_width(plan, "target"),
    };
    size_t i, commit = 0;
    const json_t *step;
    char size[SIZE_ROOM];
    double bytes = 0;
    json_t *sum;

    if (json_array_size(plan) == 0) {
        fputs("There is nothing to do.\n", out);
        return;
    }
    json_array_foreach(plan, i, step) {
        step_print(out, i + 1, step, width);
        bytes += json_number_value(json_object_get(step, "bytes"));
        if (commit == 0 && json_is_true(json_object_get(step, "commit-point")))
            commit = i + 1;
    }
    sum = json_real(bytes);
    fprintf(out, "%zu step%s, %s to move.", json_array_size(plan), i == 1 ? "" : "s",
            bytes > 0 ? snapshot_print_size(sum, size) : "nothing");
    json_decref(sum);
    if (commit > 0)
        fprintf(out, " What fails before step %zu is undone, what fails after it is finished.",
                commit);
    putc('\n', out);
}

void snapshot_print_reasons(FILE *out, const json_t *reasons)
{
    const json_t *reason;
    size_t i;

    json_array_foreach(reasons, i, reason) {
        fputs(i == 0 ? "Method: " : "        ", out);
        snapshot_print_text(out, json_string_value(reason), 0);
        putc('\n', out);
    }
}

/* The result */

static void names_print(FILE *out, const json_t *names)
{
    const json_t *name;
    size_t i;

    json_array_foreach(names, i, name) {
        fputs(i == 0 ? " " : ", ", out);
        snapshot_print_text(out, json_string_value(name), 0);
    }
}

/* The end of the line. */
static void standstill_print(FILE *out, const json_t *result)
{
    const json_t *ms = json_object_get(result, "standstill");

    if (json_is_integer(ms))
        fprintf(out, "; the guest stood still for %lld ms", (long long)json_integer_value(ms));
    fputs(".\n", out);
}

void snapshot_print_result(FILE *out, const char *command, const char *name,
                           const json_t *result)
{
    const json_t *info = json_object_get(result, "snapshot");
    const json_t *deleted = json_object_get(result, "deleted");
    char size[SIZE_ROOM];

    if (!strcmp(command, "snapshot-delete") && json_is_array(deleted) &&
        json_array_size(deleted) == 0) {
        fputs("There was nothing to delete.\n", out);
        return;
    }
    if (!strcmp(command, "snapshot-delete")) {
        fputs("Deleted", out);
        if (json_array_size(deleted) > 0) {
            names_print(out, deleted);
        } else {
            putc(' ', out);
            snapshot_print_text(out, name, 0);
        }
        standstill_print(out, result);
        return;
    }
    fputs(!strcmp(command, "snapshot-revert") ? "Reverted to " : "Created ", out);
    snapshot_print_text(out, name, 0);
    if (text_of(result, "method")) {
        fputs(" (method ", out);
        snapshot_print_text(out, text_of(result, "method"), 0);
        putc(')', out);
    }
    if (!strcmp(command, "snapshot-create") && info) {
        const json_t *memory = json_object_get(json_object_get(info, "memory"), "size");
        size_t disks = json_array_size(json_object_get(info, "disks"));

        fprintf(out, ": %zu disk%s, memory %s", disks, disks == 1 ? "" : "s",
                memory ? snapshot_print_size(memory, size) : "none");
    }
    standstill_print(out, result);
}

/* The tree */

struct tree {
    FILE *out;
    const json_t *infos;
    json_t *children;           /* name -> [number] */
    bool *drawn;
    bool lines;                 /* the locale has line characters */
    char prefix[TREE_DEPTH_MAX * 8 + 1];
};

static json_t *children_index(const json_t *infos)
{
    json_t *names = json_object(), *out = json_object();
    const json_t *info;
    size_t i;

    json_array_foreach(infos, i, info) {
        if (text_of(info, "name"))
            json_object_set_new(names, text_of(info, "name"), json_true());
    }
    json_array_foreach(infos, i, info) {
        const char *parent = text_of(info, "parent");
        json_t *list;

        /* Roots stand under the empty name, which no snapshot has. */
        if (!parent || !json_object_get(names, parent))
            parent = "";
        list = json_object_get(out, parent);
        if (!list) {
            list = json_array();
            json_object_set_new(out, parent, list);
        }
        json_array_append_new(list, json_integer((json_int_t)i));
    }
    json_decref(names);
    return out;
}

static void tree_label(struct tree *tree, const json_t *info)
{
    size_t problems = json_array_size(json_object_get(info, "problems"));

    snapshot_print_text(tree->out, text_of(info, "name"), 0);
    if (json_is_true(json_object_get(info, "current")))
        fputs("  (current)", tree->out);
    if (problems > 0)
        fprintf(tree->out, "  (%zu problem%s)", problems, problems == 1 ? "" : "s");
    putc('\n', tree->out);
}

static void tree_draw(struct tree *tree, size_t at, unsigned depth)
{
    const json_t *info = json_array_get(tree->infos, at);
    const char *name = text_of(info, "name");
    const json_t *children = name && *name ? json_object_get(tree->children, name) : NULL, *child;
    size_t len = strlen(tree->prefix), i;

    tree->drawn[at] = true;
    tree_label(tree, info);
    json_array_foreach(children, i, child) {
        bool last = i + 1 == json_array_size(children);
        size_t number = (size_t)json_integer_value(child);

        if (tree->drawn[number] || depth + 1 >= TREE_DEPTH_MAX)
            continue;
        fputs(tree->prefix, tree->out);
        if (tree->lines)
            fputs(last ? "└─ " : "├─ ", tree->out);
        else
            fputs(last ? "`- " : "|- ", tree->out);
        strcpy(tree->prefix + len, last ? "   " : tree->lines ? "│  " : "|  ");
        tree_draw(tree, number, depth + 1);
        tree->prefix[len] = '\0';
    }
}

void snapshot_print_tree(FILE *out, const json_t *infos)
{
    struct tree tree = {
        .out = out, .infos = infos, .children = children_index(infos),
        .drawn = alloc_zeroed(json_array_size(infos) + 1, sizeof(bool)),
        .lines = !strcmp(nl_langinfo(CODESET), "UTF-8"),
    };
    const json_t *root;
    size_t i;

    if (json_array_size(infos) == 0)
        fputs("There are no snapshots.\n", out);
    json_array_foreach(json_object_get(tree.children, ""), i, root)
        tree_draw(&tree, (size_t)json_integer_value(root), 0);
    /* what lies too deep, or in a circle */
    for (i = 0; i < json_array_size(infos); i++) {
        if (!tree.drawn[i])
            tree_draw(&tree, i, 0);
    }
    free(tree.drawn);
    json_decref(tree.children);
}
