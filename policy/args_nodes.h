/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_nodes: the graph that the -blockdev options of a command line make.
 *
 * Model: one node per -blockdev.  It is an image (a format driver over a file, or a bare file
 * driver that something uses directly), the file of an image, a filter, or a lower layer (named as
 * `backing`).
 * Nodes written inside another's options ("file.driver=...") belong to that option.
 */
#ifndef POLICY_ARGS_NODES_H
#define POLICY_ARGS_NODES_H

#include "policy/args_disks.h"
#include "policy/qemuopts.h"

enum args_node_role {
    ARGS_NODE_IMAGE,
    ARGS_NODE_FILE,
    ARGS_NODE_FILTER,
    ARGS_NODE_LOWER,
    ARGS_NODE_ROLE__COUNT
};

struct args_node {
    enum args_node_role role;
    size_t arg;                 /* position of its -blockdev */
    struct qemuopts *opts;      /* owned */
    const char *name;           /* node-name; borrowed from opts; may be NULL */
    const char *driver;         /* borrowed from opts; may be NULL */
    bool attached;              /* a -device or -machine names it, maybe through filters */
};

struct args_nodes {
    struct args_node *v;
    size_t n;
};

bool args_nodes_find(const struct args *args, struct args_nodes *out, struct err *err);
void args_nodes_clear(struct args_nodes *nodes);
/* borrowed, or NULL. */
const struct args_node *args_nodes_get(const struct args_nodes *nodes, const char *name);

/* The node that an image's `file` names, or NULL when its file is written inline. */
const struct args_node *args_nodes_file(const struct args_nodes *nodes,
                                        const struct args_node *image);

bool args_nodes_is_format(const char *driver);
bool args_nodes_is_local(const char *driver);   /* file, host_device, host_cdrom */

/* Whether an item of a filter's options names a child ("file", "image", "file.file", ...). */
bool args_nodes_is_child_key(const char *key);

/* Makes every user of a node use another: drive= of -device, pflash0= of -machine, a filter's
 * child. */
bool args_nodes_move_users(struct args *args, const char *from, const char *to, struct err *err);

/* Appends a disk for every image. */
void args_nodes_disks(const struct args_nodes *nodes, struct args_disks *out);

#endif
