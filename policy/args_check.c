/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The refusals of args_disks.h: what makes snapshots impossible, said before anything changes. */
#include "policy/args_disks.h"

#include "policy/args_drive.h"
#include "policy/args_nodes.h"
#include "policy/args_util.h"
#include "policy/reason.h"

#include <string.h>

/* ---- disks ---- */

/* Options of the whole drive or node that mean the same for an overlay as for its base. */
static const char *const common_keys[] = {
    "driver", "node-name", "read-only", "auto-read-only", "force-share", "discard", "detect-zeroes",
    "cache.direct", "cache.no-flush", "cache.writeback", "file",
    /* qcow2: how to work, not what the image is */
    "lazy-refcounts", "pass-discard-request", "pass-discard-snapshot", "pass-discard-other",
    "discard-no-unref", "cache-size", "l2-cache-size", "l2-cache-entry-size",
    "refcount-cache-size", "cache-clean-interval", NULL
};
/* Of the device's side of a -drive: untouched by what lies below. */
static const char *const drive_keys[] = {
    "format", "if", "index", "bus", "unit", "media", "id", "readonly", "cache", "aio", "werror",
    "rerror", "copy-on-read", "snapshot", "group", "stats-account-invalid",
    "stats-account-failed", NULL
};
/* How the file is worked with.  offset=, size= and the like are not here: they make the disk
 * another than the file, which no overlay's header can say. */
static const char *const file_keys[] = {
    "driver", "filename", "node-name", "locking", "aio", "aio-max-batch", "drop-cache",
    "x-check-cache-dropped", "read-only", "auto-read-only", "force-share", "discard",
    "detect-zeroes", "cache.direct", "cache.no-flush", NULL
};
static const char *const key_groups[] = {
    "iops", "bps", "throttling.", "stats-intervals", "overlap-check", NULL
};

static bool in_groups(const char *key)
{
    for (size_t i = 0; key_groups[i]; i++) {
        if (args_util_prefix(key, key_groups[i], NULL))
            return true;
    }
    return false;
}

static bool key_known(const char *key, enum args_disk_kind kind)
{
    const char *rest;

    if (args_util_listed(key, common_keys) || in_groups(key))
        return true;
    if (args_util_prefix(key, "file.", &rest))
        return args_util_listed(rest, file_keys);
    /* A node's own backing stays below it; a drive's would end up below the wrong layer. */
    if (kind == ARGS_DISK_BLOCKDEV)
        return args_util_prefix(key, "backing", &rest) && (*rest == '\0' || *rest == '.');
    return args_util_listed(key, drive_keys);
}

static void disk_error(struct err *err, const struct args_disk *disk, const char *what)
{
    err_set(err, REASON_UNSUPPORTED_DISK, "disk %s cannot be snapshotted: %s", disk->key, what);
    err_name(err, "disk", disk->key);
}

static bool check_keys(const struct qemuopts *opts, const struct args_disk *disk, struct err *err)
{
    for (size_t i = 0; i < qemuopts_count(opts); i++) {
        const char *key = qemuopts_at(opts, i)->key;

        if (!key_known(key, disk->kind)) {
            ARGS_AUTO_TEXT what = args_util_format("its option '%s' has no known meaning for an "
                                                   "overlay on it; leave it out", key);

            disk_error(err, disk, what);
            err_name(err, "argument", key);
            return false;
        }
    }
    return true;
}

static bool check_driver(const struct args_disk *disk, const char *protocol, struct err *err)
{
    if (!disk->path) {
        disk_error(err, disk, "its image is no local file; give the path of a file or of a block "
                   "device");
        return false;
    }
    if (disk->format && !args_nodes_is_format(disk->format)) {
        disk_error(err, disk, args_nodes_is_local(disk->format)
                   ? "it is a bare file node, which an overlay cannot name as its base; put a node "
                     "with driver=raw above it and use that"
                   : "its driver is no image format");
        return false;
    }
    if (protocol && !args_nodes_is_local(protocol)) {
        disk_error(err, disk, "its image is not reached by driver file or host_device");
        return false;
    }
    return true;
}

