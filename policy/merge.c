/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/merge.h"

#include <stdlib.h>
#include <string.h>

#include "policy/state.h"

static char *merge_dup(const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy)
        abort();
    return copy;
}

/* May `child`, which stands on `parent` in a running chain, be committed into it? */
static bool merge_possible(const json_t *state, const char *parent, const char *child)
{
    const json_t *layer = state_layer(state, parent);
    bool active = state_layer_active_of(state, child) != NULL;

    return !json_is_true(json_object_get(layer, "foreign")) &&
           !state_layer_named(state, parent, NULL) &&
           state_layer_children(state, parent, NULL) == 1 &&
           state_layer_children(state, child, NULL) == (active ? 0 : 1);
}

bool merge_find(const json_t *state, const char *key, struct merge *out)
{
    json_t *chain = state_chain(state, state_str(state_disk(state, key), "active"), false);
    bool found = false;

    for (size_t i = 1; i < json_array_size(chain) && !found; i++) {
        const char *child = json_string_value(json_array_get(chain, i - 1));
        const char *parent = json_string_value(json_array_get(chain, i));

        if (!merge_possible(state, parent, child))
            continue;
        out->key = merge_dup(key);
        out->child = merge_dup(child);
        out->parent = merge_dup(parent);
        out->above = i >= 2 ? merge_dup(json_string_value(json_array_get(chain, i - 2))) : NULL;
        found = true;
    }
    json_decref(chain);
    return found;
}

void merge_clear(struct merge *merge)
{
    free(merge->key);
    free(merge->parent);
    free(merge->child);
    free(merge->above);
    memset(merge, 0, sizeof(*merge));
}

void merge_apply(json_t *state, const struct merge *merge)
{
    json_t *layers = json_object_get(state, "layers");
    json_t *parent = state_layer(state, merge->parent), *child = state_layer(state, merge->child);
    json_t *object, *snapshot, *layer;
    const char *id, *key;
    size_t i;

    /* QEMU grows a base that is smaller than what is committed into it, and shrinks none. */
    if (json_integer_value(json_object_get(child, "size")) >
        json_integer_value(json_object_get(parent, "size")))
        json_object_set(parent, "size", json_object_get(child, "size"));
    json_object_del(parent, "print");
    json_object_foreach(layers, id, object) {
        const char *below = state_str(object, "parent");

        if (below && strcmp(below, merge->child) == 0) {
            json_object_set_new(object, "parent", json_string(merge->parent));
            json_object_del(object, "print"); /* its header changes */
        }
    }
    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        json_t *disks = json_object_get(snapshot, "disks");

        json_object_foreach(disks, key, layer)
            if (strcmp(json_string_value(layer), merge->child) == 0)
                json_string_set(layer, merge->parent);
    }
    json_object_foreach(json_object_get(state, "disks"), key, object)
        if (strcmp(state_str(object, "active"), merge->child) == 0)
            json_object_set_new(object, "active", json_string(merge->parent));
    json_object_del(layers, merge->child);
}
