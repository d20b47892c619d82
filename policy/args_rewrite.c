/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/args_rewrite.h"

#include "policy/args_disks.h"
#include "policy/args_late.h"
#include "policy/args_layers.h"
#include "policy/args_util.h"
#include "policy/reason.h"

#include <string.h>

/* Whether the plan leaves the disk on the one image that the arguments name. */
static bool is_unchanged(const struct args_disk *disk, const struct disk_rewrite *rewrite)
{
    return rewrite->n_layers == 1 && args_util_same(rewrite->layers[0].path, disk->path);
}

static bool rewrite_disk(struct args *args, const struct args_rewrite *rw, size_t number,
                         struct err *err)
{
    const struct disk_rewrite *rewrite = &rw->disks[number];
    struct args_disks disks = ARGS_DISKS_INIT;
    const struct args_disk *disk = NULL;
    /* Found anew for each: a disk before it may have added options. */
    bool ok = args_disks_find(args, &disks, err);

    if (ok) {
        disk = args_disks_get(&disks, rewrite->key);
        ok = disk && rewrite->n_layers > 0;
        if (!ok) {
            err_set(err, REASON_UNKNOWN_DISK, "QEMU's arguments have no disk %s", rewrite->key);
            err_name(err, "disk", rewrite->key);
        }
    }
    if (ok && !is_unchanged(disk, rewrite)) {
        ok = args_check_disk(args, disk, err);
        if (ok && disk->kind == ARGS_DISK_DRIVE)
            ok = args_layers_drive(args, disk, rewrite, err);
        else if (ok)
            ok = args_layers_node(args, disk, rewrite, rw->node_prefix ? rw->node_prefix : "qp",
                                  number, err);
    }
    args_disks_clear(&disks);
    return ok;
}

/* A process that is to load a snapshot's memory must not be told to load anything else. */
static bool add_incoming(struct args *args, struct err *err)
{
    static const char *const others[] = { "incoming", "loadvm" };

    for (size_t i = 0; i < 2; i++) {
        if (!args_has(args, others[i]))
            continue;
        err_set(err, REASON_UNSUPPORTED_ARGUMENT, "a snapshot cannot be reverted to with -%s on "
                "QEMU's command line: the new process would load that instead; do it over QMP",
                others[i]);
        err_name(err, "argument", others[i]);
        return false;
    }
    args_append(args, "-incoming", "defer");
    return true;
}

static void add_extra(struct args *args, const char *const *extra)
{
    for (size_t i = 0; extra && extra[i]; i++) {
        const struct option_row *row = extra[i][0] == '-' ? options_table_find(extra[i] + 1) : NULL;

        if (row && row->takes_value && extra[i + 1]) {
            args_append(args, extra[i], extra[i + 1]);
            i++;
        } else {
            args_append(args, extra[i][0] == '-' ? extra[i] : NULL,
                        extra[i][0] == '-' ? NULL : extra[i]);
        }
    }
}

bool args_rewrite(const struct args *args, const struct args_rewrite *rw, char ***argv,
                  json_t **late_commands, struct err *err)
{
    struct args *copy = args_copy(args);
    json_t *commands = json_array();
    bool ok = true;

    for (size_t i = 0; ok && i < rw->n_disks; i++)
        ok = rewrite_disk(copy, rw, i, err);
    if (ok && rw->late)
        ok = args_late_apply(copy, rw->late_prefix, commands, err);
    if (ok && rw->again)
        args_late_keep(copy);
    if (ok && rw->paused && !args_has(copy, "S"))
        args_append(copy, "-S", NULL);
    if (ok && rw->incoming)
        ok = add_incoming(copy, err);
    if (ok) {
        add_extra(copy, rw->extra);
        *argv = args_render(copy);
        *late_commands = commands;
    } else {
        json_decref(commands);
    }
    args_free(copy);
    return ok;
}
