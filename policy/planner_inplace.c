/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/planner_inplace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner_layers.h"
#include "policy/planner_steps.h"
#include "policy/state.h"
#include "policy/vmstate.h"
#include "qmp/alloc.h"

/* One disk that goes from `old` to `new`. */
struct in_place_disk {
    const struct vm_disk *disk;
    json_t *device;             /* its path in QOM */
    const char *old, *new;      /* nodes */
};

struct in_place {
    struct revert *revert;
    struct vm_disks all;
    struct in_place_disk *disks;
    size_t n_disks;
    json_t *names;              /* strings that live as long as this */
    json_t *left;               /* nodes to be closed behind it, in this order */
    const char *load_file;
    char *present_file;
    char *present_node;
    json_int_t present_bytes;
    bool running;
};

static json_t *in_place_add(struct in_place *at, json_t *step)
{
    return plan_add(at->revert->plan, step);
}

/* ---- layers ---- */

/* The node by which the disk's running chain has the layer open, or NULL. */
static const char *in_place_open_node(const struct in_place *at, const struct graph_disk *g,
                                      const json_t *layer)
{
    const json_t *file = world_file(at->revert->world, state_str(layer, "real"));

    for (size_t i = 0; i < g->n_chain; i++)
        if (disks_same_file(file, world_file(at->revert->world, g->chain[i].file)))
            return g->chain[i].image->name;
    return NULL;
}

/* borrowed: a name under which a layer can be opened: its own, unless somebody else has that or will. */
static const char *in_place_name(struct in_place *at, const char *id, const json_t *layer)
{
    const char *own = state_str(layer, "node");
    bool taken = !own || graph_node_find(at->revert->world->graph, own) || state_list_has(at->names, own);
    json_t *name = taken ? json_sprintf("qsnap-layer-%s", id) : json_string(own);

    json_array_append_new(at->names, name);
    return json_string_value(name);
}

static json_t *in_place_blockdev_add(json_t *options, const char *below)
{
    const char *node = state_str(options, "node-name");
    json_t *step;

    json_object_set_new(options, "backing", below ? json_string(below) : json_null());
    step = step_command("blockdev-add", "qemu", node, "blockdev-add", options,
                        expect_node(node, true));
    step_undo(step, planner_close_node(node));
    return step;
}

/* The node of a frozen layer, which is opened with those below it where the disk does not have it open. */
static const char *in_place_open_layer(struct in_place *at, const struct vm_disk *disk, const char *id)
{
    const json_t *layer = state_layer(at->revert->after, id);
    const char *node = in_place_open_node(at, disk->g, layer), *below, *parent;
    json_t *options;

    if (node)
        return node;
    parent = state_str(layer, "parent");
    below = parent ? in_place_open_layer(at, disk, parent) : NULL;
    node = in_place_name(at, id, layer);
    options = json_pack("{s:s, s:O, s:b, s:{s:s, s:O}}", "node-name", node, "driver",
                        json_object_get(layer, "format"), "read-only", 1, "file", "driver", "file",
                        "filename", json_object_get(layer, "path"));
    if (json_is_true(json_object_get(json_object_get(disk->g->active->info, "cache"), "direct")))
        json_object_set_new(options, "cache", json_pack("{s:b}", "direct", 1));
    in_place_add(at, in_place_blockdev_add(options, below));
    if (!parent)
        json_object_del(options, "backing"); /* raw has none */
    return node;
}

/* The nodes of the running chain that the new one does not share. */
static void in_place_leave(struct in_place *at, const struct graph_disk *g, const char *overlay)
{
    json_t *chain = state_chain(at->revert->after, overlay, true), *id;
    bool shared = false;
    size_t k;

    for (size_t i = 0; i < g->n_chain && !shared; i++) {
        json_array_foreach(chain, k, id)
            shared = shared || disks_same_file(
                world_file(at->revert->world, g->chain[i].file),
                world_file(at->revert->world,
                           state_str(state_layer(at->revert->after, json_string_value(id)), "real")));
        if (!shared)
            json_array_append_new(at->left, json_string(g->chain[i].image->name));
    }
    json_decref(chain);
}

/* ---- disks ---- */

static bool in_place_overlays(struct in_place *at, struct err *err)
{
    struct revert *revert = at->revert;
    const char *key;
    json_t *layer;

    json_object_foreach(json_object_get(revert->snapshot, "disks"), key, layer) {
        struct in_place_disk *one = &at->disks[at->n_disks];
        const char *qdev;

        json_object_set(revert->attached, key, layer);
        if (!revert_overlay(revert, key, json_string_value(layer), err))
            return false;
        one->disk = disks_find(&at->all, key);
        qdev = one->disk->g->qdev;
        one->device = strchr(qdev, '/') ? json_string(qdev)
                                        : json_sprintf("/machine/peripheral/%s", qdev);
        one->old = one->disk->g->chain[0].image->name;
        at->n_disks++;
    }
    return true;
}

