/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "policy/state.h"
#include "tests/sim/sim_qemu.h"

#define SIM_RAM_BYTES (64 << 20)

/* ---- nodes ---- */

static const char *node_file(const struct sim_node *node)
{
    while (node && !node->path)
        node = node->file ? node->file : node->backing;
    return node ? node->path : "";
}

static json_t *query_node(const struct sim_node *node)
{
    const struct sim_node *below = node->backing;

    return json_pack("{s:s, s:s, s:s, s:b, s:s, s:{s:I, s:s, s:s, s:s*, s:s*}, s:{s:b, s:b, s:b}}",
                     "node-name", node->name, "drv", node->driver, "file", node_file(node), "ro",
                     !node->write, "detect_zeroes", "off", "image", "virtual-size",
                     (json_int_t)SIM_DISK_BYTES, "filename", node_file(node), "format", node->driver,
                     "backing-filename", below ? node_file(below) : NULL, "backing-filename-format",
                     below ? below->driver : NULL, "cache", "writeback", 1, "direct", 0, "no-flush", 0);
}

/* QEMU does not survive that question while a stream that has ended is listed. */
static bool query_kills(struct sim_qemu *qemu)
{
    for (const struct sim_job *job = qemu->jobs; job; job = job->next)
        if (job->state == SIM_JOB_CONCLUDED && strcmp(job->type, "stream") == 0) {
            qemu->aborted = true;
            sim_qemu_end(qemu, SIGABRT);
            return true;
        }
    return false;
}

static json_t *query_nodes(struct sim_qemu *qemu)
{
    json_t *list = json_array();

    if (query_kills(qemu))
        return list;
    for (const struct sim_node *node = qemu->nodes; node; node = node->next)
        json_array_append_new(list, query_node(node));
    return list;
}

/* Implicit filters are not shown. */
static const struct sim_node *query_root(const struct sim_disk *disk)
{
    const struct sim_node *node = disk->root;

    while (node && !node->path && node->backing)
        node = node->backing;
    return node;
}

static json_t *query_blocks(struct sim_qemu *qemu)
{
    json_t *list = json_array();

    if (query_kills(qemu))
        return list;
    for (size_t i = 0; i < qemu->n_disks; i++) {
        const struct sim_disk *disk = &qemu->disks[i];
        const struct sim_node *root = query_root(disk);

        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:s, s:o*}", "device", disk->device,
                                              "qdev", disk->qdev, "removable", 0, "locked", 0, "type",
                                              "unknown", "inserted", root ? query_node(root) : NULL));
    }
    return list;
}

static json_int_t graph_id(const struct sim_qemu *qemu, const struct sim_node *node)
{
    json_int_t id = 1;

    for (const struct sim_node *at = qemu->nodes; at != node; at = at->next)
        id++;
    return id;
}

static void graph_entry(json_t *nodes, json_int_t id, const char *type, const char *name)
{
    json_array_append_new(nodes, json_pack("{s:I, s:s, s:s}", "id", id, "type", type, "name", name));
}

static void graph_edge(const struct sim_qemu *qemu, json_t *edges, json_int_t parent, const char *role,
                       const struct sim_node *child)
{
    if (child)
        json_array_append_new(edges, json_pack("{s:I, s:I, s:s, s:[], s:[]}", "parent", parent, "child",
                                               graph_id(qemu, child), "name", role, "perm",
                                               "shared-perm"));
}

/* Numbers are good for one answer; backends have those from 1000 on, jobs those from 2000. */
static json_t *query_graph(struct sim_qemu *qemu)
{
    json_t *nodes = json_array(), *edges = json_array();
    json_int_t id = 2000;

    for (const struct sim_node *node = qemu->nodes; node; node = node->next) {
        graph_entry(nodes, graph_id(qemu, node), "block-driver", node->name);
        graph_edge(qemu, edges, graph_id(qemu, node), "file", node->file);
        graph_edge(qemu, edges, graph_id(qemu, node), "backing", node->backing);
    }
    for (size_t i = 0; i < qemu->n_disks; i++) {
        const struct sim_disk *disk = &qemu->disks[i];

        graph_entry(nodes, (json_int_t)(1000 + i), "block-backend",
                    disk->device[0] ? disk->device : disk->qdev);
        graph_edge(qemu, edges, (json_int_t)(1000 + i), "root", disk->root);
    }
    for (const struct sim_job *job = qemu->jobs; job; job = job->next, id++) {
        if (!job->top)
            continue;
        graph_entry(nodes, id, "block-job", job->id);
        graph_edge(qemu, edges, id, "main node", job->filter);
        graph_edge(qemu, edges, id, "base", job->base);
    }
    return json_pack("{s:o, s:o}", "nodes", nodes, "edges", edges);
}

