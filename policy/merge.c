/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/merge.h"

#include <stdlib.h>
#include <string.h>

#include "policy/state.h"
#include "qmp/alloc.h"

static char *merge_dup(const char *text)
{
    return text ? alloc_copy(text) : NULL;
}

static bool merge_is(const json_t *layer, const char *mark)
{
    return json_is_true(json_object_get(layer, mark));
}

/* Can the child's data go down?  Into a larger layer it would bring back what was cut off from the disk
 * when it was made smaller. */
static bool merge_may_commit(const json_t *parent, const json_t *child)
{
    return !merge_is(parent, "copied") && state_layer_size(child) >= state_layer_size(parent);
}

/* Can the parent's data go up?  The lowest layer stays: it is the image that the command line names, or
 * one into which a client has streamed that.  Where a layer ends before both neighbours, the one above
 * reads zeros; QEMU's stream does not move these (block/stream.c, stream_run), and what lies below would
 * show. */
static bool merge_may_stream(const json_t *state, const json_t *parent, const json_t *child)
{
    const json_t *below = state_layer(state, state_str(parent, "parent"));

    return !merge_is(parent, "base") && below &&
           (state_layer_size(parent) >= state_layer_size(below) ||
            state_layer_size(parent) >= state_layer_size(child));
}

/* The direction and its cost for a layer and its child, with `want`; false: it cannot be done. */
static bool merge_choose(const json_t *state, const struct merge_search *search,
                         enum merge_direction want, struct merge *merge)
{
    const json_t *parent = state_layer(state, merge->parent);
    const json_t *child = state_layer(state, merge->child);
    bool copied = merge_is(parent, "copied");
    bool down = want != MERGE_STREAM && merge_may_commit(parent, child);
    bool up = (want != MERGE_COMMIT || copied) && merge_may_stream(state, parent, child);
    bool leaf = state_layer_children(state, merge->child, NULL) == 0;
    json_int_t child_bytes = json_integer_value(json_object_get(search->bytes, merge->child));
    json_int_t parent_bytes = json_integer_value(json_object_get(search->bytes, merge->parent));

    if (!merge->key && !leaf && merge_is(child, "copied"))
        return false; /* it has been committed: it goes as soon as nothing stands on it any more */
    if (!merge->key && want == MERGE_AUTO && !leaf && up)
        down = false; /* the headers on it would have to be seen to as well */
    if (!merge->key && copied)
        parent_bytes = 0;
    if (!down && !up)
        return false;
    merge->direction = down && (!up || child_bytes <= parent_bytes) ? MERGE_COMMIT : MERGE_STREAM;
    merge->bytes = merge->direction == MERGE_COMMIT ? child_bytes : parent_bytes;
    return true;
}

/* Is the layer one that has to go?  What stands on it must be one layer, or hold the same. */
static bool merge_wanted(const json_t *state, const char *parent, const struct merge_search *search)
{
    const json_t *layer = state_layer(state, parent);
    size_t children = state_layer_children(state, parent, NULL);

    return !merge_is(layer, "foreign") && !json_object_get(search->skip, parent) &&
           !state_layer_named(state, parent, NULL) &&
           (children == 1 || (children > 1 && merge_is(layer, "copied")));
}

static bool merge_try(const json_t *state, const struct merge_search *search, const char *key,
                      const char *parent, const char *child, struct merge *out)
{
    enum merge_direction want = json_object_get(search->own, parent) ? search->direction
                                                                     : MERGE_AUTO;

    *out = (struct merge){ .key = (char *)key, .parent = (char *)parent, .child = (char *)child };
    return merge_wanted(state, parent, search) && merge_choose(state, search, want, out);
}

/* Turns what is borrowed into what merge_clear() frees. */
static void merge_own(struct merge *merge)
{
    merge->key = merge_dup(merge->key);
    merge->parent = merge_dup(merge->parent);
    merge->child = merge_dup(merge->child);
    merge->above = merge_dup(merge->above);
}

/* From the lowest on: so nothing is committed down step by step. */
static bool merge_find_running(const json_t *state, const char *key,
                               const struct merge_search *search, struct merge *out)
{
    json_t *chain = state_chain(state, state_str(state_disk(state, key), "active"), false);
    bool found = false;

    for (size_t i = json_array_size(chain); i-- > 1 && !found;) {
        const char *child = json_string_value(json_array_get(chain, i - 1));

        found = merge_try(state, search, key, json_string_value(json_array_get(chain, i)), child,
                          out);
        if (found && out->direction == MERGE_COMMIT && i >= 2)
            out->above = (char *)json_string_value(json_array_get(chain, i - 2));
    }
    if (found)
        merge_own(out);
    json_decref(chain);
    return found;
}

