/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/layer_form.h"

#include <stdio.h>

#include "qmp/alloc.h"

#define FORM_CHILDREN 32

struct former {
    const struct model *model;
    struct layer_map map;
    bool named;
};

/* A hole, or how many blocks further down the same value lies; ~: nowhere. */
static char form_block(const struct former *former, int number, size_t block)
{
    int value = former->model->file[number][block], at = number;
    char code = '0';

    if (value == MODEL_HOLE)
        return '.';
    while ((at = former->map.row[at].parent)) {
        int other = former->model->file[at][block];

        code += other != MODEL_HOLE;
        if (other == value)
            return code;
    }
    return '~';
}

static char *form_layer_head(const struct former *former, int number, char *out)
{
    const struct layer_row *row = &former->map.row[number];
    bool active = false;

    for (size_t d = 0; d < former->model->n_disks; d++)
        active = active || former->map.active[d] == number;
    out += sprintf(out, "(%s%s%s%s%d", row->foreign ? "f" : "", row->base ? "b" : "",
                   row->copied ? "c" : "", active ? "a" : "", row->names);
    for (size_t i = 0; former->named && i < former->map.n_readers; i++)
        if (former->map.reader[i].number == number)
            out += sprintf(out, "%s", former->map.reader[i].whose);
    for (size_t b = 0; b < MODEL_BLOCKS; b++)
        *out++ = form_block(former, number, b);
    return out;
}

static int form_compare(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Writes the layer with all that stands on it; returns the end. */
static char *form_layer(const struct former *former, int number, char *out)
{
    char *child[FORM_CHILDREN];
    size_t n = 0;

    out = form_layer_head(former, number, out);
    for (int at = 1; at <= former->map.top; at++) {
        char part[FORM_SIZE];

        if (!former->map.row[at].there || former->map.row[at].parent != number)
            continue;
        assert_true(n < FORM_CHILDREN);
        form_layer(former, at, part);
        child[n++] = alloc_copy(part);
    }
    qsort(child, n, sizeof(child[0]), form_compare);
    for (size_t i = 0; i < n; i++) {
        out = stpcpy(out, child[i]);
        free(child[i]);
    }
    return stpcpy(out, ")");
}

void form_make(const struct model *model, bool named, char form[FORM_SIZE])
{
    struct former former = { .model = model, .named = named };

    map_make(&former.map, model, model->state);
    for (size_t d = 0; d < model->n_disks; d++)
        form = form_layer(&former, 2 * (int)d + 1, form);
}
