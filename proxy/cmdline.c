/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/cmdline.h"

#include <stdlib.h>

#include "policy/planner_steps.h"
#include "proxy/log.h"
#include "qmp/alloc.h"

struct cmdline {
    json_t *words;
    struct args *args;          /* NULL: it cannot be parsed */
    struct args_disks disks;
    struct cmdline *next;
};

static struct cmdline *cmdline_new(const json_t *words, struct cmdline *next)
{
    struct cmdline *line = alloc_zeroed(1, sizeof(*line));
    struct err err = ERR_INIT;

    line->words = json_incref((json_t *)words);
    line->next = next;
    line->args = planner_parse_args(words, &err);
    if (line->args && !args_disks_find(line->args, &line->disks, &err)) {
        args_free(line->args);
        line->args = NULL;
    }
    if (err.set)
        log_error("the command line on record is of no use: %s", err.desc);
    err_clear(&err);
    return line;
}

/* What is on record; NULL: it is the one that was given. */
static const struct cmdline *cmdline_find(struct daemon *daemon)
{
    const json_t *words = json_object_get(daemon->store->state, "args");
    struct cmdline *line = daemon->cmdlines;

    if (!daemon->args || !words)
        return NULL;
    while (line && !json_equal(line->words, words))
        line = line->next;
    if (!line)
        line = daemon->cmdlines = cmdline_new(words, daemon->cmdlines);
    return line->args ? line : NULL;
}

const struct args *cmdline_args(struct daemon *daemon)
{
    const struct cmdline *line = cmdline_find(daemon);

    return line ? line->args : daemon->args;
}

const struct args_disks *cmdline_disks(struct daemon *daemon)
{
    const struct cmdline *line = cmdline_find(daemon);

    if (line)
        return &line->disks;
    return daemon->args ? &daemon->args_disks : NULL;
}

void cmdline_free(struct cmdline *list)
{
    while (list) {
        struct cmdline *next = list->next;

        json_decref(list->words);
        args_disks_clear(&list->disks);
        args_free(list->args);
        free(list);
        list = next;
    }
}