/* new: all layers of running chains, as keys. */
static json_t *merge_running(const json_t *state)
{
    json_t *running = json_object(), *disk, *id;
    const char *key;
    size_t i;

    json_object_foreach(json_object_get(state, "disks"), key, disk) {
        json_t *chain = state_chain(state, state_str(disk, "active"), true);

        json_array_foreach(chain, i, id)
            json_object_set_new(running, json_string_value(id), json_true());
        json_decref(chain);
    }
    return running;
}

static bool merge_find_side(const json_t *state, const struct merge_search *search,
                            struct merge *out)
{
    json_t *running = merge_running(state), *layer;
    bool found = false;
    const char *id;

    json_object_foreach(json_object_get(state, "layers"), id, layer) {
        const char *parent = state_str(layer, "parent");

        found = parent && !json_object_get(running, id) && !json_object_get(running, parent) &&
                merge_try(state, search, NULL, parent, id, out);
        if (found)
            break;
    }
    if (found)
        merge_own(out);
    json_decref(running);
    return found;
}

bool merge_find(const json_t *state, const char *key, const struct merge_search *search,
                struct merge *out)
{
    return key ? merge_find_running(state, key, search, out)
               : merge_find_side(state, search, out);
}

const char *merge_refused(const json_t *state, const struct merge_search *search)
{
    const char *id, *only;
    struct merge merge;
    json_t *mark;

    if (search->direction == MERGE_AUTO)
        return NULL;
    json_object_foreach((json_t *)search->own, id, mark) {
        if (!state_layer(state, id) || !merge_wanted(state, id, search))
            continue;
        state_layer_children(state, id, &only);
        if (!merge_try(state, search, "", id, only, &merge))
            return id;
    }
    return NULL;
}

void merge_clear(struct merge *merge)
{
    free(merge->key);
    free(merge->parent);
    free(merge->child);
    free(merge->above);
    memset(merge, 0, sizeof(*merge));
}

const char *merge_emptied(const struct merge *merge)
{
    return merge->direction == MERGE_COMMIT ? merge->child : merge->parent;
}

const char *merge_target(const struct merge *merge)
{
    return merge->direction == MERGE_COMMIT ? merge->parent : merge->child;
}

/* Its header names another layer from now on. */
static void merge_rest_on(json_t *state, const char *id, const json_t *below)
{
    json_t *layer = state_layer(state, id);

    json_object_set(layer, "parent", (json_t *)below);
    json_object_del(layer, "print");
    json_object_del(layer, "backing");
}

static void merge_rename(json_t *state, const char *from, const char *to)
{
    json_t *object, *layer;
    const char *key;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, object)
        json_object_foreach(json_object_get(object, "disks"), key, layer)
            if (strcmp(json_string_value(layer), from) == 0)
                json_string_set(layer, to);
    json_object_foreach(json_object_get(state, "disks"), key, object)
        if (strcmp(state_str(object, "active"), from) == 0)
            json_object_set_new(object, "active", json_string(to));
}

static void merge_apply_commit(json_t *state, const struct merge *merge)
{
    json_t *parent = state_layer(state, merge->parent), *child = state_layer(state, merge->child);

    /* QEMU grows a base that is smaller than what is committed into it, and shrinks none. */
    if (state_layer_size(child) > state_layer_size(parent))
        json_object_set(parent, "size", json_object_get(child, "size"));
    json_object_del(parent, "print");
    json_object_del(parent, "copied");
    merge_rename(state, merge->child, merge->parent);
    if (merge->above)
        merge_rest_on(state, merge->above, json_object_get(child, "parent"));
}

void merge_apply(json_t *state, const struct merge *merge)
{
    const char *emptied = merge_emptied(merge);
    json_t *layers = json_object_get(state, "layers");

    if (merge->direction == MERGE_COMMIT) {
        merge_apply_commit(state, merge);
    } else {
        merge_rest_on(state, merge->child,
                      json_object_get(state_layer(state, merge->parent), "parent"));
        if (!merge_is(state_layer(state, merge->parent), "copied"))
            json_object_del(state_layer(state, merge->child), "copied");
    }
    if (state_layer_children(state, emptied, NULL) == 0)
        json_object_del(layers, emptied);
    else if (merge->direction == MERGE_COMMIT)
        json_object_set_new(json_object_get(layers, emptied), "copied", json_true());
}