static void in_place_open_disks(struct in_place *at)
{
    const struct revert *revert = at->revert;

    for (size_t i = 0; i < at->n_disks; i++) {
        struct in_place_disk *one = &at->disks[i];
        const struct vm_disk *disk = one->disk;
        const char *id = state_str(state_disk(revert->after, disk->key), "active");
        const json_t *overlay = state_layer(revert->after, id);
        const char *below = in_place_open_layer(at, disk, state_str(overlay, "parent"));

        one->new = state_str(overlay, "node");
        in_place_add(at, in_place_blockdev_add(overlay_options(overlay, disk->g->active->info,
                                                               disk->a && disk->a->discard), below));
        in_place_leave(at, disk->g, id);
    }
}

/* A node that only its device holds would be closed when that lets go of it. */
static void in_place_hold(struct in_place *at)
{
    for (size_t i = 0; i < at->n_disks; i++) {
        json_t *name = json_sprintf(IN_PLACE_NODE_HOLD "%zu", i), *step;

        step = step_command("hold", "qemu", at->disks[i].old, "blockdev-add",
                            json_pack("{s:O, s:s, s:b, s:s}", "node-name", name, "driver", "raw",
                                      "read-only", 1, "file", at->disks[i].old),
                            expect_node(json_string_value(name), true));
        step_undo(step, planner_close_node(json_string_value(name)));
        in_place_add(at, step);
        json_array_insert_new(at->left, 0, name);
    }
}

static json_t *in_place_switch_step(const char *step, const struct in_place_disk *one, const char *from,
                                    const char *to)
{
    json_t *made = step_command(step, "qemu", one->disk->label, "qom-set",
                                json_pack("{s:O, s:s, s:s}", "path", one->device, "property", "drive",
                                          "value", to),
                                expect_disk(one->disk->g, to));

    step_needs(made, expect_disk(one->disk->g, from));
    return made;
}

static void in_place_switch(struct in_place *at)
{
    for (size_t i = 0; i < at->n_disks; i++) {
        const struct in_place_disk *one = &at->disks[i];
        json_t *step = in_place_switch_step(IN_PLACE_SWITCH, one, one->old, one->new);

        step_undo(step, in_place_switch_step(IN_PLACE_BACK, one, one->new, one->old));
        in_place_add(at, step);
    }
}

/* ---- memory ---- */

static void in_place_prepare_memory(struct in_place *at)
{
    const json_t *memory = at->revert->memory;

    in_place_add(at, vmstate_create_scratch(at->load_file, memory));
    in_place_add(at, vmstate_create(at->present_file, VMSTATE_DISK_BYTES));
    in_place_add(at, vmstate_open_scratch("qemu", IN_PLACE_NODE_LOAD, at->load_file,
                                          state_str(memory, "file")));
    in_place_add(at, vmstate_open("qemu", at->present_node, at->present_file));
    json_array_append_new(at->left, json_string(IN_PLACE_NODE_LOAD));
    json_array_append_new(at->left, json_string(at->present_node));
    planner_capabilities(at->revert->world, at->revert->plan, false);
}

static void in_place_keep(struct in_place *at)
{
    json_t *step = vmstate_save("memory-keep", IN_PLACE_JOB_KEEP, at->present_node,
                                at->present_bytes);

    step_undo(step, step_lenient(vmstate_end("qemu", IN_PLACE_JOB_KEEP, at->present_bytes)));
    step_undo(step, step_lenient(vmstate_dismiss("qemu", IN_PLACE_JOB_KEEP)));
    in_place_add(at, step);
    in_place_add(at, vmstate_dismiss("qemu", IN_PLACE_JOB_KEEP));
}

/* Whether it failed or not: what was is loaded again, onto the disks that it belongs to.  A job of an earlier
 * try is in the way; that of the load goes last, as it tells a restart that this is not done. */
static void in_place_undo_load(struct in_place *at, json_t *step)
{
    step_undo(step, step_lenient(vmstate_end("qemu", IN_PLACE_JOB_LOAD, at->present_bytes)));
    step_undo(step, step_lenient(vmstate_dismiss("qemu", IN_PLACE_JOB_RETURN)));
    for (size_t i = at->n_disks; i-- > 0;)
        step_undo(step, in_place_switch_step(IN_PLACE_BACK, &at->disks[i], at->disks[i].new,
                                             at->disks[i].old));
    step_undo(step, vmstate_load(IN_PLACE_RETURN, "qemu", IN_PLACE_JOB_RETURN, at->present_node,
                                 at->present_bytes));
    step_undo(step, vmstate_dismiss("qemu", IN_PLACE_JOB_LOAD));
    step_undo(step, vmstate_dismiss("qemu", IN_PLACE_JOB_RETURN));
}

