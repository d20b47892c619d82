/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/graph.h"

#include <stdlib.h>
#include <string.h>

#include "policy/graph_nodes.h"
#include "policy/reason.h"
#include "qmp/alloc.h"

#define BLOCKS "query-block"
#define PERIPHERAL "/machine/peripheral/"
#define BACKEND "/virtio-backend"

const struct graph_node *graph_node_find(const struct graph *graph, const char *name)
{
    const json_t *at = json_object_get(json_object_get(graph->answers, "index"), name);

    return at ? &graph->nodes[json_integer_value(at)] : NULL;
}

const struct graph_node *graph_child_find(const struct graph_node *node, const char *role)
{
    for (size_t i = 0; i < node->n_children; i++) {
        if (!strcmp(node->children[i].role, role))
            return node->children[i].node;
    }
    return NULL;
}

/* What a filter passes on: mirror_top and commit_top hang on "backing", blkdebug on "image", the others on
 * "file". */
static const struct graph_node *filtered_child(const struct graph_node *node)
{
    static const char *const roles[] = { "file", "backing", "image" };
    const struct graph_node *child = NULL;

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]) && !child; i++)
        child = graph_child_find(node, roles[i]);
    return child;
}

static bool passes_through(const struct graph_node *from, const struct graph_node *to)
{
    while (from && from != to && from->filter)
        from = filtered_child(from);
    return from == to;
}

/* The image below the filters, or NULL when a filter has nothing below. */
static const struct graph_node *image_below(const struct graph_node *node, bool *filtered)
{
    *filtered = node->filter;
    while (node && node->filter)
        node = filtered_child(node);
    return node;
}

static void link_fill(struct graph_link *link, const struct graph_node *image, bool filtered)
{
    const struct graph_node *node = image, *below;
    size_t steps = 0;

    while ((below = node->filter ? filtered_child(node) : graph_child_find(node, "file"))) {
        node = below;
        steps++;
    }
    *link = (struct graph_link){
        .image = image, .protocol = node, .file = node->file, .protocol_driver = node->driver,
        .filtered = filtered, .direct = steps <= 1,
    };
}

static bool chain_fill(struct graph_disk *disk, struct err *err)
{
    const struct graph_node *node = disk->top;
    bool filtered;

    while (node) {
        const struct graph_node *image = image_below(node, &filtered);
        struct graph_link *more;

        if (!image) {
            err_set(err, REASON_UNEXPECTED_ANSWER, "The filter node \"%s\" has nothing below",
                    node->name);
            err_name(err, "node", node->name);
            return false;
        }
        more = alloc_array(disk->chain, disk->n_chain + 1, sizeof(*more));
        disk->chain = more;
        link_fill(&more[disk->n_chain++], image, filtered);
        node = graph_child_find(image, "backing");
    }
    disk->active = disk->chain[0].image;
    disk->filtered = disk->chain[0].filtered;
    return true;
}

/* query-block hides implicit filters; the backend in the debug graph stands on the real top. */
static bool top_find(const struct graph *graph, struct graph_disk *disk, struct err *err)
{
    const json_t *backends = json_object_get(graph->answers, "backends"), *pair;
    const char *name = disk->device[0] || !disk->qdev ? disk->device : disk->qdev;
    size_t i;

    if (!backends) {
        disk->top = disk->root;
        return true;
    }
    json_array_foreach(backends, i, pair) {
        const struct graph_node *node =
            &graph->nodes[json_integer_value(json_array_get(pair, 1))];

        if (!strcmp(json_string_value(json_array_get(pair, 0)), name) &&
            passes_through(node, disk->root)) {
            disk->top = node;
            return true;
        }
    }
    err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU's answers do not agree about the disk \"%s\"",
            name);
    err_name(err, "device", name);
    return false;
}

static bool medium_read(const struct graph *graph, struct graph_disk *disk,
                        const json_t *inserted, struct err *err)
{
    const json_t *ro, *name;

    if (!(ro = graph_nodes_member(inserted, "ro", JSON_TRUE, BLOCKS, err)) ||
        !(name = graph_nodes_member(inserted, "node-name", JSON_STRING, BLOCKS, err)))
        return false;
    disk->inserted = true;
    disk->writable = json_is_false(ro);
    disk->root = graph_node_find(graph, json_string_value(name));
    if (!disk->root) {
        err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU names the node \"%s\" that it does not list",
                json_string_value(name));
        err_name(err, "node", json_string_value(name));
        return false;
    }
    return top_find(graph, disk, err) && chain_fill(disk, err);
}

