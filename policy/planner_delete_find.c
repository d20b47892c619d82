/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which layers a delete merges, in what order, and whether they can be; see planner_delete.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/overlay.h"
#include "policy/planner_delete_internal.h"
#include "policy/planner_delete_side.h"
#include "policy/planner_layers.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

/* Of the records that one plan may hold, together. */
#define DELETE_RECORDS_BYTES ((size_t)16 << 20)

static const json_t *delete_file(const struct delete *delete, const char *layer)
{
    return world_file(delete->world, state_str(state_layer(delete->after, layer), "real"));
}

/* Takes down what QEMU has open: a layer is found by its place in the disk's chain, which is the
 * recorded one. */
static void delete_note_links(struct delete *delete)
{
    const json_t *state = delete->after;

    delete->links = json_object();
    for (size_t i = 0; i < delete->disks.n; i++) {
        const struct vm_disk *disk = &delete->disks.v[i];
        json_t *chain = state_chain(state, state_str(state_disk(state, disk->key), "active"), true);

        for (size_t k = 0; k < json_array_size(chain) && k < disk->g->n_chain; k++) {
            const struct graph_link *link = &disk->g->chain[k];

            json_object_set_new(delete->links, json_string_value(json_array_get(chain, k)),
                                json_pack("{s:s, s:s, s:s}", "file", link->file, "driver",
                                          link->image->driver, "node", link->image->name));
        }
        json_decref(chain);
    }
}

const char *delete_node(const struct delete *delete, const char *layer)
{
    return layer ? state_str(json_object_get(delete->links, layer), "node") : NULL;
}

static const struct graph_link *delete_link(const struct delete *delete, const struct vm_disk *disk,
                                            const char *layer)
{
    const char *node = delete_node(delete, layer);
    int at = node ? graph_chain_index(disk->g, node) : -1;

    return at >= 0 ? &disk->g->chain[at] : NULL;
}

static bool delete_refuse(const struct delete *delete, const char *layer, const char *what,
                          struct err *err)
{
    const char *real = state_str(state_layer(delete->after, layer), "real");

    err_set(err, REASON_UNSUPPORTED_DISK, "'%s' cannot be merged: %s", real, what);
    err_name(err, "file", real);
    return false;
}

/* Bitmaps of the emptied layer would be lost, those of the other one would no longer tell what has
 * changed. */
static bool delete_check_bitmaps(const struct delete *delete, const struct delete_merge *at,
                                 struct err *err)
{
    const char *const both[] = { at->merge.parent, at->merge.child };

    for (size_t i = 0; i < 2; i++) {
        const struct graph_link *link = at->disk ? delete_link(delete, at->disk, both[i]) : NULL;
        const json_t *live = link ? json_object_get(link->image->info, "dirty-bitmaps") : NULL;
        /* The first bytes of a raw image are the guest's to write. */
        bool qcow2 = strcmp(state_str(state_layer(delete->after, both[i]), "format"), "qcow2") == 0;

        if (json_array_size(live) > 0 ||
            (qcow2 && json_is_true(json_object_get(delete_file(delete, both[i]), "bitmaps"))))
            return delete_refuse(delete, both[i], "it has a dirty bitmap: remove that with "
                                 "block-dirty-bitmap-remove", err);
    }
    return true;
}

static bool delete_filtered(const struct delete *delete, const struct delete_merge *at,
                            const char *layer)
{
    const struct graph_link *link = layer ? delete_link(delete, at->disk, layer) : NULL;

    return link && link->filtered;
}

/* A filter among the layers, or on top of the disk, was put there by somebody for a reason.  With one
 * right on what goes, QEMU does not rewrite the header above (block.c, bdrv_drop_intermediate). */
static bool delete_check_filters(const struct delete *delete, const struct delete_merge *at,
                                 struct err *err)
{
    const json_t *parent = state_layer(delete->after, at->merge.parent);
    const char *other = at->merge.direction == MERGE_STREAM ? state_str(parent, "parent")
                        : at->merge.above                   ? at->merge.child : NULL;
    bool on_top;

    if (!at->disk)
        return true;
    on_top = at->disk->g->filtered;
    if (!on_top && !delete_filtered(delete, at, at->merge.parent) &&
        !delete_filtered(delete, at, other))
        return true;
    return delete_refuse(delete, at->merge.parent, on_top
                             ? "a filter node (throttle, copy-on-read, ...) stands on top of its "
                               "disk: remove that"
                             : "a filter node stands on it, or beside it in the chain: remove that",
                         err);
}