static void in_place_load(struct in_place *at)
{
    const struct revert *revert = at->revert;
    json_t *step = vmstate_load(IN_PLACE_LOAD, "qemu", IN_PLACE_JOB_LOAD, IN_PLACE_NODE_LOAD,
                                json_integer_value(json_object_get(revert->memory, "size")));

    in_place_undo_load(at, step);
    in_place_add(at, step);
    /* A state in which QEMU stood already it keeps. */
    in_place_add(at, step_wait("loaded", "qemu", NULL,
                               expect_status(at->running ? "paused" : world_status(revert->world), NULL)));
    in_place_add(at, step_wait("check-disks", "qemu", NULL,
                               layers_expect(revert->after, revert->attached)));
    planner_check_devices(revert->plan, "qemu", json_object_get(revert->snapshot, "config"));
}

/* ---- the whole ---- */

/* Stopping flushes the images: what is on the disk before does not keep the guest waiting then. */
static void in_place_sync(struct in_place *at)
{
    json_t *files = json_array();

    for (size_t i = 0; i < at->all.n; i++)
        if (at->all.v[i].g->writable)
            json_array_append(files,
                              json_object_get(world_file(at->revert->world, at->all.v[i].g->chain[0].file),
                                              "real"));
    in_place_add(at, step_deed("files-sync", NULL, json_pack("{s:o}", "files", files)));
}

static void in_place_stop(struct in_place *at)
{
    if (at->running)
        in_place_sync(at);
    in_place_add(at, revert_hold());
    if (at->running) {
        json_t *step = planner_stop();

        step_undo(step, planner_cont_back());
        in_place_add(at, step);
    }
    /* The guest may have let go of one since it was asked. */
    planner_check_devices(at->revert->plan, "qemu", json_object_get(at->revert->snapshot, "config"));
}

static void in_place_commit(struct in_place *at, json_t *garbage)
{
    const char *const scratch[] = { at->load_file, at->present_file };
    json_t *step = step_deed("state-write", NULL, json_object()), *node;
    bool resumes = strcmp(at->revert->target, "running") == 0;
    size_t i;

    step_commit_point(step);
    in_place_add(at, step);
    if (resumes)
        in_place_add(at, planner_cont());
    in_place_add(at, step_deed("clients-release", NULL, json_object()));
    if (resumes) /* from here on a restart lets the guest be as it is */
        in_place_add(at, step_lenient(step_deed("resumed-note", NULL, json_object())));
    in_place_add(at, step_lenient(vmstate_dismiss("qemu", IN_PLACE_JOB_LOAD)));
    planner_capabilities_restore(at->revert->world, at->revert->plan, false, true);
    json_array_foreach(at->left, i, node)
        in_place_add(at, step_lenient(planner_close_node(json_string_value(node))));
    for (i = 0; i < 2; i++)
        in_place_add(at, step_lenient(step_deed("file-remove", scratch[i],
                                                json_pack("{s:s}", "file", scratch[i]))));
    in_place_add(at, step_lenient(step_deed("files-remove", NULL,
                                            json_pack("{s:o}", "files", garbage))));
}

static void in_place_steps(struct in_place *at)
{
    struct revert *revert = at->revert;
    json_t *garbage;

    json_object_set_new(revert->after, "current", json_string(revert->name));
    in_place_open_disks(at);
    in_place_prepare_memory(at);
    in_place_hold(at);
    in_place_stop(at);
    in_place_keep(at);
    in_place_switch(at);
    in_place_load(at);
    garbage = state_collect_garbage(revert->after);
    in_place_commit(at, garbage);
}

static void in_place_files(struct in_place *at)
{
    const struct world *world = at->revert->world;
    long long number = (long long)json_integer_value(json_object_get(at->revert->after, "counter"));

    at->present_file = alloc_print("%s/present-%lld.tmp", world->memory_dir, number + 1);
    at->present_node = vmstate_free_node(world->graph, IN_PLACE_NODE_PRESENT);
    at->load_file = json_string_value(at->revert->scratch);
    at->present_bytes = planner_ram_bytes(world);
    at->running = strcmp(world_status(world), "running") == 0;
}

bool in_place_plan(struct revert *revert, struct err *err)
{
    struct in_place at = { .revert = revert, .names = json_array(), .left = json_array() };
    size_t n = json_object_size(json_object_get(revert->snapshot, "disks"));
    bool ok;

    at.disks = alloc_zeroed(n + 1, sizeof(*at.disks));
    in_place_files(&at);
    disks_list(revert->world, &at.all);
    plan_add(revert->plan, step_deed("memory-check", state_str(revert->memory, "file"),
                                     json_deep_copy(revert->memory)));
    ok = in_place_overlays(&at, err);
    if (ok)
        in_place_steps(&at);
    for (size_t i = 0; i < at.n_disks; i++)
        json_decref(at.disks[i].device);
    disks_clear(&at.all);
    free(at.disks);
    free(at.present_file);
    free(at.present_node);
    json_decref(at.names);
    json_decref(at.left);
    return ok;
}
