/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of disks.h that compares the VM's disks with the record. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/overlay.h"
#include "policy/reason.h"
#include "policy/state.h"

bool disks_same_file(const json_t *a, const json_t *b)
{
    return a && b && json_equal(json_object_get(a, "dev"), json_object_get(b, "dev")) &&
           json_equal(json_object_get(a, "ino"), json_object_get(b, "ino"));
}

json_t *disks_print(const json_t *file)
{
    static const char *const members[] = { "dev", "ino", "size", "mtime", NULL };
    json_t *print = json_object();

    for (size_t i = 0; members[i]; i++)
        json_object_set(print, members[i], json_object_get(file, members[i]));
    return print;
}

bool disks_is_open(const struct world *world, const char *path)
{
    const json_t *file = world_file(world, path);
    char key[64];

    snprintf(key, sizeof(key), "%llu:%llu",
             (unsigned long long)json_integer_value(json_object_get(file, "dev")),
             (unsigned long long)json_integer_value(json_object_get(file, "ino")));
    return !world->open || json_object_get(world->open, key);
}

static bool disks_mismatch(const struct vm_disk *disk, const char *what, const char *file,
                           struct err *err)
{
    err_set(err, REASON_CHAIN_MISMATCH,
            "The backing chain of disk '%s' is not the one on record: %s '%s'", disk->label, what,
            file);
    err_name(err, "disk", disk->label);
    err_name(err, "file", file);
    return false;
}

bool disks_match_record(const struct world *world, const json_t *state, const struct vm_disk *disk,
                        struct err *err)
{
    const json_t *record = state_disk(state, disk->key);
    json_t *chain = state_chain(state, state_str(record, "active"), true);
    size_t n = json_array_size(chain);
    bool ok = true;

    for (size_t i = 0; ok && i < n; i++) {
        const json_t *layer = state_layer(state, json_string_value(json_array_get(chain, i)));
        const char *real = state_str(layer, "real");

        if (!world_file(world, real))
            ok = disks_check_frozen(world, state, json_string_value(json_array_get(chain, i)), err);
        else if (i >= disk->g->n_chain)
            ok = disks_mismatch(disk, "QEMU's chain lacks", real, err);
        else if (!disks_same_file(world_file(world, disk->g->chain[i].file),
                                  world_file(world, real)))
            ok = disks_mismatch(disk, "QEMU's chain has something else in place of", real, err);
    }
    if (ok && disk->g->n_chain > n)
        ok = disks_mismatch(disk, "QEMU's chain has in addition", disk->g->chain[n].file, err);
    json_decref(chain);
    return ok;
}

/* Is what lies at the paths of the disk's chain what QEMU has open?  What it writes to a file that no
 * name leads to ends with it. */
static bool disks_check_open(const struct world *world, const struct vm_disk *disk, struct err *err)
{
    for (size_t i = 0; i < disk->g->n_chain; i++) {
        const char *file = disk->g->chain[i].file;

        if (!world_file(world, file) || disks_is_open(world, file))
            continue;
        err_set(err, REASON_IMAGE_CHANGED, "The image '%s' was replaced: QEMU has another file open "
                "than the one at this path; put that back", file);
        err_name(err, "file", file);
        return false;
    }
    return true;
}

/* The header's own spelling of what is below, when that is what QEMU has opened it by. */
static void disks_note_backing(const struct world *world, json_t *layer,
                               const struct graph_link *link, const json_t *below)
{
    const char *header = state_str(world_file(world, link->file), "backing");
    char *opened = header ? overlay_resolve(link->file, header) : NULL;

    if (opened && strcmp(opened, state_str(below, "path")) == 0 &&
        strcmp(header, overlay_backing(below)) != 0)
        json_object_set_new(layer, "backing", json_string(header));
    free(opened);
}

/* new: the record of one link of a running chain. */
static json_t *disks_layer_of(const struct graph_link *link, const json_t *file, const char *parent)
{
    json_t *layer = json_pack("{s:s, s:O, s:s, s:s?, s:I}", "path", link->file, "real",
                              json_object_get(file, "real"), "format", link->image->driver, "parent",
                              parent, "size", (json_int_t)link->image->virtual_size);

    if (!layer)
        abort();
    return layer;
}

/* The image that the command line names has to be the active one: layers above it were made by
 * somebody else, and nobody knows what they are for. */
static bool disks_check_unrecorded(const struct world *world, const struct vm_disk *disk,
                                   struct err *err)
{
    const json_t *named = disk->a && disk->a->path ? world_file(world, disk->a->path) : NULL;

    if (!disk->a || disks_same_file(named, world_file(world, disk->g->chain[0].file)))
        return true;
    return disks_mismatch(disk, "its active image is not the one that the command line names, but",
                          disk->g->chain[0].file, err);
}

/* What lies below the image that the command line names has not to change either; a device has no
 * time of its last change. */
static void disks_mark_foreign(json_t *layer, const json_t *file)
{
    const char *kind = state_str(file, "kind");

    json_object_set_new(layer, "foreign", json_true());
    if (kind && strcmp(kind, "file") == 0)
        json_object_set_new(layer, "print", disks_print(file));
}

