/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/args_nodes.h"

#include "policy/args_drive.h"
#include "policy/args_util.h"

#include <stdlib.h>
#include <string.h>

bool args_nodes_is_format(const char *driver)
{
    static const char *const formats[] = { "raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc",
        "vhdx", "parallels", "dmg", "bochs", "cloop", "luks", NULL };

    return driver && args_util_listed(driver, formats);
}

bool args_nodes_is_local(const char *driver)
{
    static const char *const local[] = { "file", "host_device", "host_cdrom", NULL };

    return driver && args_util_listed(driver, local);
}

static bool is_filter(const char *driver)
{
    static const char *const filters[] = { "throttle", "copy-on-read", "blkdebug", "blkverify",
        "blklogwrites", "blkreplay", "compress", "preallocate", "copy-before-write",
        "snapshot-access", "quorum", NULL };

    return driver && args_util_listed(driver, filters);
}

static const char *key_last_part(const char *key)
{
    const char *dot = strrchr(key, '.');

    return dot ? dot + 1 : key;
}

bool args_nodes_is_child_key(const char *key)
{
    static const char *const children[] = { "file", "image", "test", "log", "target", NULL };

    return args_util_listed(key_last_part(key), children);
}

const struct args_node *args_nodes_get(const struct args_nodes *nodes, const char *name)
{
    for (size_t i = 0; name && i < nodes->n; i++) {
        if (args_util_same(nodes->v[i].name, name))
            return &nodes->v[i];
    }
    return NULL;
}

const struct args_node *args_nodes_file(const struct args_nodes *nodes,
                                        const struct args_node *image)
{
    const char *file = qemuopts_get(image->opts, "file");

    return file ? args_nodes_get(nodes, file) : NULL;
}

static bool nodes_read(const struct args *args, struct args_nodes *out, struct err *err)
{
    for (size_t i = 0; i < args_count(args); i++) {
        const struct arg *arg = args_at(args, i);
        struct args_node node = { .arg = i };

        if (!arg->row || arg->row->class != OPTION_BLOCKDEV)
            continue;
        node.opts = qemuopts_parse(arg->value, "driver", err);
        if (!node.opts)
            return false;
        node.name = qemuopts_get(node.opts, "node-name");
        node.driver = qemuopts_get(node.opts, "driver");
        out->v = args_util_grow(out->v, out->n + 1, sizeof(*out->v));
        out->v[out->n++] = node;
    }
    return true;
}

static struct args_node *node_named(struct args_nodes *nodes, const char *name)
{
    return (struct args_node *)args_nodes_get(nodes, name);
}

/* Roles by what a node is; who names it as backing or file comes afterwards. */
static void roles_by_driver(struct args_nodes *nodes)
{
    for (size_t i = 0; i < nodes->n; i++) {
        struct args_node *node = &nodes->v[i];
        const struct args_node *file = args_nodes_file(nodes, node);

        if (is_filter(node->driver))
            node->role = ARGS_NODE_FILTER;
        else if (args_nodes_is_format(node->driver) && file && args_nodes_is_format(file->driver))
            node->role = ARGS_NODE_FILTER;      /* raw over another format: a window on it */
        else if (args_nodes_is_format(node->driver))
            node->role = ARGS_NODE_IMAGE;
        else
            node->role = ARGS_NODE_FILE;        /* until something uses it directly */
    }
}

static void roles_by_users(struct args_nodes *nodes)
{
    for (size_t i = 0; i < nodes->n; i++) {
        struct args_node *node = &nodes->v[i];

        for (size_t k = 0; k < qemuopts_count(node->opts); k++) {
            const struct qemuopt *item = qemuopts_at(node->opts, k);
            struct args_node *child = node_named(nodes, item->value);

            if (!child || child == node)
                continue;
            if (strcmp(key_last_part(item->key), "backing") == 0)
                child->role = ARGS_NODE_LOWER;
            else if (node->role == ARGS_NODE_FILTER && child->role == ARGS_NODE_FILE &&
                     args_nodes_is_child_key(item->key))
                child->role = ARGS_NODE_IMAGE;
        }
    }
}

/* What uses the node is a device: so is the node's chain of filters, down to the image. */
static void attach(struct args_nodes *nodes, const char *name, unsigned depth)
{
    struct args_node *node = node_named(nodes, name);

    /* depth: the text may describe a circle, which QEMU will refuse. */
    if (!node || depth > nodes->n)
        return;
    node->attached = true;
    if (node->role == ARGS_NODE_FILE)
        node->role = ARGS_NODE_IMAGE;
    for (size_t k = 0; node->role == ARGS_NODE_FILTER && k < qemuopts_count(node->opts); k++) {
        const struct qemuopt *item = qemuopts_at(node->opts, k);

        if (args_nodes_is_child_key(item->key))
            attach(nodes, item->value, depth + 1);
    }
}

