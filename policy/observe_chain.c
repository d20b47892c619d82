/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of observe.h that looks at one disk's chain. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/observe_internal.h"
#include "policy/overlay.h"
#include "policy/state.h"
#include "qmp/alloc.h"

bool observe_leads(const struct world *world, const struct graph_link *link, bool below)
{
    const json_t *file = world_file(world, link->file);
    const char *format = state_str(file, "backing-format"), *as = state_str(file, "format");

    if (!as || strcmp(as, link->image->driver) != 0 || json_object_get(file, "bad"))
        return false;
    if (!below)
        return !json_object_get(file, "backing");
    return strcmp(as, "qcow2") == 0 && format && strcmp(format, link[1].image->driver) == 0 &&
           disks_same_file(json_object_get(file, "leads"), world_file(world, link[1].file));
}

static void observe_note_backing(const struct observe *observe, json_t *layer,
                                 const struct graph_link *link, const char *below)
{
    const json_t *header = json_object_get(world_file(observe->world, link->file), "backing");
    const json_t *parent = state_layer(observe->state, below);

    json_object_del(layer, "backing");
    if (parent && strcmp(json_string_value(header), overlay_backing(parent)) != 0)
        json_object_set(layer, "backing", (json_t *)header);
}

static void observe_freeze(const struct observe *observe, const char *id)
{
    json_t *layer = state_layer(observe->state, id);
    const json_t *file = world_file(observe->world, state_str(layer, "real"));

    if (file)
        json_object_set_new(layer, "print", disks_print(file));
    else
        json_object_del(layer, "print");
}

/* ---- overlays on top ---- */

/* A client may use a file again that nothing needs any more; what is needed is no new overlay. */
static bool observe_is_free(struct observe *observe, const struct graph_link *link)
{
    const json_t *file = world_file(observe->world, link->file);
    json_t *layer;
    const char *id;
    void *next;

    json_object_foreach_safe(json_object_get(observe->state, "layers"), next, id, layer) {
        if (!disks_same_file(file, world_file(observe->world, state_str(layer, "real"))))
            continue;
        if (state_layer_needed(observe->state, id))
            return false;
        json_object_del(json_object_get(observe->state, "layers"), id);
    }
    return true;
}

static bool observe_is_overlay(const struct observe *observe, const struct graph_link *link)
{
    const char *kind = state_str(world_file(observe->world, link->file), "kind");

    return link->direct && !link->filtered && strcmp(link->protocol_driver, "file") == 0 && kind &&
           strcmp(kind, "file") == 0 && observe_leads(observe->world, link, true);
}

/* The node-name that a client gave, or the file's own name. */
static const char *observe_name_of(const struct graph_link *link)
{
    const char *slash = strrchr(link->file, '/');

    return link->image->name[0] != '#' ? link->image->name : slash ? slash + 1 : link->file;
}

static void observe_add_overlay(struct observe *observe, const struct vm_disk *disk,
                                const struct graph_link *link, size_t level)
{
    json_t *record = state_disk(observe->state, disk->key);
    char *below = alloc_copy(state_str(record, "active"));
    const char *node = link->image->name[0] != '#' ? link->image->name : NULL;
    json_t *layer;

    layer = json_pack("{s:s, s:O, s:s, s:s, s:s*, s:I, s:b, s:O*}", "path", link->file, "real",
                      json_object_get(world_file(observe->world, link->file), "real"), "format",
                      link->image->driver, "parent", below, "node", node, "size",
                      (json_int_t)link->image->virtual_size, "observed", 1, "ino",
                      json_object_get(world_file(observe->world, link->file), "ino"));
    observe_note_backing(observe, layer, link, below);
    observe_freeze(observe, below);
    json_array_append_new(observe->frozen,
                          json_pack("{s:I, s:I, s:s, s:s, s:s}", "level", (json_int_t)level,
                                    "command", observe_command_of(observe, link), "name",
                                    observe_name_of(link), "key", disk->key, "layer", below));
    json_object_set_new(record, "active", json_string(state_layer_add(observe->state, layer)));
    free(below);
}

bool observe_add_overlays(struct observe *observe, const struct vm_disk *disk, size_t extra)
{
    for (size_t i = extra; i-- > 0;) {
        const struct graph_link *link = &disk->g->chain[i];

        if (!observe_is_overlay(observe, link) || !observe_is_free(observe, link))
            return false;
        observe_add_overlay(observe, disk, link, extra - 1 - i);
    }
    return true;
}

/* ---- images that are missing ---- */

static void observe_damage(struct observe *observe, const char *into, const char *through)
{
    const char *real = state_str(state_layer(observe->state, into), "real"), *key;
    json_t *snapshot, *layer;
    char *text;
    size_t i;

    text = alloc_print("A block-commit that a client ran has written into '%s', which the snapshot "
                       "stands on: it can only be deleted", real);
    json_array_foreach(json_object_get(observe->state, "snapshots"), i, snapshot)
        json_object_foreach(json_object_get(snapshot, "disks"), key, layer) {
            json_t *chain = state_chain(observe->state, json_string_value(layer), true);

            if (state_list_has(chain, into) && !(through && state_list_has(chain, through)) &&
                !json_object_get(snapshot, "damaged"))
                json_object_set_new(snapshot, "damaged", json_string(text));
            json_decref(chain);
        }
    free(text);
}