/* What the merges so far bring into the folder of that file: nothing is removed before the end. */
static json_int_t delete_room_taken(const struct delete *delete, const char *real)
{
    char *folder = world_dirname(real);
    json_int_t bytes = 0;

    for (size_t i = 0; i < delete->n_merges; i++) {
        const struct merge *merge = &delete->merges[i].merge;
        const json_t *layer = state_layer(delete->after, merge_target(merge));
        char *other = world_dirname(state_str(layer, "real"));

        if (strcmp(folder, other) == 0)
            bytes += merge->bytes;
        free(other);
    }
    free(folder);
    return bytes;
}

/* Is there room for what is moved?  A file grows, a device does not. */
static bool delete_check_room(const struct delete *delete, const struct delete_merge *at,
                              const json_t *state, struct err *err)
{
    const char *target = merge_target(&at->merge);
    const char *real = state_str(state_layer(state, target), "real");
    const json_t *capacity = json_object_get(delete_file(delete, target), "capacity");
    json_int_t size = state_layer_size(state_layer(state, at->merge.child));

    if (!capacity)
        return overlay_check_room(delete->world, real,
                                  at->merge.bytes + delete_room_taken(delete, real), err);
    if (at->merge.direction == MERGE_STREAM || json_integer_value(capacity) >= size)
        return true;
    return delete_refuse(delete, target, "it is a device, and smaller than the disk has become: "
                         "enlarge the device, or keep the snapshot", err);
}

/* A commit makes the layer as large as what comes into it. */
static bool delete_check_growth(const struct delete *delete, const struct delete_merge *at,
                                const json_t *state, struct err *err)
{
    const json_t *parent = state_layer(state, at->merge.parent);
    const json_t *child = state_layer(state, at->merge.child);

    if (at->merge.direction == MERGE_STREAM || strcmp(state_str(parent, "format"), "qcow2") != 0 ||
        !json_is_true(json_object_get(delete_file(delete, at->merge.parent), "fixed")) ||
        state_layer_size(child) <= state_layer_size(parent))
        return true;
    return delete_refuse(delete, at->merge.parent, "it is of the old format (compat=0.10) with an "
                         "internal snapshot, and the disk has grown since: delete with metadata-only, "
                         "or amend the image to compat=1.1", err);
}

/* QEMU does not watch over the files of a side branch. */
static bool delete_check_side(const struct delete *delete, const struct delete_merge *at,
                              struct err *err)
{
    if (!at->disk && !at->root_node)
        return delete_refuse(delete, at->merge.child, "it stands on nothing that the VM has open", err);
    return at->disk ||
           (layers_check_headers(delete->world, delete->after, at->merge.child, err) &&
            disks_check_frozen(delete->world, delete->after, at->merge.child, err));
}

static bool delete_check_state(const struct delete *delete, const struct delete_merge *at,
                               struct err *err)
{
    if (at->header_only || strcmp(world_status(delete->world), "postmigrate") != 0)
        return true;
    err_set(err, REASON_WRONG_STATE, "QEMU has let go of its images when it saved the memory of "
            "the paused guest, so that none can be merged: continue the guest first");
    return false;
}

static void delete_name_merge(struct delete *delete, struct delete_merge *at, const json_t *state)
{
    const char *active;

    snprintf(at->job, sizeof(at->job), "qsnap-%s-%.40s",
             at->merge.direction == MERGE_COMMIT ? "commit" : "stream", at->merge.child);
    if (!at->disk) {
        at->header_only = at->merge.direction == MERGE_STREAM &&
                          json_is_true(json_object_get(state_layer(state, at->merge.parent),
                                                       "copied"));
        delete_side_name(delete, at, state);
        return;
    }
    active = state_str(state_disk(state, at->disk->key), "active");
    at->parent_node = delete_node(delete, at->merge.parent);
    at->child_node = delete_node(delete, at->merge.child);
    at->below_node = delete_node(delete,
                                 state_str(state_layer(state, at->merge.parent), "parent"));
    at->root_node = delete_node(delete, active);
}

/* Is it the active layer that goes? */
static bool delete_check_top(const struct delete *delete, const struct delete_merge *at, struct err *err)
{
    return !at->disk || at->merge.direction == MERGE_STREAM || at->merge.above ||
           disks_check_top(delete->world, at->disk, err);
}

static bool delete_check_merge(const struct delete *delete, const struct delete_merge *at,
                               const json_t *state, struct err *err)
{
    return delete_check_state(delete, at, err) && delete_check_side(delete, at, err) &&
           delete_check_bitmaps(delete, at, err) && delete_check_filters(delete, at, err) &&
           delete_check_top(delete, at, err) && delete_check_growth(delete, at, state, err) &&
           delete_check_room(delete, at, state, err);
}

