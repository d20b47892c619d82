/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/args_layers.h"

#include "policy/args_drive.h"
#include "policy/args_nodes.h"
#include "policy/args_util.h"
#include "policy/qemuopts.h"
#include "policy/reason.h"

#include <stdlib.h>
#include <string.h>

static const struct layer_arg *bottom_of(const struct disk_rewrite *rewrite)
{
    return &rewrite->layers[rewrite->n_layers - 1];
}

static void option_replace(struct args *args, size_t at, const char *word,
                           const struct qemuopts *opts)
{
    ARGS_AUTO_TEXT text = qemuopts_render(opts);

    args_replace(args, at, word, text);
}

/* ---- drives ---- */

/* A relative path with a colon before the first slash would be read as a protocol. */
static char *plain_path(const char *path)
{
    size_t colon = strcspn(path, ":/");

    return path[colon] == ':' ? args_util_format("./%s", path) : args_util_dup(path);
}

static void drive_set_image(struct qemuopts *opts, const struct layer_arg *active)
{
    ARGS_AUTO_TEXT path = plain_path(active->path);

    qemuopts_set(opts, qemuopts_get(opts, "file.filename") ? "file.filename" : "file", path);
    /* An overlay is a file, also where the image that it stands on is a block device. */
    if (qemuopts_get(opts, "file.driver"))
        qemuopts_set(opts, "file.driver", "file");
    if (active->format)
        qemuopts_set(opts, qemuopts_get(opts, "driver") ? "driver" : "format", active->format);
}

/* The name that the user gave the image, and the one of its file node, go down to the layer which
 * that image has become. */
static void drive_set_names(struct qemuopts *opts, const struct disk_rewrite *rewrite,
                            const char *user_name)
{
    ARGS_AUTO_TEXT file_name = args_util_dup(qemuopts_get(opts, "file.node-name"));
    char *prefix = args_util_dup("");

    qemuopts_remove(opts, "node-name");
    if (rewrite->n_layers > 1)
        qemuopts_remove(opts, "file.node-name");
    for (size_t i = 0; i < rewrite->n_layers; i++) {
        bool bottom = i + 1 == rewrite->n_layers;
        const char *name = rewrite->layers[i].node_name;
        ARGS_AUTO_TEXT key = args_util_format("%snode-name", prefix);
        ARGS_AUTO_TEXT file_key = args_util_format("%sfile.node-name", prefix);
        char *deeper;

        if (!name && bottom)
            name = user_name;
        if (name)
            qemuopts_set(opts, key, name);
        if (bottom && file_name)
            qemuopts_set(opts, file_key, file_name);
        deeper = args_util_format("%sbacking.", prefix);
        free(prefix);
        prefix = deeper;
    }
    free(prefix);
}

bool args_layers_drive(struct args *args, const struct args_disk *disk,
                       const struct disk_rewrite *rewrite, struct err *err)
{
    struct qemuopts *opts = args_drive_opts(args_at(args, disk->arg), err);

    if (!opts)
        return false;
    drive_set_image(opts, &rewrite->layers[0]);
    drive_set_names(opts, rewrite, disk->node_name);
    option_replace(args, disk->arg, "-drive", opts);
    qemuopts_free(opts);
    /* A -device may name the node of a -drive instead of its id. */
    if (!disk->node_name || rewrite->n_layers < 2 || !rewrite->layers[0].node_name)
        return true;
    return args_nodes_move_users(args, disk->node_name, rewrite->layers[0].node_name, err);
}

/* ---- nodes ---- */

/* Whether the bottom layer is the node that the command line defines. */
static bool bottom_is_given(const struct args_disk *disk, const struct disk_rewrite *rewrite)
{
    const char *name = bottom_of(rewrite)->node_name;

    return !rewrite->gone && (!name || args_util_same(name, disk->node_name));
}

static char *layer_name(const struct args_disk *disk, const struct disk_rewrite *rewrite, size_t i,
                        const char *prefix, size_t number)
{
    const char *name = rewrite->layers[i].node_name;

    if (name)
        return args_util_dup(name);
    if (i + 1 == rewrite->n_layers && !rewrite->gone)
        return args_util_dup(disk->node_name);
    /* QEMU allows 31 bytes. */
    return args_util_format("%s-d%zu-l%zu", prefix, number, rewrite->n_layers - 1 - i);
}

/* Sets a key of a new layer to what the user's node, or its file node, has there. */
static void key_repeat(struct qemuopts *to, const char *key, const struct qemuopts *a,
                       const char *a_key, const struct qemuopts *b, const char *b_key)
{
    const char *value = qemuopts_get(a, a_key);

    if (!value && b)
        value = qemuopts_get(b, b_key);
    if (!value)
        return;
    /* JSON wants true for what the text form calls on. */
    if (args_util_prefix(key, "cache.", NULL) || strcmp(key, "file.drop-cache") == 0)
        qemuopts_set_bool(to, key, strcmp(value, "on") == 0);
    else
        qemuopts_set(to, key, value);
}