static bool observe_unchanged(const struct observe *observe, const char *id)
{
    struct err err = ERR_INIT;
    bool same = json_object_get(state_layer(observe->state, id), "print") &&
                disks_check_frozen(observe->world, observe->state, id, &err);

    err_clear(&err);
    return same;
}

/* Files that clients made are theirs again when nothing on record needs them: they are forgotten, and
 * not removed. */
static void observe_forget(struct observe *observe, const json_t *chain, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        const char *id = json_string_value(json_array_get(chain, i));

        if (json_is_true(json_object_get(state_layer(observe->state, id), "observed")) &&
            !state_layer_needed(observe->state, id))
            json_object_del(json_object_get(observe->state, "layers"), id);
    }
}

/* Where a chain on record has become shorter: at[i] is the place in it of the running chain's image i. */
struct observe_gap {
    const struct graph_link *link;      /* of `above` */
    const char *above, *below;          /* layers that are still there; NULL: the active one, or the
                                         * lowest, is missing */
};

static bool observe_close(struct observe *observe, const struct vm_disk *disk,
                          const struct observe_gap *gap)
{
    json_t *record = state_disk(observe->state, disk->key), *below, *above;
    bool streamed = gap->above && (!gap->below || observe_unchanged(observe, gap->below));

    below = state_layer(observe->state, gap->below);
    above = state_layer(observe->state, gap->above);
    /* What is active is written to, and a foreign layer never is by us. */
    if (!above && json_is_true(json_object_get(below, "foreign")))
        return false;
    if (above && !observe_leads(observe->world, gap->link, below != NULL))
        return false;
    if (!streamed)
        observe_damage(observe, gap->below, gap->above);
    if (!above) {
        json_object_set_new(record, "active", json_string(gap->below));
        json_object_del(below, "print");
        return true;
    }
    if (!streamed)
        observe_freeze(observe, gap->below);
    json_object_set_new(above, "parent", gap->below ? json_string(gap->below) : json_null());
    observe_note_backing(observe, above, gap->link, gap->below);
    json_object_del(above, "print");
    if (strcmp(state_str(record, "active"), gap->above) != 0)
        observe_freeze(observe, gap->above);
    return true;
}

/* chain: the ids on record; at: for each image of the running one its place there. */
static bool observe_close_gaps(struct observe *observe, const struct vm_disk *disk,
                               const json_t *chain, const size_t *at, size_t extra)
{
    size_t next = 0, n = json_array_size(chain), end = disk->g->n_chain;

    for (size_t i = extra; i <= end; i++) {
        size_t place = i < end ? at[i] : n;
        struct observe_gap gap = {
            .link = i > extra ? &disk->g->chain[i - 1] : NULL,
            .above = i > extra ? json_string_value(json_array_get(chain, at[i - 1])) : NULL,
            .below = i < end ? json_string_value(json_array_get(chain, place)) : NULL,
        };

        if (place != next) {
            if (!observe_close(observe, disk, &gap))
                return false;
            observe_forget(observe, chain, next, place);
        }
        next = place + 1;
    }
    return true;
}

/* The place of a file in the chain on record, or SIZE_MAX. */
static size_t observe_place(const struct observe *observe, const json_t *chain, const char *path)
{
    const json_t *file = world_file(observe->world, path);
    json_t *id;
    size_t i;

    json_array_foreach((json_t *)chain, i, id) {
        const json_t *layer = state_layer(observe->state, json_string_value(id));

        if (disks_same_file(file, world_file(observe->world, state_str(layer, "real"))))
            return i;
    }
    return SIZE_MAX;
}

/* How many images are new on top, when all others are on record in the same order; SIZE_MAX: they
 * are not. */
static size_t observe_places(const struct observe *observe, const struct vm_disk *disk,
                             const json_t *chain, size_t *at)
{
    size_t extra = 0, n = disk->g->n_chain;

    for (size_t i = 0; i < n; i++) {
        at[i] = observe_place(observe, chain, disk->g->chain[i].file);
        if (at[i] == SIZE_MAX && extra == i)
            extra++;
        else if (at[i] == SIZE_MAX || (i > extra && at[i] <= at[i - 1]))
            return SIZE_MAX;
    }
    /* With new ones on top, the one that was active has to be there. */
    return extra == n || (extra > 0 && at[extra] != 0) ? SIZE_MAX : extra;
}

bool observe_chain(struct observe *observe, const struct vm_disk *disk)
{
    json_t *chain = state_chain(observe->state,
                                state_str(state_disk(observe->state, disk->key), "active"), true);
    size_t *at = alloc_zeroed(disk->g->n_chain + 1, sizeof(*at));
    size_t extra;
    bool ok;

    extra = observe_places(observe, disk, chain, at);
    ok = extra != SIZE_MAX && observe_close_gaps(observe, disk, chain, at, extra) &&
         observe_add_overlays(observe, disk, extra);
    free(at);
    json_decref(chain);
    return ok;
}
