/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "policy/state.h"
#include "tests/sim/sim_qemu.h"

/* ---- blockdev-add, blockdev-del ---- */

static struct sim_node *add_node(struct sim_qemu *qemu, const char *name, const json_t *options,
                                 const char **error);

/* The node on which another driver's is put: by its name, or made from options. */
static struct sim_node *add_below(struct sim_qemu *qemu, const json_t *value, const char **error)
{
    struct sim_node *node;

    if (!json_is_string(value))
        return add_node(qemu, NULL, value, error);
    node = sim_node_find(qemu, json_string_value(value));
    if (!node)
        *error = "Cannot find device= nor node-name";
    return node;
}

static struct sim_node *add_above(struct sim_qemu *qemu, const char *name, const json_t *options,
                                  const char **error)
{
    struct sim_node *below = add_below(qemu, json_object_get(options, "file"), error), *node;

    if (!below)
        return NULL;
    node = sim_node_add(qemu, name, state_str(options, "driver"));
    node->file = below;
    node->write = !json_is_true(json_object_get(options, "read-only"));
    return node;
}

static struct sim_node *add_node(struct sim_qemu *qemu, const char *name, const json_t *options,
                                 const char **error)
{
    const json_t *file = json_object_get(options, "file"), *backing = json_object_get(options, "backing");
    const char *below = state_str(file, "driver");
    bool write = !json_is_true(json_object_get(options, "read-only"));
    struct sim_node *node;

    if (!below || strcmp(below, "file") != 0)
        return add_above(qemu, name, options, error);
    node = sim_node_open(qemu, name, state_str(options, "driver"), state_str(file, "filename"), write,
                         error);
    if (!node)
        return NULL;
    if (!backing)
        *error = sim_node_open_backing(node, NULL, 0);
    else if (!json_is_null(backing))
        node->backing = add_below(qemu, backing, error);
    return *error ? NULL : node;
}

const char *sim_blockdev_add(struct sim_qemu *qemu, const json_t *args)
{
    const char *name = state_str(args, "node-name"), *error = NULL;
    struct sim_node *node;

    if (!name)
        return "'node-name' must be specified for the root node";
    if (sim_node_find(qemu, name))
        return "Duplicate nodes with node-name";
    node = add_node(qemu, name, args, &error);
    if (node)
        node->owned = true;
    sim_graph_sweep(qemu);
    return error;
}

const char *sim_blockdev_del(struct sim_qemu *qemu, const json_t *args)
{
    struct sim_node *node = sim_node_find(qemu, state_str(args, "node-name"));

    if (!node)
        return "Failed to find node with node-name";
    if (!node->owned)
        return "Node is not owned by the monitor";
    if (sim_node_busy(qemu, node))
        return "Node is busy: block device is in use by block job";
    if (sim_node_users(node) > 0)
        return "Block device is in use";
    node->owned = false;
    sim_graph_sweep(qemu);
    return NULL;
}

/* ---- snapshots ---- */

static const char *snapshot_check(struct sim_qemu *qemu, const json_t *data)
{
    struct sim_node *node = sim_node_find(qemu, state_str(data, "node"));
    struct sim_node *overlay = sim_node_find(qemu, state_str(data, "overlay"));

    if (!node || !overlay)
        return "Cannot find device= nor node-name";
    if (sim_node_busy(qemu, node))
        return "Node is busy: block device is in use by block job";
    if (strcmp(overlay->driver, "qcow2") != 0)
        return "The overlay does not support backing images";
    if (overlay->backing)
        return "The overlay already has a backing image";
    if (sim_node_users(overlay) > 0 || node == overlay)
        return "The overlay is already in use";
    return overlay->write ? NULL : "Block node is read-only";
}

static void snapshot_apply(struct sim_qemu *qemu, const json_t *data)
{
    struct sim_node *node = sim_node_find(qemu, state_str(data, "node"));
    struct sim_node *overlay = sim_node_find(qemu, state_str(data, "overlay"));

    sim_guest_freeze(node->path);
    sim_node_replace(node, overlay);
    overlay->backing = node;
    node->write = node->file->write = false;
    if (!qemu->inactive)
        sim_graph_lock(qemu);
}

const char *sim_snapshot(struct sim_qemu *qemu, const json_t *args)
{
    const char *error = snapshot_check(qemu, args);

    if (!error)
        snapshot_apply(qemu, args);
    return error;
}

const char *sim_transaction(struct sim_qemu *qemu, const json_t *args)
{
    const json_t *actions = json_object_get(args, "actions");
    const char *error = NULL;
    json_t *action;
    size_t i;

    json_array_foreach((json_t *)actions, i, action)
        if (!error)
            error = strcmp(state_str(action, "type"), "blockdev-snapshot") == 0
                        ? snapshot_check(qemu, json_object_get(action, "data"))
                        : "transactions of that are not simulated";
    json_array_foreach((json_t *)actions, i, action)
        if (!error)
            snapshot_apply(qemu, json_object_get(action, "data"));
    return error;
}

const char *sim_snapshot_sync(struct sim_qemu *qemu, const json_t *args)
{
    const char *device = state_str(args, "device"), *error = NULL;
    const char *file = state_str(args, "snapshot-file");
    struct sim_node *node = sim_node_find(qemu, state_str(args, "node-name")), *overlay;
    json_t *data;

    for (size_t i = 0; device && i < qemu->n_disks; i++)
        if (strcmp(qemu->disks[i].device, device) == 0)
            node = qemu->disks[i].root;
    if (!node)
        return "Cannot find device= nor node-name";
    if (sim_node_busy(qemu, node))
        return "Node is busy: block device is in use by block job";
    if (!sim_lock_free(file))
        return "Failed to get \"write\" lock";
    sim_image_make(file, "qcow2", node->path, node->driver);
    overlay = sim_node_open(qemu, state_str(args, "snapshot-node-name"), "qcow2", file, true, &error);
    if (!overlay)
        return error;
    data = json_pack("{s:s, s:s}", "node", node->name, "overlay", overlay->name);
    error = snapshot_check(qemu, data);
    if (!error)
        snapshot_apply(qemu, data);
    sim_graph_sweep(qemu);
    json_decref(data);
    return error;
}

/* ---- a device's drive ---- */

/* Is it another device's, or does an overlay stand on it?  What only reads it shares it. */
static bool drive_conflicts(const struct sim_qemu *qemu, const struct sim_node *node)
{
    for (size_t i = 0; i < qemu->n_disks; i++)
        if (qemu->disks[i].root == node)
            return true;
    for (const struct sim_node *other = qemu->nodes; other; other = other->next)
        if (other->backing == node)
            return true;
    return false;
}

const char *sim_qom_set(struct sim_qemu *qemu, const json_t *args)
{
    struct sim_disk *disk = sim_disk_find(qemu, state_str(args, "path"));
    struct sim_node *node = sim_node_find(qemu, state_str(args, "value"));

    if (!disk || strcmp(state_str(args, "property"), "drive") != 0)
        return "Device not found";
    if (!node)
        return "can't find value of property 'drive'";
    /* None of QEMU's checks is before its assertions. */
    if (node == disk->root) {
        qemu->aborted = true;
        sim_qemu_end(qemu, SIGABRT);
        return NULL;
    }
    if (drive_conflicts(qemu, node))
        return "Conflicts with use by another device";
    disk->root = node;
    sim_graph_sweep(qemu);
    return NULL;
}