static void delete_note_bytes(struct delete *delete, const struct merge *merge)
{
    json_t *bytes = (json_t *)delete->search.bytes;
    const char *target = merge_target(merge);
    json_int_t had = json_integer_value(json_object_get(bytes, target));

    json_object_set_new(bytes, target, json_integer(had + merge->bytes));
}

/* The next merge of a disk's running chain, or (NULL) of the side branches, is taken down and into
 * `state`, the record as it goes along; none: nothing happens. */
static bool delete_find_next(struct delete *delete, const struct vm_disk *disk, json_t *state,
                             struct err *err)
{
    struct delete_merge at = { .disk = disk, .round = delete->n_rounds };

    while (merge_find(state, disk ? disk->key : NULL, &delete->search, &at.merge)) {
        bool own = json_object_get(delete->search.own, at.merge.parent) != NULL;

        delete_name_merge(delete, &at, state);
        /* A branch of a disk that the VM does not have has to wait until it does. */
        own = own && (disk || at.root_node);
        if ((own || !delete->own_only) && delete_check_merge(delete, &at, state, err)) {
            delete->merges = alloc_again(delete->merges,
                                         (delete->n_merges + 1) * sizeof(*delete->merges));
            delete->merges[delete->n_merges++] = at;
            delete_note_bytes(delete, &at.merge);
            merge_apply(state, &at.merge);
            return true;
        }
        if (own) {
            merge_clear(&at.merge);
            return false;
        }
        err_clear(err);
        json_object_set_new((json_t *)delete->search.skip, at.merge.parent, json_true());
        merge_clear(&at.merge);
    }
    return true;
}

/* Disks go together; side branches follow, one by one. */
static bool delete_find_round(struct delete *delete, json_t *state, struct err *err)
{
    size_t n = delete->n_merges;

    for (size_t i = 0; i < delete->disks.n; i++)
        if (state_disk(state, delete->disks.v[i].key) &&
            !delete_find_next(delete, &delete->disks.v[i], state, err))
            return false;
    return delete->n_merges > n || delete_find_next(delete, NULL, state, err);
}

static bool delete_check_direction(const struct delete *delete, const json_t *state,
                                   struct err *err)
{
    const char *layer = merge_refused(state, &delete->search), *real;

    if (!layer)
        return true;
    real = state_str(state_layer(state, layer), "real");
    err_set(err, REASON_DIRECTION_UNAVAILABLE, "'%s' cannot be merged in that direction: the image "
            "that the command line names cannot be streamed away, and nothing is committed into a "
            "larger one; leave direction out", real);
    err_name(err, "file", real);
    return false;
}

/* new: layer -> what its file holds, in bytes. */
static json_t *delete_bytes(const struct delete *delete)
{
    json_t *bytes = json_object(), *layer;
    const char *id;

    json_object_foreach(json_object_get(delete->after, "layers"), id, layer)
        json_object_set_new(bytes, id,
                            json_integer(json_integer_value(
                                json_object_get(delete_file(delete, id), "allocated"))));
    return bytes;
}

/* A plan holds the whole record once for each merge, and stands in the journal, which a restart has to
 * be able to read (proxy/durable.c, DURABLE_READ_MAX). */
static size_t delete_most(const struct delete *delete)
{
    return DELETE_RECORDS_BYTES / (json_dumpb(delete->now, NULL, 0, JSON_INDENT(1)) + 1);
}

static bool delete_find_all(struct delete *delete, struct err *err)
{
    json_t *state = json_deep_copy(delete->after);
    size_t most = delete_most(delete);
    bool ok = true;

    delete->search.bytes = delete_bytes(delete);
    delete->search.skip = json_object();
    while (ok) {
        size_t n = delete->n_merges;

        ok = delete_find_round(delete, state, err);
        if (delete->n_merges == n)
            break;
        delete->n_rounds++;
        if (delete->n_merges >= most)
            delete->own_only = true; /* a later delete finds the others */
    }
    ok = ok && delete_check_direction(delete, state, err);
    json_decref(state);
    return ok;
}

static void delete_forget_merges(struct delete *delete)
{
    while (delete->n_merges > 0)
        merge_clear(&delete->merges[--delete->n_merges].merge);
    delete->n_rounds = 0;
    json_decref((json_t *)delete->search.bytes);
    json_decref((json_t *)delete->search.skip);
}

bool delete_find_merges(struct delete *delete, enum merge_direction direction, struct err *err)
{
    delete_note_links(delete);
    delete->search.direction = direction;
    if (delete_find_all(delete, err))
        return true;
    if (strcmp(err->reason, REASON_NO_SPACE) != 0)
        return false;
    /* What others left may have taken the room. */
    delete_forget_merges(delete);
    err_clear(err);
    delete->own_only = true;
    return delete_find_all(delete, err);
}