static bool check_drive(const struct args *args, const struct args_disk *disk, struct err *err)
{
    struct qemuopts *opts = args_drive_opts(args_at(args, disk->arg), err);
    bool ok = opts != NULL;

    if (ok && disk->snapshot) {
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "disk %s writes to a temporary file (snapshot=on "
                "or -snapshot): start QEMU without it", disk->key);
        err_name(err, "disk", disk->key);
        ok = false;
    }
    ok = ok && check_driver(disk, qemuopts_get(opts, "file.driver"), err);
    ok = ok && check_keys(opts, disk, err);
    qemuopts_free(opts);
    return ok;
}

static bool check_blockdev(const struct args *args, const struct args_disk *disk, struct err *err)
{
    struct args_nodes nodes = { .v = NULL };
    const struct args_node *node;
    bool ok = args_nodes_find(args, &nodes, err);

    if (ok) {
        node = args_nodes_get(&nodes, disk->node_name);
        ok = check_driver(disk, NULL, err) && check_keys(node->opts, disk, err);
    }
    args_nodes_clear(&nodes);
    return ok;
}

/* An empty drive: no image, and nothing else that would be one. */
static bool is_empty_drive(const struct args *args, const struct args_disk *disk)
{
    struct err err = ERR_INIT;
    struct qemuopts *opts;
    bool empty;

    if (disk->kind != ARGS_DISK_DRIVE || disk->path)
        return false;
    opts = args_drive_opts(args_at(args, disk->arg), &err);
    err_clear(&err);
    empty = opts && !qemuopts_has_group(opts, "file") && !qemuopts_get(opts, "driver") &&
            !qemuopts_get(opts, "format");
    qemuopts_free(opts);
    return empty;
}

bool args_check_disk(const struct args *args, const struct args_disk *disk, struct err *err)
{
    if (is_empty_drive(args, disk))
        return true;
    return disk->kind == ARGS_DISK_DRIVE ? check_drive(args, disk, err)
                                         : check_blockdev(args, disk, err);
}

/* ---- everything else ---- */

static bool refuse(struct err *err, const struct arg *arg, const char *what)
{
    err_set(err, REASON_UNSUPPORTED_ARGUMENT, "snapshots are impossible with %s%s%s: %s", arg->word,
            arg->value ? " " : "", arg->value ? arg->value : "", what);
    err_name(err, "argument", arg->word);
    return false;
}

static bool refuse_option(struct err *err, const struct arg *arg)
{
    static const struct {
        const char *name;
        const char *what;
    } whys[] = {
        { "snapshot", "all writes go to temporary files, which no second process can open; start QEMU "
                      "without it, take a snapshot and revert to it instead" },
        { "loadvm", "a second process would load it too; load it over QMP instead" },
        { "incoming", "the process waits for another's migration; end that first" },
        { "readconfig", "its file may hold disks; put its options on the command line" },
        { "chroot", "new overlays could not be opened by their paths" },
        { "preconfig", "the machine is made over QMP; start QEMU without it" },
    };

    for (size_t i = 0; i < sizeof(whys) / sizeof(whys[0]); i++) {
        if (strcmp(whys[i].name, arg->name) == 0)
            return refuse(err, arg, whys[i].what);
    }
    return refuse(err, arg, "QEMU prints something and ends");
}

static bool check_set(const struct arg *arg, struct err *err)
{
    static const char *const groups[] = { "drive.", "chardev.", "netdev.", "net.", "mon.", NULL };
    const char *key = strrchr(arg->value, '.');

    for (size_t i = 0; groups[i]; i++) {
        if (args_util_prefix(arg->value, groups[i], NULL))
            return refuse(err, arg, "it changes another option from outside; change that option");
    }
    if (key && args_util_prefix(key, ".drive=", NULL))
        return refuse(err, arg, "it gives a device its disk; put drive= into the -device");
    return true;
}

