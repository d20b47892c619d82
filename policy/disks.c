/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/disks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

static char *disks_dup(const char *text)
{
    char *copy = alloc_copy(text);

    return copy;
}

/* "/machine/peripheral/ID/virtio-backend" is shown as "ID"; other paths stay. */
static char *disks_label(const struct graph_disk *g)
{
    static const char prefix[] = "/machine/peripheral/";
    const char *text = g->device[0] ? g->device : g->qdev ? g->qdev : g->root->name;
    size_t skip = strncmp(text, prefix, sizeof(prefix) - 1) == 0 ? sizeof(prefix) - 1 : 0;
    char *label = disks_dup(text + skip);
    char *tail = skip ? strchr(label, '/') : NULL;

    if (tail)
        *tail = '\0';
    return label;
}

/* The -blockdev of the command line whose node is in the disk's chain, or above it as a filter. */
static const struct args_disk *disks_args_node(const struct world *world,
                                               const struct graph_disk *g)
{
    const struct args_disks *all = world->args_disks;

    for (size_t i = 0; all && i < all->n; i++) {
        const char *node = all->v[i].node_name;

        if (all->v[i].kind != ARGS_DISK_BLOCKDEV || !node)
            continue;
        if (graph_chain_index(g, node) >= 0 || strcmp(g->root->name, node) == 0)
            return &all->v[i];
    }
    return NULL;
}

/* Is the image of that layer in the disk's chain? */
static bool disks_has_layer(const struct world *world, const struct graph_disk *g, const char *id)
{
    const char *real = state_str(state_layer(world->record, id), "real");
    const json_t *file = real ? world_file(world, real) : NULL;

    for (size_t i = 0; i < g->n_chain; i++)
        if (disks_same_file(file, world_file(world, g->chain[i].file)))
            return true;
    return false;
}

/* The key on record of a node's disk whose first image is in its chain no more: a client's block job
 * took it out.  The device is the same, and so is its active image. */
static const char *disks_recorded_key(const struct world *world, const struct graph_disk *g)
{
    const char *key;
    json_t *record;

    json_object_foreach(json_object_get(world->record, "disks"), key, record) {
        const char *qdev = state_str(record, "qdev");

        if (strncmp(key, "node:", 5) == 0 && qdev && g->qdev && strcmp(qdev, g->qdev) == 0 &&
            disks_has_layer(world, g, state_str(record, "active")))
            return key;
    }
    return NULL;
}

static void disks_identify(const struct world *world, const struct graph_disk *g,
                           struct vm_disk *out)
{
    const char *recorded;
    char key[600];

    out->g = g;
    out->a = NULL;
    out->label = disks_label(g);
    if (g->device[0]) {
        snprintf(key, sizeof(key), "drive:%.512s", g->device);
        out->a = world->args_disks ? args_disks_get(world->args_disks, key) : NULL;
    } else if ((out->a = disks_args_node(world, g))) {
        snprintf(key, sizeof(key), "%.512s", out->a->key);
    } else if ((recorded = disks_recorded_key(world, g))) {
        snprintf(key, sizeof(key), "%.512s", recorded);
        out->a = world->args_disks ? args_disks_get(world->args_disks, key) : NULL;
    } else {
        snprintf(key, sizeof(key), "qdev:%.512s", out->label);
    }
    out->key = disks_dup(key);
}

void disks_list(const struct world *world, struct vm_disks *out)
{
    const struct graph *graph = world->graph;

    out->n = 0;
    out->v = alloc_zeroed(graph->n_disks + 1, sizeof(*out->v));
    for (size_t i = 0; i < graph->n_disks; i++)
        if (graph->disks[i].inserted)
            disks_identify(world, &graph->disks[i], &out->v[out->n++]);
}

void disks_clear(struct vm_disks *disks)
{
    for (size_t i = 0; i < disks->n; i++) {
        free(disks->v[i].key);
        free(disks->v[i].label);
    }
    free(disks->v);
    disks->v = NULL;
    disks->n = 0;
}

const struct vm_disk *disks_find(const struct vm_disks *disks, const char *key)
{
    for (size_t i = 0; i < disks->n; i++)
        if (strcmp(disks->v[i].key, key) == 0)
            return &disks->v[i];
    return NULL;
}

static bool disks_refuse(const struct vm_disk *disk, const char *what, struct err *err)
{
    err_set(err, REASON_UNSUPPORTED_DISK, "Disk '%s' cannot be snapshotted: %s", disk->label, what);
    err_name(err, "disk", disk->label);
    return false;
}

