/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * graph: QEMU's block graph, put together from its answers to three queries.
 *
 * Model: nodes with children by role, and disks (what query-block lists: a BlockBackend with a name
 * or with a device).  Below a disk stands its top node, perhaps filters, then a chain of image
 * nodes from the active one to the base; below each image its protocol node, whose filename is the
 * real file.
 *
 *     disk -> top (filter) -> active image -backing-> ... -backing-> base image
 *                                 | file                                | file
 *                              protocol node                         protocol node
 *
 * Rules: nothing in the answers is trusted.  A missing member, an edge to an unknown node, a cycle,
 * or a graph deeper than GRAPH_DEPTH_MAX gives an error with the reason "unexpected-answer".  The
 * three queries are not atomic, so answers that contradict each other are refused as well; asking
 * again may help.  A graph is true only of the moment it was asked: never keep one across a step.
 *
 * Where the facts come from: block/qapi.c (bdrv_block_device_info, bdrv_query_info, which skips
 * implicit filters), block.c (bdrv_get_xdbg_block_graph: ids are good for one reply only; backends
 * appear under their name or, without one, under the id or path of their device).  The debug graph
 * is the only child map of QEMU before 10.1; later ones give children[] with each node.
 */
#ifndef POLICY_GRAPH_H
#define POLICY_GRAPH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qmp/err.h"

#define GRAPH_DEPTH_MAX 1000

struct graph_node;

struct graph_child {
    const char *role;           /* "file", "backing", "data-file", ... */
    const struct graph_node *node;
};

/* Every pointer is *borrowed until graph_free()*. */
struct graph_node {
    const char *name;           /* node-name; random per process for nodes that nobody named */
    const char *driver;         /* "qcow2", "file", "throttle", ... */
    const char *file;           /* as QEMU reports it; above protocols it may be json:{...} */
    bool read_only;
    int64_t virtual_size;       /* bytes */
    const char *backing;        /* backing string in the image's header, or NULL */
    const char *backing_format; /* format that goes with it, or NULL */
    bool filter;                /* of a driver that passes on what its one child holds */
    bool in_job;                /* a block job stands on it; false when no debug graph was given */
    size_t parents;             /* edges from other nodes (not from disks, jobs or exports) */
    struct graph_child *children;
    size_t n_children;
    const json_t *info;         /* the node's BlockDeviceInfo, for rarer members */
};

struct graph_link {
    const struct graph_node *image;
    const struct graph_node *protocol;  /* equal to image when a device sits on a bare protocol */
    const char *file;           /* protocol->file */
    const char *protocol_driver;    /* protocol->driver: "file", "host_device", "nbd", ... */
    bool filtered;              /* a filter stands between the link above and this image */
    bool direct;                /* protocol is the very "file" child of image, or image itself */
};

struct graph_disk {
    const char *device;         /* name of the BlockBackend; "" for a -blockdev style disk */
    const char *qdev;           /* id or QOM path of the device as in query-block, or NULL */
    bool removable;
    bool inserted;              /* the rest is NULL, 0 or false without a medium */
    bool writable;
    const struct graph_node *root;      /* node that query-block names */
    const struct graph_node *top;       /* root, or an implicit filter above it */
    const struct graph_node *active;    /* first image below the filters: chain[0].image */
    bool filtered;              /* a filter stands between the device and the active image */
    struct graph_link *chain;   /* active image first, base last */
    size_t n_chain;
};

struct graph {
    struct graph_node *nodes;
    size_t n_nodes;
    struct graph_disk *disks;
    size_t n_disks;
    json_t *answers;            /* private: copies that the strings live in, and indexes */
};

/*
 * new: the graph.  The answers are only read, and copied as far as they are needed.
 * named_nodes: return of query-named-block-nodes with flat=true; blocks: of query-block;
 * debug_graph: of x-debug-query-block-graph, may be NULL where the nodes bring children[]
 * (QEMU 10.1 and later).  NULL with *err set when the answers make no graph.
 */
struct graph *graph_new(const json_t *named_nodes, const json_t *blocks,
                        const json_t *debug_graph, struct err *err);
void graph_free(struct graph *graph);

/* Look-ups: *borrowed until graph_free()*, NULL when there is none. */
const struct graph_node *graph_node_find(const struct graph *graph, const char *name);
const struct graph_node *graph_child_find(const struct graph_node *node, const char *role);
const struct graph_disk *graph_disk_by_device(const struct graph *graph, const char *device);

/* qdev as graph_qdev_match() takes it.  NULL also when it fits several disks. */
const struct graph_disk *graph_disk_by_qdev(const struct graph *graph, const char *qdev);

/* The disk that has the node on top: as root, top, active image, or a filter between them.  NULL
 * also when several disks do. */
const struct graph_disk *graph_disk_by_node(const struct graph *graph, const char *node);

/* Whether two names mean one device: query-block gives "/machine/peripheral/ID/virtio-backend" for
 * a virtio disk and "ID" for others; ID, the device's path and its backend's path are all fine. */
bool graph_qdev_match(const char *qdev, const char *other);

/* Where in the disk's chain the image node stands (0 is active), or -1. */
int graph_chain_index(const struct graph_disk *disk, const char *node);

#endif
