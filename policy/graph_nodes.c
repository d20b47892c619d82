/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/graph_nodes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/reason.h"
#include "qmp/alloc.h"

#define NAMED "query-named-block-nodes"
#define DEBUG "x-debug-query-block-graph"

/* Drivers with one child whose content they show unchanged (is_filter in QEMU's sources).  Drivers
 * that write to a second child as well (blkverify, replication, quorum) are left out on purpose:
 * they count as images, of a format that no policy knows. */
static const char *const filter_drivers[] = {
    "throttle", "copy-on-read", "copy-before-write", "compress", "preallocate", "blkdebug",
    "blklogwrites", "commit_top", "mirror_top", "zeroinit",
};

static bool is_filter(const char *driver)
{
    for (size_t i = 0; i < sizeof(filter_drivers) / sizeof(filter_drivers[0]); i++) {
        if (!strcmp(driver, filter_drivers[i]))
            return true;
    }
    return false;
}

const json_t *graph_nodes_member(const json_t *object, const char *key, json_type type,
                                 const char *where, struct err *err)
{
    const json_t *value = json_object_get(object, key);

    /* true and false are two types to jansson, and one to QEMU */
    if (value && (json_typeof(value) == type || (type == JSON_TRUE && json_is_boolean(value))))
        return value;
    err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU's answer to %s lacks a usable \"%s\"", where, key);
    return NULL;
}

static const char *need_string(const json_t *object, const char *key, const char *where,
                               struct err *err)
{
    return json_string_value(graph_nodes_member(object, key, JSON_STRING, where, err));
}

/* The number kept under a name in one of the indexes, or -1. */
static json_int_t index_get(const json_t *index, const char *key)
{
    const json_t *value = json_object_get(index, key);

    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static bool node_read(struct graph_node *node, const json_t *info, struct err *err)
{
    const json_t *image, *size, *ro;

    node->info = info;
    if (!(node->name = need_string(info, "node-name", NAMED, err)) ||
        !(node->driver = need_string(info, "drv", NAMED, err)) ||
        !(node->file = need_string(info, "file", NAMED, err)) ||
        !(ro = graph_nodes_member(info, "ro", JSON_TRUE, NAMED, err)) ||
        !(image = graph_nodes_member(info, "image", JSON_OBJECT, NAMED, err)) ||
        !(size = graph_nodes_member(image, "virtual-size", JSON_INTEGER, NAMED, err)))
        return false;
    node->read_only = json_is_true(ro);
    node->virtual_size = json_integer_value(size);
    node->backing = json_string_value(json_object_get(image, "backing-filename"));
    node->backing_format = json_string_value(json_object_get(image, "backing-filename-format"));
    node->filter = is_filter(node->driver);
    return true;
}

static bool nodes_take(struct graph *graph, struct err *err)
{
    const json_t *named = json_object_get(graph->answers, "nodes");
    json_t *index = json_object();

    json_object_set_new(graph->answers, "index", index);
    graph->nodes = alloc_zeroed(json_array_size(named) + 1, sizeof(*graph->nodes));
    for (size_t i = 0; i < json_array_size(named); i++) {
        struct graph_node *node = &graph->nodes[i];

        graph->n_nodes = i + 1;
        if (!node_read(node, json_array_get(named, i), err))
            return false;
        if (json_object_get(index, node->name)) {
            err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU lists the node \"%s\" twice", node->name);
            err_name(err, "node", node->name);
            return false;
        }
        json_object_set_new(index, node->name, json_integer((json_int_t)i));
    }
    return true;
}

static bool child_add(struct graph_node *parent, const char *role, struct graph_node *child,
                      struct err *err)
{
    struct graph_child *more;

    if ((!strcmp(role, "file") || !strcmp(role, "backing")) && graph_child_find(parent, role)) {
        err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU gives the node \"%s\" two children \"%s\"",
                parent->name, role);
        err_name(err, "node", parent->name);
        return false;
    }
    more = alloc_array(parent->children, parent->n_children + 1, sizeof(*more));
    parent->children = more;
    more[parent->n_children++] = (struct graph_child){ .role = role, .node = child };
    child->parents++;
    return true;
}

/* QEMU 10.1 and later: each node brings its children. */
static bool children_take(struct graph *graph, struct err *err)
{
    const json_t *index = json_object_get(graph->answers, "index"), *entry;
    size_t k;

    for (size_t i = 0; i < graph->n_nodes; i++) {
        struct graph_node *node = &graph->nodes[i];

        json_array_foreach(json_object_get(node->info, "children"), k, entry) {
            const char *role = need_string(entry, "child", NAMED, err);
            const char *name = role ? need_string(entry, "node-name", NAMED, err) : NULL;
            json_int_t to = name ? index_get(index, name) : -1;

            if (!name)
                return false;
            if (to < 0) {
                err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU names a child \"%s\" that it does not "
                        "list", name);
                err_name(err, "node", name);
                return false;
            }
            if (!child_add(node, role, &graph->nodes[to], err))
                return false;
        }
    }
    return true;
}

/* One node of the debug graph into ids: number of a node, name of a backend, or null for a job.
 * left: the names of nodes that have not come yet. */