static struct qemuopts *layer_opts(const struct args_node *node, const struct args_node *file,
                                   const struct layer_arg *layer, const char *name)
{
    struct qemuopts *opts = qemuopts_new_json(json_object());
    const struct qemuopts *from = node->opts;
    const struct qemuopts *below = file ? file->opts : NULL;

    qemuopts_set(opts, "driver", layer->format);
    qemuopts_set(opts, "node-name", name);
    qemuopts_set(opts, "file.driver", "file");
    qemuopts_set(opts, "file.filename", layer->path);
    key_repeat(opts, "discard", from, "discard", NULL, NULL);
    key_repeat(opts, "detect-zeroes", from, "detect-zeroes", NULL, NULL);
    key_repeat(opts, "cache.direct", from, "cache.direct", below, "cache.direct");
    key_repeat(opts, "cache.no-flush", from, "cache.no-flush", below, "cache.no-flush");
    key_repeat(opts, "file.aio", from, "file.aio", below, "aio");
    key_repeat(opts, "file.locking", from, "file.locking", below, "locking");
    return opts;
}

/* The user's node below others: read-only, and nothing inline in its way. */
static void node_freeze(struct args *args, const struct args_node *node)
{
    qemuopts_set_bool(node->opts, "read-only", true);
    qemuopts_remove(node->opts, "auto-read-only");
    qemuopts_remove(node->opts, "file.read-only");
    qemuopts_remove(node->opts, "file.auto-read-only");
    option_replace(args, node->arg, "-blockdev", node->opts);
}

/* Writes the layers from the bottom up, each after the one that it stands on. */
static void layers_write(struct args *args, const struct args_disk *disk,
                         const struct args_nodes *nodes, const struct disk_rewrite *rewrite,
                         const char *prefix, size_t number)
{
    const struct args_node *node = args_nodes_get(nodes, disk->node_name);
    const struct args_node *file = args_nodes_file(nodes, node);
    bool given = bottom_is_given(disk, rewrite);
    size_t at = disk->arg + (given ? 1 : 0);
    char *below = given ? args_util_dup(disk->node_name) : NULL;

    if (given)
        node_freeze(args, node);
    else
        args_remove(args, disk->arg);
    for (size_t i = rewrite->n_layers - (given ? 1 : 0); i > 0; i--) {
        char *name = layer_name(disk, rewrite, i - 1, prefix, number);
        struct qemuopts *opts = layer_opts(node, file, &rewrite->layers[i - 1], name);
        ARGS_AUTO_TEXT text = NULL;

        if (below)
            qemuopts_set(opts, "backing", below);
        if (i > 1 || disk->read_only)
            qemuopts_set_bool(opts, "read-only", true);
        text = qemuopts_render(opts);
        args_insert(args, at++, "-blockdev", text);
        qemuopts_free(opts);
        free(below);
        below = name;
    }
    free(below);
}

static bool layers_ok(const struct disk_rewrite *rewrite, struct err *err)
{
    for (size_t i = 0; i < rewrite->n_layers; i++) {
        json_t *path = json_string(rewrite->layers[i].path);

        json_decref(path);
        if (path && (rewrite->layers[i].format || i + 1 == rewrite->n_layers))
            continue;
        err_set(err, REASON_UNSUPPORTED_DISK, path ? "a layer of disk %s has no format"
                : "a layer of disk %s has a path that is not UTF-8, which -blockdev cannot say",
                rewrite->key);
        err_name(err, "disk", rewrite->key);
        return false;
    }
    return true;
}

bool args_layers_node(struct args *args, const struct args_disk *disk,
                      const struct disk_rewrite *rewrite, const char *prefix, size_t number,
                      struct err *err)
{
    struct args_nodes nodes = { .v = NULL };
    bool given = bottom_is_given(disk, rewrite);
    ARGS_AUTO_TEXT top = layer_name(disk, rewrite, 0, prefix, number);
    bool ok = layers_ok(rewrite, err);

    if (ok && !given && !bottom_of(rewrite)->format) {
        err_set(err, REASON_UNSUPPORTED_DISK, "the bottom layer of disk %s has no format",
                rewrite->key);
        ok = false;
    }
    if (ok && given && rewrite->n_layers == 1) {
        err_set(err, REASON_UNSUPPORTED_DISK, "node '%s' means the image %s and cannot become %s; "
                "give that layer another node-name", disk->node_name, disk->path,
                rewrite->layers[0].path);
        err_name(err, "disk", rewrite->key);
        ok = false;
    }
    /* Users first: the layers to come name the user's node themselves. */
    ok = ok && args_nodes_move_users(args, disk->node_name, top, err) &&
         args_nodes_find(args, &nodes, err);
    if (ok)
        layers_write(args, disk, &nodes, rewrite, prefix, number);
    args_nodes_clear(&nodes);
    return ok;
}
