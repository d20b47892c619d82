/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/planner_world.h"

#include <stdio.h>

#include "policy/overlay.h"
#include "policy/state.h"
#include "qmp/alloc.h"
#include "tests/unit/args_words.h"

#define WORLD_DISK_BYTES (1 << 26)

static const char *const world_line[] = {
    [WORLD_DRIVES] = "-m 64 -drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2 "
                     "-drive file=/i/b.raw,if=ide,id=d1,format=raw",
    [WORLD_NODES] = "-m 64 -blockdev driver=file,filename=/i/a.qcow2,node-name=f0 "
                    "-blockdev driver=qcow2,file=f0,node-name=q0 "
                    "-device virtio-blk-pci,drive=q0,id=vd0 "
                    "-blockdev driver=raw,file.driver=file,file.filename=/i/b.raw,node-name=r1 "
                    "-device ide-hd,drive=r1,id=sd1",
};

static const char *const world_vm[] = {
    [WORLD_DRIVES] =
        "[{'key': 'drive:d0', 'device': 'd0', 'qdev': '/machine/peripheral-anon/device[0]',"
        "  'chain': [{'node': '#block1', 'drv': 'qcow2', 'file': '/i/a.qcow2'},"
        "            {'node': '#block2', 'drv': 'raw', 'file': '/i/gold.raw'}]},"
        " {'key': 'drive:d1', 'device': 'd1', 'qdev': '/machine/unattached/device[1]',"
        "  'chain': [{'node': '#block3', 'drv': 'raw', 'file': '/i/b.raw'}]}]",
    [WORLD_NODES] =
        "[{'key': 'node:q0', 'device': '', 'qdev': '/machine/peripheral/vd0/virtio-backend',"
        "  'chain': [{'node': 'q0', 'drv': 'qcow2', 'file': '/i/a.qcow2'},"
        "            {'node': '#block2', 'drv': 'raw', 'file': '/i/gold.raw'}]},"
        " {'key': 'node:r1', 'device': '', 'qdev': 'sd1',"
        "  'chain': [{'node': 'r1', 'drv': 'raw', 'file': '/i/b.raw'}]}]",
};

/* ---- the graph ---- */

static void graph_add_node(json_t *nodes, const char *name, const char *drv, const char *file,
                           bool ro, const char *role, const char *child)
{
    json_t *node = json_pack("{s:s, s:s, s:s, s:b, s:{s:i}, s:[]}", "node-name", name, "drv", drv,
                             "file", file, "ro", ro, "image", "virtual-size", WORLD_DISK_BYTES,
                             "children");

    if (child)
        json_array_append_new(json_object_get(node, "children"),
                              json_pack("{s:s, s:s}", "child", role, "node-name", child));
    json_array_append_new(nodes, node);
}

/* One disk's nodes: each image with its file below; returns the node that the device has. */
static const char *graph_add_chain(json_t *nodes, const json_t *disk)
{
    const json_t *chain = json_object_get(disk, "chain");
    const char *filter = state_str(disk, "filter");
    json_t *link;
    size_t i;

    json_array_foreach(chain, i, link) {
        const char *node = state_str(link, "node"), *file = state_str(link, "file");
        const char *protocol = state_str(link, "protocol");
        const json_t *next = json_array_get(chain, i + 1);
        const char *below = state_str(next, "filter") ? "between"
                            : next ? state_str(next, "node") : state_str(link, "below");
        bool ro = i > 0 || json_is_true(json_object_get(disk, "ro"));
        char name[64];
        json_t *added, *children;

        snprintf(name, sizeof(name), "file-%s", node);
        graph_add_node(nodes, name, protocol ? protocol : "file", file, ro, NULL, NULL);
        graph_add_node(nodes, node, state_str(link, "drv"), file, ro, "file", name);
        added = json_array_get(nodes, json_array_size(nodes) - 1);
        json_object_update_existing(json_object_get(added, "image"), link); /* virtual-size */
        if (json_object_get(link, "dirty-bitmaps"))
            json_object_set(added, "dirty-bitmaps", json_object_get(link, "dirty-bitmaps"));
        json_object_set_new(added, "cache", json_pack("{s:b}", "no-flush",
                                                      json_is_true(json_object_get(link, "no-flush"))));
        children = json_object_get(added, "children");
        if (below)
            json_array_append_new(children, json_pack("{s:s, s:s}", "child", "backing",
                                                      "node-name", below));
        if (state_str(link, "filter"))
            graph_add_node(nodes, "between", state_str(link, "filter"), "json:{}", true, "file",
                           node);
    }
    if (!filter)
        return state_str(json_array_get(chain, 0), "node");
    graph_add_node(nodes, "filter", filter, "json:{}", false, "file",
                   state_str(json_array_get(chain, 0), "node"));
    return "filter";
}