static bool debug_node_take(const json_t *entry, json_t *left, json_t *ids, struct err *err)
{
    const json_t *id = graph_nodes_member(entry, "id", JSON_INTEGER, DEBUG, err);
    const char *type = id ? need_string(entry, "type", DEBUG, err) : NULL;
    const char *name = type ? need_string(entry, "name", DEBUG, err) : NULL;
    json_t *value;
    char key[32];

    if (!name)
        return false;
    snprintf(key, sizeof(key), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
    if (!strcmp(type, "block-driver"))
        value = json_incref(json_object_get(left, name));
    else
        value = !strcmp(type, "block-backend") ? json_string(name) : json_null();
    if (value && !json_object_get(ids, key)) {
        if (json_is_integer(value))
            json_object_del(left, name);
        json_object_set_new(ids, key, value);
        return true;
    }
    json_decref(value);
    err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU's answers do not agree about the node \"%s\"",
            name);
    err_name(err, "node", name);
    return false;
}

static const json_t *edge_end(const json_t *edge, const char *key, const json_t *ids,
                              struct err *err)
{
    const json_t *id = graph_nodes_member(edge, key, JSON_INTEGER, DEBUG, err), *end;
    char text[32];

    if (!id)
        return NULL;
    snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(id));
    end = json_object_get(ids, text);
    if (!end)
        err_set(err, REASON_UNEXPECTED_ANSWER,
                "QEMU's block graph has an edge to the unknown id %s", text);
    return end;
}

static bool edge_take(struct graph *graph, const json_t *edge, const json_t *ids, bool children,
                      struct err *err)
{
    const json_t *from = edge_end(edge, "parent", ids, err);
    const json_t *to = from ? edge_end(edge, "child", ids, err) : NULL;
    const char *role = to ? need_string(edge, "name", DEBUG, err) : NULL;
    struct graph_node *child;

    if (!role)
        return false;
    if (!json_is_integer(to)) {
        err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU's block graph has an edge to what is no node");
        return false;
    }
    child = &graph->nodes[json_integer_value(to)];
    if (json_is_integer(from))
        return !children || child_add(&graph->nodes[json_integer_value(from)], role, child, err);
    if (json_is_string(from))
        json_array_append_new(json_object_get(graph->answers, "backends"),
                              json_pack("[O, O]", from, to));
    else
        child->in_job = true;
    return true;
}

/* children: whether the edges between nodes are to be taken from here. */
static bool debug_take(struct graph *graph, bool children, struct err *err)
{
    const json_t *debug = json_object_get(graph->answers, "graph"), *entry;
    const json_t *nodes = graph_nodes_member(debug, "nodes", JSON_ARRAY, DEBUG, err);
    const json_t *edges = nodes ? graph_nodes_member(debug, "edges", JSON_ARRAY, DEBUG, err) : NULL;
    json_t *ids = json_object(), *left = json_copy(json_object_get(graph->answers, "index"));
    bool ok = edges != NULL;
    size_t i;

    json_object_set_new(graph->answers, "ids", ids);
    json_object_set_new(graph->answers, "backends", json_array());
    for (i = 0; ok && (entry = json_array_get(nodes, i)); i++)
        ok = debug_node_take(entry, left, ids, err);
    if (ok && json_object_size(left) > 0) {
        err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU's block graph lacks %zu of its nodes",
                json_object_size(left));
        ok = false;
    }
    json_decref(left);
    for (i = 0; ok && (entry = json_array_get(edges, i)); i++)
        ok = edge_take(graph, entry, ids, children, err);
    return ok;
}

/* Height of the graph below a node.  height: 0 not seen yet, -1 on the way down to here. */
static bool height_measure(const struct graph *graph, const struct graph_node *node, int *height,
                           int depth, struct err *err)
{
    int *own = &height[node - graph->nodes], best = 0;

    if (*own > 0)
        return true;
    if (*own < 0) {
        err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU's block graph has a cycle at \"%s\"",
                node->name);
        return false;
    }
    *own = -1;
    for (size_t i = 0; i < node->n_children && depth <= GRAPH_DEPTH_MAX; i++) {
        const struct graph_node *child = node->children[i].node;

        if (!height_measure(graph, child, height, depth + 1, err))
            return false;
        if (height[child - graph->nodes] > best)
            best = height[child - graph->nodes];
    }
    *own = best + 1;
    if (depth <= GRAPH_DEPTH_MAX && *own <= GRAPH_DEPTH_MAX)
        return true;
    err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU's block graph is more than %d nodes deep",
            GRAPH_DEPTH_MAX);
    return false;
}

static bool depth_check(const struct graph *graph, struct err *err)
{
    int *height = alloc_zeroed(graph->n_nodes + 1, sizeof(*height));
    bool ok = true;

    for (size_t i = 0; ok && i < graph->n_nodes; i++)
        ok = height_measure(graph, &graph->nodes[i], height, 1, err);
    free(height);
    return ok;
}

bool graph_nodes_read(struct graph *graph, struct err *err)
{
    bool children = true, debug = json_object_get(graph->answers, "graph") != NULL;

    if (!nodes_take(graph, err))
        return false;
    for (size_t i = 0; i < graph->n_nodes; i++)
        children = children && json_is_array(json_object_get(graph->nodes[i].info, "children"));
    if (!children && !debug) {
        err_set(err, REASON_UNEXPECTED_ANSWER, "QEMU's answers do not say how the block nodes hang "
                "together");
        return false;
    }
    return (!children || children_take(graph, err)) &&
           (!debug || debug_take(graph, !children, err)) && depth_check(graph, err);
}