/* Keys of -device and -machine whose value is a node (or a drive). */
static bool is_user_key(const struct arg *arg, const char *key)
{
    if (arg->row->class == OPTION_DEVICE)
        return strcmp(key, "drive") == 0;
    return arg->row->class == OPTION_MACHINE && args_util_prefix(key, "pflash", NULL);
}

static struct qemuopts *user_opts(const struct arg *arg, struct err *err)
{
    if (!arg->row || (arg->row->class != OPTION_DEVICE && arg->row->class != OPTION_MACHINE))
        return qemuopts_new();
    return qemuopts_parse(arg->value, arg->row->class == OPTION_DEVICE ? "driver" : "type", err);
}

static bool roles_by_devices(const struct args *args, struct args_nodes *nodes, struct err *err)
{
    for (size_t i = 0; i < args_count(args); i++) {
        struct qemuopts *opts = user_opts(args_at(args, i), err);

        if (!opts)
            return false;
        for (size_t k = 0; k < qemuopts_count(opts); k++) {
            if (is_user_key(args_at(args, i), qemuopts_at(opts, k)->key))
                attach(nodes, qemuopts_at(opts, k)->value, 0);
        }
        qemuopts_free(opts);
    }
    return true;
}

bool args_nodes_find(const struct args *args, struct args_nodes *out, struct err *err)
{
    if (!nodes_read(args, out, err))
        return false;
    roles_by_driver(out);
    roles_by_users(out);
    return roles_by_devices(args, out, err);
}

void args_nodes_clear(struct args_nodes *nodes)
{
    for (size_t i = 0; i < nodes->n; i++)
        qemuopts_free(nodes->v[i].opts);
    free(nodes->v);
    *nodes = (struct args_nodes){ .v = NULL };
}

/* ---- moving the users of a node ---- */

static bool move_in(struct args *args, size_t i, const char *from, const char *to, struct err *err)
{
    const struct arg *arg = args_at(args, i);
    bool blockdev = arg->row && arg->row->class == OPTION_BLOCKDEV;
    struct qemuopts *opts = blockdev ? qemuopts_parse(arg->value, "driver", err)
                                     : user_opts(arg, err);
    bool changed = false;

    if (!opts)
        return false;
    for (size_t k = 0; k < qemuopts_count(opts); k++) {
        const struct qemuopt *item = qemuopts_at(opts, k);
        bool uses = blockdev ? args_nodes_is_child_key(item->key) : is_user_key(arg, item->key);

        if (uses && strcmp(item->value, from) == 0) {
            ARGS_AUTO_TEXT key = args_util_dup(item->key);

            qemuopts_set(opts, key, to);
            changed = true;
        }
    }
    if (changed) {
        ARGS_AUTO_TEXT word = args_util_dup(arg->word);
        ARGS_AUTO_TEXT text = qemuopts_render(opts);

        args_replace(args, i, word, text);
    }
    qemuopts_free(opts);
    return true;
}

bool args_nodes_move_users(struct args *args, const char *from, const char *to, struct err *err)
{
    for (size_t i = 0; i < args_count(args); i++) {
        if (!move_in(args, i, from, to, err))
            return false;
    }
    return true;
}

/* ---- images as disks ---- */

void args_nodes_disks(const struct args_nodes *nodes, struct args_disks *out)
{
    for (size_t i = 0; i < nodes->n; i++) {
        const struct args_node *node = &nodes->v[i];
        const struct args_node *file = args_nodes_file(nodes, node);
        struct args_disk disk = { .kind = ARGS_DISK_BLOCKDEV, .arg = node->arg,
                                  .file_arg = file ? file->arg : node->arg };
        const struct qemuopts *place = file ? file->opts : node->opts;
        bool bare = !args_nodes_is_format(node->driver);
        const char *driver = file || bare ? qemuopts_get(place, "driver")
                                          : qemuopts_get(place, "file.driver");
        const char *key = file || bare ? "filename" : "file.filename";

        /* Without a name nothing can use it, and QEMU refuses it. */
        if (node->role != ARGS_NODE_IMAGE || !node->name)
            continue;
        disk.key = args_util_format("node:%s", node->name);
        disk.node_name = args_util_dup(node->name);
        disk.format = args_util_dup(node->driver);
        disk.read_only = qemuopts_get_bool(node->opts, "read-only", false);
        disk.cdrom = args_util_same(driver, "host_cdrom");
        disk.discard = args_drive_discards(node->opts);
        disk.attached = node->attached;
        if (args_nodes_is_local(driver) && qemuopts_get(place, key) &&
            !args_util_prefix(qemuopts_get(place, key), "/dev/fdset/", NULL))
            disk.path = args_util_dup(qemuopts_get(place, key));
        out->v = args_util_grow(out->v, out->n + 1, sizeof(*out->v));
        out->v[out->n++] = disk;
    }
}