static bool check_conditional(const struct arg *arg, struct err *err)
{
    struct qemuopts *opts;
    bool ok = true;

    if (strcmp(arg->name, "set") == 0)
        return check_set(arg, err);
    opts = qemuopts_parse(arg->value, NULL, err);
    if (!opts)
        return false;
    if (strcmp(arg->name, "icount") == 0 && qemuopts_get(opts, "rr"))
        ok = refuse(err, arg, "recording and replaying keep snapshots of their own");
    else if (strcmp(arg->name, "run-with") == 0 && qemuopts_get(opts, "chroot"))
        ok = refuse(err, arg, "new overlays could not be opened by their paths");
    else if (strcmp(arg->name, "global") == 0 &&
             (strstr(arg->value, ".drive=") ||
              args_util_same(qemuopts_get(opts, "property"), "drive")))
        ok = refuse(err, arg, "it gives a device its disk; put drive= into the -device");
    qemuopts_free(opts);
    return ok;
}

bool args_check_arguments(const struct args *args, struct err *err)
{
    const char *unknown = args_unknown(args);

    if (unknown) {
        err_set(err, REASON_UNKNOWN_ARGUMENT, "%s is no option of QEMU 7.2 to 10.0 that the proxy "
                "knows, so it cannot say what a second process would do with it", unknown);
        err_name(err, "argument", unknown);
        return false;
    }
    for (size_t i = 0; i < args_count(args); i++) {
        const struct arg *arg = args_at(args, i);

        if (!arg->row)
            continue;
        if (arg->row->class == OPTION_REFUSED)
            return refuse_option(err, arg);
        if (arg->row->class == OPTION_CONDITIONAL && !check_conditional(arg, err))
            return false;
    }
    return true;
}

/* A filter whose image is written inside its own options: there is no name to move it away from. */
static bool check_filters(const struct args *args, struct err *err)
{
    struct args_nodes nodes = { .v = NULL };
    bool ok = args_nodes_find(args, &nodes, err);

    for (size_t i = 0; ok && i < nodes.n; i++) {
        const struct args_node *node = &nodes.v[i];

        if (node->role != ARGS_NODE_FILTER || qemuopts_get_bool(node->opts, "read-only", false))
            continue;
        if (qemuopts_get(node->opts, "file.driver") || qemuopts_get(node->opts, "image.driver")) {
            err_set(err, REASON_UNSUPPORTED_DISK, "the filter node '%s' has its image inside its "
                    "own options: give the image a -blockdev with a node-name and refer to that",
                    node->name ? node->name : "");
            err_name(err, "node", node->name);
            ok = false;
        }
    }
    args_nodes_clear(&nodes);
    return ok;
}

/* By name only: two paths of one file are for those who may look at files. */
static bool check_twice(const struct args_disks *disks, struct err *err)
{
    for (size_t i = 0; i < disks->n; i++) {
        for (size_t k = 0; k < i; k++) {
            const struct args_disk *one = &disks->v[k];
            const struct args_disk *two = &disks->v[i];

            if (!one->path || !args_util_same(one->path, two->path) ||
                (one->read_only && two->read_only))
                continue;
            err_set(err, REASON_UNSUPPORTED_DISK, "the image %s is both %s and %s: an overlay of "
                    "one would change the other; give each disk an image of its own", one->path,
                    one->key, two->key);
            err_name(err, "disk", two->key);
            return false;
        }
    }
    return true;
}

bool args_check_snapshots(const struct args *args, struct err *err)
{
    struct args_disks disks = ARGS_DISKS_INIT;
    bool ok = args_check_arguments(args, err) && args_disks_find(args, &disks, err);

    for (size_t i = 0; ok && i < disks.n; i++) {
        if (!disks.v[i].read_only)
            ok = args_check_disk(args, &disks.v[i], err);
    }
    ok = ok && check_filters(args, err) && check_twice(&disks, err);
    args_disks_clear(&disks);
    return ok;
}
