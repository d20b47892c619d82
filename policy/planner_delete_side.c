/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/planner_delete_side.h"

#include <string.h>

#include "policy/plan.h"
#include "policy/planner_steps.h"
#include "policy/state.h"

/* Is the layer in a running chain of that record? */
static bool side_running(const struct delete *delete, const json_t *state, const char *layer)
{
    bool found = false;

    for (size_t i = 0; i < delete->disks.n && !found; i++) {
        const json_t *disk = state_disk(state, delete->disks.v[i].key);
        json_t *chain = state_chain(state, state_str(disk, "active"), true);

        found = state_list_has(chain, layer);
        json_decref(chain);
    }
    return found;
}

/* The layer's node while the branch is open; borrowed from `delete`. */
static const char *side_node(struct delete *delete, const json_t *state, const char *layer)
{
    json_t *name;

    if (side_running(delete, state, layer))
        return delete_node(delete, layer);
    name = json_sprintf(DELETE_SIDE_PREFIX "%s", layer);
    json_array_append_new(delete->pool, name);
    return json_string_value(name);
}

/* new: ids of the layers that have to be opened, the child first; *floor: the node below them. */
static json_t *side_branch(struct delete *delete, const json_t *state, const char *child,
                           const char **floor)
{
    json_t *branch = json_array();
    const char *at = child;

    while (at && !side_running(delete, state, at)) {
        json_array_append_new(branch, json_string(at));
        at = state_str(state_layer(state, at), "parent");
    }
    *floor = at ? side_node(delete, state, at) : NULL;
    return branch;
}

void delete_side_name(struct delete *delete, struct delete_merge *at, const json_t *state)
{
    const char *below = state_str(state_layer(state, at->merge.parent), "parent");
    json_t *branch = side_branch(delete, state, at->merge.child, &at->root_node);

    json_decref(branch);
    at->child_node = side_node(delete, state, at->merge.child);
    at->parent_node = side_node(delete, state, at->merge.parent);
    at->below_node = below ? side_node(delete, state, below) : NULL;
}

/* new: the step that opens one layer on what is below it. */
static json_t *side_open_step(const json_t *layer, const char *node, const char *below, bool written)
{
    json_t *step = step_command("blockdev-add", "qemu", node, "blockdev-add",
                                json_pack("{s:s, s:O, s:b, s:{s:s, s:O}, s:s?}", "node-name", node,
                                          "driver", json_object_get(layer, "format"), "read-only",
                                          !written, "file", "driver", "file", "filename",
                                          json_object_get(layer, "path"), "backing", below),
                                expect_node(node, true));

    step_undo(step, planner_close_node(node));
    return step;
}

void delete_side_open(struct delete *delete, const struct delete_merge *at)
{
    const char *below;
    json_t *branch = side_branch(delete, delete->now, at->merge.child, &below);

    for (size_t i = json_array_size(branch); i-- > 0;) {
        const char *id = json_string_value(json_array_get(branch, i));
        const char *node = side_node(delete, delete->now, id);

        plan_add(delete->plan, side_open_step(state_layer(delete->now, id), node, below, i == 0));
        below = node;
    }
    json_decref(branch);
}

void delete_side_close(struct delete *delete, const struct delete_merge *at)
{
    const char *floor;
    json_t *branch = side_branch(delete, delete->now, at->merge.child, &floor), *id;
    size_t i;

    json_array_foreach(branch, i, id)
        plan_add(delete->plan, planner_close_node(side_node(delete, delete->now,
                                                            json_string_value(id))));
    json_decref(branch);
}
