/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_rewrite: the command line of the next QEMU process, made from the user's own.
 *
 * Model: images are replaced by layers of a plan, `-S` and `-incoming defer` are added, and what
 * two processes cannot hold at the same time is left out and becomes a list of QMP commands for the
 * moment when the old process has ended (late binding).
 *
 * Rules: always made from the original arguments, never from an earlier result.  Names that clients
 * know stay: the id of a drive names the same disk, a node-name the same image.  Drives get
 * x.node-name= only.  QEMU shows a layer's plain file name when nothing below it was overridden, or
 * when the backing string in its header is exactly the name that the backing node was opened by,
 * and json:{...} otherwise (block.c: bdrv_backing_overridden; a backing.node-name= counts as an
 * override).  So names stay plain with absolute paths in the headers, or, for drives, with a name
 * for layers[0] only.  Tried on 7.2 and 10.0.
 *
 * A node below the active layer is opened read-only; block-commit into it reopens it by itself.
 */
#ifndef POLICY_ARGS_REWRITE_H
#define POLICY_ARGS_REWRITE_H

#include "policy/args.h"

#include <jansson.h>

struct layer_arg {
    const char *path;
    const char *format;
    const char *node_name;      /* or NULL: leave to QEMU (drives), made from node_prefix (nodes) */
};

struct disk_rewrite {
    const char *key;                /* args_disk.key */
    const struct layer_arg *layers; /* [0] = active layer, last = the image that is named now */
    size_t n_layers;
    bool gone;                      /* it is not the last one that is named now: that is in no chain any more */
};

struct args_rewrite {
    const struct disk_rewrite *disks;
    size_t n_disks;
    bool paused;                    /* add -S */
    bool incoming;                  /* add -incoming defer */
    bool late;                      /* bind exclusive resources of the host later */
    bool again;                     /* a process before has ended: what it wrote to files is not emptied */
    const char *node_prefix;        /* begins the names that are made up; NULL: "qp" */
    const char *late_prefix;        /* begins the paths of the sockets that stand in for a while, in a
                                     * private folder and another for each process; NULL: what needs
                                     * one is refused with "needs-replace" */
    const char *const *extra;       /* NULL-terminated words to append (the proxy's own monitor), or
                                     * NULL */
};

/* All strings of rw are borrowed for the call.  *argv: new, args_strv_free() it.  *late_commands:
 * new: a JSON array, empty without rw->late, to be worked through in order when the old process has
 * ended and before `cont`.  Its members are QMP commands {"execute", "arguments"}; a command
 * human-monitor-command has failed when it returns text that does not begin with "Waiting for gdb".
 * With late_prefix there may also be {"rename": {"from": PATH, "to": PATH}}: a socket that QEMU
 * listens on under a private name, to be moved over the old one with rename(2).
 * Reasons: "needs-replace" (names the argument), "unsupported-disk", "unsupported-argument",
 * "unknown-disk" (a key that the arguments do not have). */
bool args_rewrite(const struct args *args, const struct args_rewrite *rw, char ***argv,
                  json_t **late_commands, struct err *err);

#endif