bool disks_check_top(const struct world *world, const struct vm_disk *disk, struct err *err)
{
    for (size_t i = 0; i < world->graph->n_nodes; i++) {
        const struct graph_node *node = &world->graph->nodes[i];

        for (size_t k = 0; k < node->n_children; k++) {
            if (node->children[k].node != disk->g->active)
                continue;
            err_set(err, REASON_CHAIN_MISMATCH, "Node '%s' stands on the image that disk '%s' runs on, so that "
                    "QEMU gives it no other: close it with blockdev-del", node->name, disk->label);
            err_name(err, "disk", disk->label);
            err_name(err, "node", node->name);
            return false;
        }
    }
    return true;
}

bool disks_check_kind(const struct world *world, const struct vm_disk *disk, struct err *err)
{
    const struct graph_link *top = &disk->g->chain[0];

    if (!disk->g->writable)
        return disks_refuse(disk, "it is read-only", err);
    if (disk->g->filtered)
        return disks_refuse(disk, "a filter (throttle, copy-on-read, ...) stands above its image",
                            err);
    if (strcmp(top->image->driver, "raw") != 0 && strcmp(top->image->driver, "qcow2") != 0)
        return disks_refuse(disk, "its image is neither raw nor qcow2", err);
    if (!top->direct || (strcmp(top->protocol_driver, "file") != 0 &&
                         strcmp(top->protocol_driver, "host_device") != 0))
        return disks_refuse(disk, "its image is not a local file or block device", err);
    if (!world_file(world, top->file))
        return disks_refuse(disk, "its image file cannot be found", err);
    if (world->args && disk->a)
        return args_check_disk(world_command_line(world), disk->a, err);
    return true;
}

static bool disks_is_named(const struct vm_disk *disk, const char *name)
{
    return strcmp(disk->label, name) == 0 || strcmp(disk->g->root->name, name) == 0 ||
           strcmp(disk->key, name) == 0 || (disk->g->qdev && strcmp(disk->g->qdev, name) == 0) ||
           (disk->a && disk->a->node_name && strcmp(disk->a->node_name, name) == 0);
}

/* Takes a disk out of `from` and appends it. */
static void disks_take(struct vm_disks *out, struct vm_disk *from)
{
    out->v[out->n++] = *from;
    from->key = disks_dup("");
    from->label = disks_dup("");
}

static bool disks_select_named(struct vm_disks *all, const json_t *names, struct vm_disks *out,
                               struct err *err)
{
    json_t *name;
    size_t i, k;

    json_array_foreach((json_t *)names, i, name) {
        for (k = 0; k < all->n; k++)
            if (all->v[k].key[0] && disks_is_named(&all->v[k], json_string_value(name)))
                break;
        if (k == all->n) {
            err_set(err, REASON_UNKNOWN_DISK,
                    "There is no disk '%s' (or it is named twice): query-block lists the disks",
                    json_string_value(name));
            err_name(err, "disk", json_string_value(name));
            return false;
        }
        disks_take(out, &all->v[k]);
    }
    return true;
}

bool disks_select(const struct world *world, const json_t *names, struct vm_disks *out,
                  struct err *err)
{
    struct vm_disks all;
    bool ok = true;

    disks_list(world, &all);
    out->n = 0;
    out->v = alloc_zeroed(all.n + 1, sizeof(*out->v));
    if (names)
        ok = disks_select_named(&all, names, out, err);
    else
        for (size_t i = 0; i < all.n; i++)
            if (all.v[i].g->writable && !(all.v[i].a && all.v[i].a->cdrom))
                disks_take(out, &all.v[i]);
    for (size_t i = 0; ok && i < out->n; i++)
        ok = disks_check_kind(world, &out->v[i], err) && disks_check_top(world, &out->v[i], err);
    disks_clear(&all);
    if (!ok)
        disks_clear(out);
    return ok;
}

bool disks_refuse_job(const json_t *job, struct err *err)
{
    const char *id = state_str(job, "id"), *type = state_str(job, "type");

    err_set(err, REASON_JOB_RUNNING, "Job '%s' (%s) is there: wait for its end and dismiss it",
            id ? id : "?", type ? type : "?");
    err_name(err, "job", id);
    return false;
}

bool disks_check_jobs(const struct world *world, struct err *err)
{
    const json_t *first = json_array_get(world->jobs, 0);

    return !first || disks_refuse_job(first, err);
}
