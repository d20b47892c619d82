/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/subtree.h"

#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"

/* Appends the children of each name, until there are no more: parents come before children. */
static void subtree_descend(const json_t *state, json_t *names)
{
    json_t *snapshot;
    size_t i;

    for (size_t at = 0; at < json_array_size(names); at++) {
        const char *name = json_string_value(json_array_get(names, at));

        json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
            const char *parent = state_str(snapshot, "parent");

            if (parent && strcmp(parent, name) == 0)
                json_array_append(names, json_object_get(snapshot, "name"));
        }
    }
}

/* The names in the other order, without the first when it is to stay. */
static json_t *subtree_reverse(const json_t *names, bool without_first)
{
    json_t *reversed = json_array();

    for (size_t i = json_array_size(names); i-- > (without_first ? 1 : 0);)
        json_array_append(reversed, json_array_get(names, i));
    return reversed;
}

json_t *subtree_names(const json_t *state, const char *name, const char *children, struct err *err)
{
    const char *current = state_str(state, "current");
    json_t *names, *taken;

    if (!state_snapshot_need(state, name, err))
        return NULL;
    names = json_pack("[s]", name);
    if (!children || strcmp(children, "keep") == 0)
        return names;
    subtree_descend(state, names);
    taken = subtree_reverse(names, strcmp(children, "only") == 0);
    json_decref(names);
    if (!state_list_has(taken, current))
        return taken;
    json_decref(taken);
    err_set(err, REASON_CURRENT_BRANCH, "The guest stands on '%s', which would be deleted with the "
            "others: revert to a snapshot outside of them first, or delete them one by one", current);
    err_name(err, "snapshot", current);
    return NULL;
}