bool disks_register_at(const struct world *world, json_t *state, const struct vm_disk *disk,
                       size_t base, struct err *err)
{
    const char *parent = NULL;

    if (!disks_check_open(world, disk, err))
        return false;
    for (size_t i = disk->g->n_chain; i-- > base;) {
        const struct graph_link *link = &disk->g->chain[i];
        const json_t *file = world_file(world, link->file);
        json_t *layer;

        if (!file)
            return disks_mismatch(disk, "this file cannot be found:", link->file, err);
        layer = disks_layer_of(link, file, parent);
        if (parent)
            disks_note_backing(world, layer, link, state_layer(state, parent));
        if (i > base)
            disks_mark_foreign(layer, file);
        else
            json_object_set_new(layer, "base", json_true());
        if (i == base && disk->a && disk->a->node_name)
            json_object_set_new(layer, "node", json_string(disk->a->node_name));
        parent = state_layer_add(state, layer);
    }
    json_object_set_new(json_object_get(state, "disks"), disk->key,
                        json_pack("{s:s, s:s?, s:s, s:s}", "device", disk->label, "qdev",
                                  disk->g->qdev, "active", parent, "base", parent));
    return true;
}

bool disks_register(const struct world *world, json_t *state, const struct vm_disk *disk,
                    struct err *err)
{
    return disks_check_unrecorded(world, disk, err) &&
           disks_register_at(world, state, disk, 0, err);
}

bool disks_check_frozen(const struct world *world, const json_t *state, const char *id,
                        struct err *err)
{
    const json_t *layer = state_layer(state, id);
    const json_t *print = json_object_get(layer, "print");
    const char *real = state_str(layer, "real");
    const json_t *file = world_file(world, real);
    /* Not dev: what number a file system has is another after the host was started anew. */
    static const char *const members[] = { "ino", "size", "mtime", NULL };

    if (!file) {
        err_set(err, REASON_IMAGE_CHANGED, "The image '%s' is missing", real);
        err_name(err, "file", real);
        return false;
    }
    if (strcmp(state_str(file, "kind"), "block") == 0)
        return true; /* its node in /dev tells nothing of what it holds */
    for (size_t i = 0; print && members[i]; i++) {
        if (json_equal(json_object_get(print, members[i]), json_object_get(file, members[i])))
            continue;
        err_set(err, REASON_IMAGE_CHANGED, "The image '%s' was %s since the snapshot was made: "
                "restore it from a backup", real, i < 1 ? "replaced" : "written to");
        err_name(err, "file", real);
        return false;
    }
    return true;
}

/* Frozen layers of one running chain: all but the active one. */
static bool disks_check_frozen_chain(const struct world *world, const json_t *state,
                                     const json_t *record, struct err *err)
{
    json_t *chain = state_chain(state, state_str(record, "active"), true);
    bool ok = true;

    for (size_t i = 1; ok && i < json_array_size(chain); i++)
        ok = disks_check_frozen(world, state, json_string_value(json_array_get(chain, i)), err);
    json_decref(chain);
    return ok;
}

/* Is an image of that layer's file in a disk of the VM? */
static bool disks_any_has(const struct world *world, const json_t *layer)
{
    const json_t *file = world_file(world, state_str(layer, "real"));

    for (size_t i = 0; i < world->graph->n_disks; i++)
        for (size_t k = 0; k < world->graph->disks[i].n_chain; k++)
            if (disks_same_file(file, world_file(world, world->graph->disks[i].chain[k].file)))
                return true;
    return false;
}

bool disks_is_unplugged(const struct world *world, const json_t *state, const char *key)
{
    static const char prefix[] = "/machine/peripheral/";
    const json_t *record = state_disk(state, key);
    const char *qdev = state_str(record, "qdev");
    char id[256];

    if (!world->devices || !qdev)
        return false;
    if (strncmp(qdev, prefix, sizeof(prefix) - 1) == 0)
        qdev += sizeof(prefix) - 1;
    else if (qdev[0] == '/')
        return false;
    snprintf(id, sizeof(id), "%.*s", (int)strcspn(qdev, "/"), qdev);
    return !json_object_get(world->devices, id) &&
           !disks_any_has(world, state_layer(state, state_str(record, "active")));
}

static bool disks_check_record(const struct world *world, const json_t *state, const char *key,
                               const json_t *record, const struct vm_disks *all, struct err *err)
{
    const struct vm_disk *disk = disks_find(all, key);
    const char *qdev = state_str(record, "qdev"), *label = state_str(record, "device");

    if (!disk && disks_is_unplugged(world, state, key))
        return true;
    if (!disk || (qdev && (!disk->g->qdev || strcmp(disk->g->qdev, qdev) != 0))) {
        err_set(err, REASON_DISK_GONE, "Disk '%s' (%s) is no longer in the VM under that name",
                label, qdev ? qdev : key);
        err_name(err, "disk", label);
        return false;
    }
    return disks_match_record(world, state, disk, err) && disks_check_open(world, disk, err) &&
           disks_check_frozen_chain(world, state, record, err);
}

bool disks_check_all(const struct world *world, const json_t *state, struct err *err)
{
    struct vm_disks all;
    const char *key;
    json_t *record;
    bool ok = true;

    disks_list(world, &all);
    json_object_foreach(json_object_get(state, "disks"), key, record) {
        ok = disks_check_record(world, state, key, record, &all, err);
        if (!ok)
            break;
    }
    disks_clear(&all);
    return ok;
}

void disks_note_sizes(const struct world *world, json_t *state)
{
    struct vm_disks all;

    disks_list(world, &all);
    for (size_t i = 0; i < all.n; i++) {
        json_t *layer = state_layer(state, state_str(state_disk(state, all.v[i].key), "active"));

        json_object_set_new(layer, "size",
                            json_integer((json_int_t)all.v[i].g->active->virtual_size));
    }
    disks_clear(&all);
}
