/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of observe.h that makes snapshots, and sees to the configuration on record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "policy/name.h"
#include "policy/observe_internal.h"
#include "policy/planner_steps.h"
#include "policy/state.h"
#include "qmp/alloc.h"

/* Room for the number that makes a name one of its own. */
#define OBSERVE_NAME_MAX (NAME_MAX_LEN - 8)

/* ---- names ---- */

/* new: what comes nearest to `wanted` and is a name that no snapshot has. */
static char *observe_name(const json_t *state, const char *wanted)
{
    char name[NAME_MAX_LEN + 1], plain[OBSERVE_NAME_MAX + 1];
    struct err err = ERR_INIT;
    size_t n = 0;
    char *copy;

    for (; wanted[n] && n < OBSERVE_NAME_MAX; n++) {
        char one[2] = { wanted[n], '\0' };

        plain[n] = wanted[n];
        /* A dot and a dash are only wrong at the beginning. */
        if (!(n > 0 && (wanted[n] == '.' || wanted[n] == '-')) && !name_check(one, &err))
            plain[n] = '_';
        err_clear(&err);
    }
    plain[n] = '\0';
    snprintf(name, sizeof(name), "%s", n > 0 ? plain : "observed");
    for (int number = 2; state_snapshot(state, name); number++)
        snprintf(name, sizeof(name), "%s-%d", n > 0 ? plain : "observed", number);
    copy = alloc_copy(name);
    return copy;
}

/* ---- snapshots ---- */

static json_t *observe_snapshot(const struct observe *observe, const char *wanted)
{
    char *name = observe_name(observe->state, wanted);
    json_t *snapshot = planner_snapshot(observe->world, observe->state, name, "observed");

    json_object_set_new(observe->state, "current", json_string(name));
    json_array_append(json_object_get(observe->state, "snapshots"), snapshot);
    free(name);
    return snapshot;
}

static bool observe_same(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "level"), json_object_get(b, "level")) &&
           json_equal(json_object_get(a, "command"), json_object_get(b, "command"));
}

/* Has an overlay to come before another: it is lower, or of an earlier command? */
static bool observe_before(const json_t *a, const json_t *b)
{
    json_int_t level = json_integer_value(json_object_get(a, "level"));
    json_int_t other = json_integer_value(json_object_get(b, "level"));

    return level != other ? level < other
                          : json_integer_value(json_object_get(a, "command")) <
                                json_integer_value(json_object_get(b, "command"));
}

void observe_add_snapshots(struct observe *observe)
{
    json_t *left = observe->frozen;

    while (json_array_size(left) > 0) {
        json_t *first = json_array_get(left, 0), *one, *snapshot;
        size_t i;

        json_array_foreach(left, i, one)
            if (observe_before(one, first))
                first = one;
        json_incref(first);
        snapshot = observe_snapshot(observe, state_str(first, "name"));
        for (i = json_array_size(left); i-- > 0;) {
            one = json_array_get(left, i);
            if (!observe_same(one, first))
                continue;
            planner_cover(observe->state, snapshot, state_str(one, "key"),
                          json_object_get(one, "layer"));
            json_array_remove(left, i);
        }
        json_decref(first);
        json_decref(snapshot);
    }
}

/* ---- configuration ---- */

/* Is the node, or the file below it, a client's overlay that is on record? */
static bool observe_node_recorded(const struct observe *observe, const char *node)
{
    const struct graph *graph = observe->world->graph;
    json_t *layer;
    const char *id;

    json_object_foreach(json_object_get(observe->state, "layers"), id, layer) {
        const json_t *file = world_file(observe->world, state_str(layer, "real"));

        if (!json_is_true(json_object_get(layer, "observed")))
            continue;
        if (state_str(layer, "node") && strcmp(state_str(layer, "node"), node) == 0)
            return true;
        for (size_t i = 0; i < graph->n_disks; i++)
            for (size_t k = 0; k < graph->disks[i].n_chain; k++)
                if (strcmp(graph->disks[i].chain[k].protocol->name, node) == 0 &&
                    disks_same_file(file, world_file(observe->world, graph->disks[i].chain[k].file)))
                    return true;
    }
    return false;
}

void observe_tidy_config(struct observe *observe)
{
    json_t *config = json_object_get(observe->state, "config");

    for (size_t i = json_array_size(config); i-- > 0;) {
        const char *node = config_node(json_array_get(config, i), "blockdev-add");

        if (node && observe_node_recorded(observe, node))
            json_array_remove(config, i);
    }
}