void world_node(struct planner_world *world, const char *name)
{
    json_array_append_new(world->vm, json_pack("{s:[{s:s, s:s, s:s}]}", "chain", "node", name, "drv", "qcow2",
                                               "file", "/i/other.qcow2"));
    world_graph(world);
}

void world_graph(struct planner_world *world)
{
    json_t *nodes = json_array(), *blocks = json_array(), *disk;
    struct err err = ERR_INIT;
    size_t i;

    json_array_foreach(world->vm, i, disk) {
        const char *root = graph_add_chain(nodes, disk);

        if (!state_str(disk, "key"))
            continue;
        json_array_append_new(blocks, json_pack("{s:s, s:s*, s:b, s:{s:b, s:s}}", "device",
                                                state_str(disk, "device"), "qdev",
                                                state_str(disk, "qdev"), "removable", 0, "inserted",
                                                "ro", json_is_true(json_object_get(disk, "ro")),
                                                "node-name", root));
    }
    graph_free(world->w.graph);
    world->w.graph = graph_new(nodes, blocks, NULL, &err);
    if (!world->w.graph)
        fail_msg("%s", err.desc);
    json_decref(nodes);
    json_decref(blocks);
}

/* ---- files and arguments ---- */

json_t *world_file_add(struct planner_world *world, const char *path, const char *format,
                       const char *backing, const char *backing_format)
{
    json_t *entry = json_pack("{s:b, s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:s, s:s*, s:s*}",
                              "exists", 1, "real", path, "kind", "file", "dev", 1, "ino",
                              world->inode + 1, "size", 200000 + world->inode, "allocated", 4096,
                              "mtime", "1.5", "format", format, "backing", backing,
                              "backing-format", backing_format);

    world->inode++;
    json_object_set_new(world->w.files, path, entry);
    return entry;
}

void world_file_remove(struct planner_world *world, const char *path)
{
    json_object_set_new(world->w.files, path, json_pack("{s:b}", "exists", 0));
}

void world_room(struct planner_world *world, const char *folder, json_int_t bytes, bool writable)
{
    json_object_set_new(world->w.rooms, folder,
                        json_pack("{s:I, s:b}", "free", bytes, "writable", writable));
}

void world_args(struct planner_world *world, const char *line)
{
    struct err err = ERR_INIT;

    args_disks_clear(&world->disks);
    args_free(world->args);
    world->args = line ? words_parse(line, &err) : NULL;
    if (line && (!world->args || !args_disks_find(world->args, &world->disks, &err)))
        fail_msg("%s", err.desc);
    world->w.args = world->w.given = world->args;
    world->w.args_disks = line ? &world->disks : NULL;
}

void world_status_set(struct planner_world *world, const char *status)
{
    json_decref(world->w.status);
    world->w.status = json_pack("{s:s}", "status", status);
}

struct planner_world *world_make(enum planner_world_kind kind, const char *status)
{
    struct planner_world *world = alloc_zeroed(1, sizeof(*world));

    world->state = state_new();
    world->vm = json_text(world_vm[kind]);
    world->w = (struct world){
        .vm = "vm",
        .memory_dir = "/m",
        .jobs = json_array(),
        .memory_size = json_text("{'base-memory': 67108864}"),
        .capabilities = json_text("{'events': true, 'multifd': false,"
                                  " 'background-snapshot': false}"),
        .parameters = json_text("{'max-bandwidth': 134217728}"),
        .version = { 7, 2 },
        .now = 1700000000000001LL,
        .converge_ms = 2000,
        .files = json_object(),
        .rooms = json_object(),
    };
    world_status_set(world, status);
    world_args(world, world_line[kind]);
    world_room(world, "/i", 1LL << 40, true);
    world_room(world, "/m", 1LL << 40, true);
    world_file_add(world, "/i/gold.raw", "raw", NULL, NULL);
    world_file_add(world, "/i/a.qcow2", "qcow2", "/i/gold.raw", "raw");
    world_file_add(world, "/i/b.raw", "raw", NULL, NULL);
    world_graph(world);
    return world;
}

void world_free(struct planner_world *world)
{
    world_clear(&world->w);
    args_disks_clear(&world->disks);
    args_free(world->args);
    json_decref(world->state);
    json_decref(world->vm);
    free(world);
}

/* ---- what a plan leaves ---- */