/* ---- the machine ---- */

static json_t *query_migration(const struct sim_qemu *qemu)
{
    return json_pack("{s:s*, s:{s:i, s:i, s:i}}", "status", qemu->migration, "ram", "total",
                     SIM_RAM_BYTES, "remaining", 0, "normal", 1);
}

static json_t *query_capabilities(const struct sim_qemu *qemu)
{
    json_t *list = json_array(), *state;
    const char *name;

    json_object_foreach(qemu->capabilities, name, state)
        json_array_append_new(list, json_pack("{s:s, s:O}", "capability", name, "state", state));
    return list;
}

static json_t *query_devices(const struct sim_qemu *qemu, const json_t *args, const char **error)
{
    json_t *list = json_array(), *driver;
    const char *id;

    if (strcmp(state_str(args, "path"), "/machine/peripheral") != 0) {
        *error = "Device not found";
        return list;
    }
    json_object_foreach(qemu->devices, id, driver)
        json_array_append_new(list, json_pack("{s:s, s:s+}", "name", id, "type", "child<",
                                              json_string_value(driver)));
    return list;
}

static json_t *query_property(struct sim_qemu *qemu, const json_t *args, const char **error)
{
    const struct sim_disk *disk = sim_disk_find(qemu, state_str(args, "path"));
    const char *property = state_str(args, "property");

    if (strcmp(state_str(args, "path"), "/machine") == 0 && strcmp(property, "type") == 0)
        return json_string(qemu->version == 7 ? "pc-i440fx-7.2-machine" : "pc-i440fx-10.0-machine");
    if (disk && strcmp(property, "type") == 0)
        return json_string(disk->type);
    *error = "Property not found";
    return NULL;
}

static json_t *query_version(const struct sim_qemu *qemu)
{
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", qemu->version, "minor",
                     qemu->version == 7 ? 2 : 0, "micro", 2, "package", "");
}

static json_t *query_small(struct sim_qemu *qemu, const char *execute)
{
    if (strcmp(execute, "query-status") == 0)
        return json_pack("{s:s, s:b}", "status", qemu->status, "running",
                         strcmp(qemu->status, "running") == 0);
    if (strcmp(execute, "query-version") == 0)
        return query_version(qemu);
    if (strcmp(execute, "query-kvm") == 0)
        return json_pack("{s:b, s:b}", "enabled", 0, "present", 0);
    if (strcmp(execute, "query-cpus-fast") == 0)
        return json_pack("[{s:i}]", "cpu-index", 0);
    if (strcmp(execute, "query-hotpluggable-cpus") == 0)
        return json_pack("[{s:s}]", "type", "qemu64-x86_64-cpu");
    if (strcmp(execute, "query-memory-size-summary") == 0)
        return json_pack("{s:i}", "base-memory", SIM_RAM_BYTES);
    return NULL;
}

json_t *sim_query(struct sim_qemu *qemu, const char *execute, const json_t *args, const char **error)
{
    json_t *small = query_small(qemu, execute);

    if (small)
        return small;
    if (strcmp(execute, "query-block") == 0)
        return query_blocks(qemu);
    if (strcmp(execute, "query-named-block-nodes") == 0)
        return query_nodes(qemu);
    if (strcmp(execute, "x-debug-query-block-graph") == 0)
        return query_graph(qemu);
    if (strcmp(execute, "query-jobs") == 0)
        return sim_jobs_list(qemu);
    if (strcmp(execute, "query-migrate") == 0)
        return query_migration(qemu);
    if (strcmp(execute, "query-migrate-capabilities") == 0)
        return query_capabilities(qemu);
    if (strcmp(execute, "query-migrate-parameters") == 0)
        return json_incref(qemu->parameters);
    if (strcmp(execute, "qom-list") == 0)
        return query_devices(qemu, args, error);
    if (strcmp(execute, "qom-get") == 0)
        return query_property(qemu, args, error);
    *error = "The command has not been found";
    return NULL;
}
