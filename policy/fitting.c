/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/fitting.h"

#include <string.h>

#include "policy/plan.h"
#include "policy/planner_layers.h"
#include "policy/state.h"

/* new: the records that the plan may have left behind, in their order; borrows nothing. */
static json_t *fitting_candidates(const json_t *plan, const json_t *state)
{
    json_t *candidates = json_array(), *step;
    size_t i;

    json_array_append(candidates, (json_t *)state);
    json_array_foreach(json_object_get(plan, "steps"), i, step) {
        json_t *record = json_object_get(json_object_get(step, "args"), "state");

        if (record)
            json_array_append(candidates, record);
    }
    return candidates;
}

static bool fitting_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* new: layers (as keys) that do not stand on the same one in all records that have them. */
static json_t *fitting_moved(const json_t *candidates)
{
    json_t *moved = json_object(), *record, *layer;
    const json_t *first = json_array_get(candidates, 0);
    const char *id;
    size_t i;

    json_array_foreach((json_t *)candidates, i, record)
        json_object_foreach(json_object_get(record, "layers"), id, layer)
            if (state_layer(first, id) && !fitting_same(state_str(state_layer(first, id), "parent"),
                                                        state_str(layer, "parent")))
                json_object_set_new(moved, id, json_true());
    return moved;
}

static bool fitting_headers(const struct world *world, const json_t *record, const json_t *moved)
{
    const char *id;
    json_t *mark;

    json_object_foreach((json_t *)moved, id, mark) {
        struct err err = ERR_INIT;
        bool ok = !state_layer(record, id) || layers_check_header(world, record, id, &err);

        err_clear(&err);
        if (!ok)
            return false;
    }
    return true;
}

const json_t *fitting_record(const struct world *world, const json_t *plan, const json_t *state,
                             fitting_fn *running, void *arg)
{
    json_t *candidates = fitting_candidates(plan, state);
    json_t *moved = fitting_moved(candidates), *record;
    const json_t *found = NULL;
    size_t i;

    json_array_foreach(candidates, i, record)
        if (!found && fitting_headers(world, record, moved) && running(arg, record))
            found = record;
    json_decref(moved);
    json_decref(candidates);
    return found;
}

bool fitting_concerns(const json_t *plan, const json_t *state, const char *key)
{
    json_t *candidates = fitting_candidates(plan, state), *record;
    json_t *first = state_chain(state, state_str(state_disk(state, key), "active"), true);
    bool concerns = false;
    size_t i;

    json_array_foreach(candidates, i, record) {
        json_t *chain = state_chain(record, state_str(state_disk(record, key), "active"), true);

        concerns = concerns || !json_equal(chain, first);
        json_decref(chain);
    }
    json_decref(first);
    json_decref(candidates);
    return concerns;
}

json_t *fitting_steps(const json_t *record, const json_t *state)
{
    json_t *steps = json_array(), *layer, *files = json_object();
    const char *id, *file;

    json_object_foreach(json_object_get(state, "layers"), id, layer) {
        const json_t *now = state_layer(record, id);
        const json_t *below = now ? NULL : state_layer(record, state_str(layer, "parent"));

        if (state_str(now, "parent") && !fitting_same(state_str(now, "parent"), state_str(layer, "parent")))
            json_array_append_new(steps, layers_header_step(record, id));
        if (below)
            json_object_set_new(files, state_str(below, "real"), json_true());
    }
    json_object_foreach(files, file, layer)
        json_array_append_new(steps, step_deed("file-sync", NULL, json_pack("{s:s}", "file", file)));
    json_decref(files);
    return steps;
}