/* All files of the record are there, with the headers that it says. */
static void world_make_files(struct planner_world *world)
{
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(world->state, "layers"), id, layer) {
        const char *real = state_str(layer, "real");
        const json_t *below = state_layer(world->state, state_str(layer, "parent"));
        json_t *entry = json_object_get(world->w.files, real);

        if (!entry)
            entry = world_file_add(world, real, state_str(layer, "format"), NULL, NULL);
        if (!below)
            continue;
        json_object_set_new(entry, "backing", json_string(overlay_backing(below)));
        json_object_set(entry, "backing-format", json_object_get(below, "format"));
    }
}

/* QEMU has the active layers open. */
static void world_open(struct planner_world *world)
{
    json_t *disk;
    size_t i;

    json_array_foreach(world->vm, i, disk) {
        const json_t *record = state_disk(world->state, state_str(disk, "key"));
        json_t *ids = state_chain(world->state, state_str(record, "active"), true), *id;
        json_t *chain = json_array();
        size_t k;

        json_array_foreach(ids, k, id) {
            const json_t *layer = state_layer(world->state, json_string_value(id));
            char node[64];

            snprintf(node, sizeof(node), "#block-%s", json_string_value(id));
            json_array_append_new(chain, json_pack("{s:s, s:O, s:O}", "node",
                                                   state_str(layer, "node")
                                                       ? state_str(layer, "node") : node,
                                                   "drv", json_object_get(layer, "format"), "file",
                                                   json_object_get(layer, "path")));
        }
        if (record)
            json_object_set(disk, "chain", chain);
        json_decref(chain);
        json_decref(ids);
    }
    world_graph(world);
}

/* What the deeds would have found out. */
static void world_take_results(struct planner_world *world, const json_t *step)
{
    const json_t *args = json_object_get(step, "args");
    const char *id, *name = state_str(step, "step");
    json_t *path, *memory;
    size_t i;

    if (strcmp(name, "layers-freeze") == 0) {
        json_object_foreach(json_object_get(args, "layers"), id, path)
            json_object_set(state_layer(world->state, id), "print",
                            json_object_get(world->w.files, json_string_value(path)));
    } else if (strcmp(name, "memory-seal") == 0) {
        memory = json_object_get(state_snapshot(world->state, state_str(args, "snapshot")),
                                 "memory");
        json_object_set_new(memory, "size", json_integer(70000000));
        json_object_set_new(memory, "xxh3", json_string("0123456789abcdef"));
        world_file_add(world, state_str(args, "file"), "raw", NULL, NULL);
    } else if (strcmp(name, "files-remove") == 0) {
        json_array_foreach(json_object_get(args, "files"), i, path)
            world_file_remove(world, json_string_value(path));
    }
}

void world_header(struct planner_world *world, const char *layer, const char *below)
{
    const json_t *under = state_layer(world->state, below);
    json_t *file = json_object_get(world->w.files, state_str(state_layer(world->state, layer),
                                                             "real"));

    json_object_set_new(file, "backing", json_string(overlay_backing(under)));
    json_object_set(file, "backing-format", json_object_get(under, "format"));
}

void world_carry_out(struct planner_world *world, const json_t *plan)
{
    struct err err = ERR_INIT;
    json_t *step;
    size_t i;

    json_decref(world->state);
    world->state = json_deep_copy(json_object_get(plan, "after"));
    if (!state_check(world->state, &err))
        fail_msg("%s", err.desc);
    world_make_files(world);
    json_array_foreach(json_object_get(plan, "steps"), i, step)
        world_take_results(world, step);
    world_open(world);
}

void world_create(struct planner_world *world, const char *name)
{
    char request[128];

    snprintf(request, sizeof(request), "{'name': '%s'}", name);
    world_do(world, planner_create, request);
}

struct planner_world *world_with(enum planner_world_kind kind, int n)
{
    struct planner_world *world = world_make(kind, "running");

    for (int i = 1; i <= n; i++) {
        char name[16];

        snprintf(name, sizeof(name), "s%d", i);
        world_create(world, name);
    }
    return world;
}

void world_allocated(struct planner_world *world, const char *layer, json_int_t bytes)
{
    const char *real = state_str(state_layer(world->state, layer), "real");

    json_object_set_new(json_object_get(world->w.files, real), "allocated", json_integer(bytes));
}

void world_do(struct planner_world *world, planner_fn *planner, const char *request)
{
    json_t *plan = world_plan(world, planner, request);

    world_carry_out(world, plan);
    json_decref(plan);
}

char *world_words(const json_t *plan)
{
    const json_t *argv = json_object_get(json_object_get(plan_step(plan, "process-start", 0),
                                                         "args"), "argv");
    char *out = alloc_zeroed(1, 16384);
    json_t *word;
    size_t i;

    json_array_foreach(argv, i, word) {
        strcat(out, i > 0 ? " " : "");
        strcat(out, json_string_value(word));
    }
    return out;
}