static bool disk_read(const struct graph *graph, struct graph_disk *disk, const json_t *entry,
                      struct err *err)
{
    const json_t *device = graph_nodes_member(entry, "device", JSON_STRING, BLOCKS, err);
    const json_t *removable =
        device ? graph_nodes_member(entry, "removable", JSON_TRUE, BLOCKS, err) : NULL;
    const json_t *inserted = json_object_get(entry, "inserted");

    if (!removable)
        return false;
    disk->device = json_string_value(device);
    disk->qdev = json_string_value(json_object_get(entry, "qdev"));
    disk->removable = json_is_true(removable);
    if (disk->device[0] && graph_disk_by_device(graph, disk->device) != disk) {
        err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU lists the drive \"%s\" twice", disk->device);
        err_name(err, "device", disk->device);
        return false;
    }
    return !inserted || medium_read(graph, disk, inserted, err);
}

static bool disks_read(struct graph *graph, struct err *err)
{
    const json_t *blocks = json_object_get(graph->answers, "blocks");

    graph->disks = alloc_zeroed(json_array_size(blocks) + 1, sizeof(*graph->disks));
    for (size_t i = 0; i < json_array_size(blocks); i++) {
        graph->n_disks = i + 1;
        if (!disk_read(graph, &graph->disks[i], json_array_get(blocks, i), err))
            return false;
    }
    return true;
}

struct graph *graph_new(const json_t *named_nodes, const json_t *blocks,
                        const json_t *debug_graph, struct err *err)
{
    struct graph *graph;

    if (!json_is_array(named_nodes) || !json_is_array(blocks) ||
        (debug_graph && !json_is_object(debug_graph))) {
        err_set(err, REASON_UNEXPECTED_ANSWER,
                "QEMU's answers about its block nodes have the wrong type");
        return NULL;
    }
    graph = alloc_zeroed(1, sizeof(*graph));
    graph->answers = json_object();
    json_object_set_new(graph->answers, "nodes", json_deep_copy(named_nodes));
    json_object_set_new(graph->answers, "blocks", json_deep_copy(blocks));
    if (debug_graph)
        json_object_set_new(graph->answers, "graph", json_deep_copy(debug_graph));
    if (graph_nodes_read(graph, err) && disks_read(graph, err))
        return graph;
    graph_free(graph);
    return NULL;
}

void graph_free(struct graph *graph)
{
    if (!graph)
        return;
    for (size_t i = 0; i < graph->n_nodes; i++)
        free(graph->nodes[i].children);
    for (size_t i = 0; i < graph->n_disks; i++)
        free(graph->disks[i].chain);
    free(graph->nodes);
    free(graph->disks);
    json_decref(graph->answers);
    free(graph);
}

const struct graph_disk *graph_disk_by_device(const struct graph *graph, const char *device)
{
    for (size_t i = 0; device[0] && i < graph->n_disks; i++) {
        if (!strcmp(graph->disks[i].device, device))
            return &graph->disks[i];
    }
    return NULL;
}

/* The part of a QOM path or id that tells devices apart. */
static const char *qdev_core(const char *qdev, size_t *len)
{
    const size_t head = strlen(PERIPHERAL), tail = strlen(BACKEND);

    if (!strncmp(qdev, PERIPHERAL, head))
        qdev += head;
    *len = strlen(qdev);
    if (*len > tail && !strcmp(qdev + *len - tail, BACKEND))
        *len -= tail;
    return qdev;
}

bool graph_qdev_match(const char *qdev, const char *other)
{
    size_t len, other_len;
    const char *core = qdev_core(qdev, &len), *other_core = qdev_core(other, &other_len);

    return len > 0 && len == other_len && !memcmp(core, other_core, len);
}

const struct graph_disk *graph_disk_by_qdev(const struct graph *graph, const char *qdev)
{
    const struct graph_disk *found = NULL;

    for (size_t i = 0; i < graph->n_disks; i++) {
        const struct graph_disk *disk = &graph->disks[i];

        if (!disk->qdev || !graph_qdev_match(disk->qdev, qdev))
            continue;
        if (found)
            return NULL;
        found = disk;
    }
    return found;
}

const struct graph_disk *graph_disk_by_node(const struct graph *graph, const char *node)
{
    const struct graph_node *wanted = graph_node_find(graph, node);
    const struct graph_disk *found = NULL;

    for (size_t i = 0; wanted && i < graph->n_disks; i++) {
        const struct graph_disk *disk = &graph->disks[i];

        if (!disk->inserted || !passes_through(disk->top, wanted))
            continue;
        if (found)
            return NULL;
        found = disk;
    }
    return found;
}

int graph_chain_index(const struct graph_disk *disk, const char *node)
{
    for (size_t i = 0; i < disk->n_chain; i++) {
        if (!strcmp(disk->chain[i].image->name, node))
            return (int)i;
    }
    return -1;
}
