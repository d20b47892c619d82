/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/planner_steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "policy/config_args.h"
#include "policy/fit.h"
#include "policy/plan.h"
#include "policy/state.h"
#include "qmp/alloc.h"

/* Faster than any disk, and small enough for a size_t of 32 bits and a double of QEMU's. */
#define PLANNER_BANDWIDTH ((json_int_t)1 << 40)

/* What the devices' state may take beside RAM. */
#define PLANNER_DEVICE_ROOM ((json_int_t)16 << 20)

json_t *expect_disk(const struct graph_disk *disk, const char *node)
{
    bool named = disk->device[0] != '\0';

    return json_pack("{s:s, s:s, s:s}", "is", "disk", named ? "device" : "qdev",
                     named ? disk->device : disk->qdev, "node", node);
}

const char *planner_job_device(const struct graph_disk *disk, const char *root_node)
{
    return disk->device[0] ? disk->device : root_node;
}

static const char *planner_undo_job(const char *overlay_node, char *out, size_t size)
{
    snprintf(out, size, "qsnap-undo-%.40s", overlay_node);
    return out;
}

void planner_undo_overlay(json_t *step, const struct vm_disk *disk, const char *overlay_node)
{
    char job[64];
    json_t *commit = step_command(
        "undo-commit", "qemu", disk->label, "block-commit",
        json_pack("{s:s, s:s, s:s, s:b, s:b}", "job-id",
                  planner_undo_job(overlay_node, job, sizeof(job)), "device",
                  planner_job_device(disk->g, overlay_node), "base-node",
                  disk->g->chain[0].image->name, "auto-dismiss", 0, "auto-finalize", 0),
        expect_job(planner_undo_job(overlay_node, job, sizeof(job)), "ready"));

    step_timeout(commit, 0);
    step_undo(step, commit);
}

void planner_undo_overlay_complete(json_t *step, const struct vm_disk *disk, const char *overlay_node)
{
    char job[64];

    planner_undo_job(overlay_node, job, sizeof(job));
    step_undo(step, step_command("undo-complete", "qemu", disk->label, "job-complete",
                                 json_pack("{s:s}", "id", job), expect_job(job, "pending")));
}

void planner_undo_overlay_rescue(json_t *undo, const char *overlay_node)
{
    char job[64];

    planner_undo_job(overlay_node, job, sizeof(job));
    step_rescue(undo, planner_cancel_job(job));
    step_rescue(undo, planner_dismiss_job(job));
}

void planner_undo_overlay_end(json_t *step, const struct vm_disk *disk, const char *overlay_node)
{
    const char *base = disk->g->chain[0].image->name;
    char job[64];

    planner_undo_job(overlay_node, job, sizeof(job));
    step_undo(step, step_command("undo-finalize", "qemu", disk->label, "job-finalize",
                                 json_pack("{s:s}", "id", job), expect_job(job, "concluded")));
    step_undo(step, step_command("undo-dismiss", "qemu", disk->label, "job-dismiss",
                                 json_pack("{s:s}", "id", job), expect_job(job, "null")));
    step_undo(step, step_wait("undo-check", "qemu", disk->label, expect_disk(disk->g, base)));
}

json_t *planner_cancel_job(const char *job)
{
    return step_command("cancel-commit", "qemu", NULL, "block-job-cancel",
                        json_pack("{s:s, s:b}", "device", job, "force", 1),
                        json_pack("{s:s, s:s, s:[s,s], s:b}", "is", "job", "id", job, "in",
                                  "concluded", "null", "error-ok", 1));
}

json_t *planner_dismiss_job(const char *job)
{
    return step_command("job-dismiss", "qemu", NULL, "job-dismiss", json_pack("{s:s}", "id", job),
                        expect_job(job, "null"));
}

json_t *planner_close_node(const char *node)
{
    return step_command("blockdev-del", "qemu", node, "blockdev-del",
                        json_pack("{s:s}", "node-name", node), expect_node(node, false));
}

json_t *planner_stop(void)
{
    return step_command("stop", "qemu", NULL, "stop", NULL, expect_status("paused", NULL));
}

json_t *planner_cont(void)
{
    return step_command("cont", "qemu", NULL, "cont", NULL, expect_status("running", NULL));
}

json_t *planner_cont_back(void)
{
    return step_command("cont", "qemu", NULL, "cont", NULL,
                        json_pack("{s:s, s:[s,s,s,s,s]}", "is", "status", "in", "running", "io-error",
                                  "guest-panicked", "internal-error", "shutdown"));
}

json_t *planner_stop_back(void)
{
    return step_command("stop", "qemu", NULL, "stop", NULL, expect_status("paused", "io-error"));
}

/* Every capability off but, for a background snapshot, that one: what a client has set for a
 * migration of its own (multifd, compress, ...) must not shape the file. */
static json_t *planner_capability_list(const struct world *world, bool background, bool restore)
{
    json_t *list = json_array();
    const char *name;
    json_t *now;

    json_object_foreach(world->capabilities, name, now) {
        bool needed = background && strcmp(name, "background-snapshot") == 0;

        if (json_is_true(now) != needed && strcmp(name, "events") != 0)
            json_array_append_new(list, json_pack("{s:s, s:b}", "capability", name, "state",
                                                  restore ? json_is_true(now) : needed));
    }
    return list;
}

static json_t *planner_capability_step(const char *step, const json_t *list)
{
    json_t *equal = json_object();
    json_t *item;
    size_t i;

    json_array_foreach((json_t *)list, i, item)
        json_object_set(equal, state_str(item, "capability"), json_object_get(item, "state"));
    return step_command(step, "qemu", NULL, "migrate-set-capabilities",
                        json_pack("{s:O}", "capabilities", list),
                        json_pack("{s:s, s:o}", "is", "capabilities", "equal", equal));
}

static json_t *planner_bandwidth_step(const char *step, json_int_t bandwidth)
{
    return step_command(step, "qemu", NULL, "migrate-set-parameters",
                        json_pack("{s:I}", "max-bandwidth", bandwidth),
                        json_pack("{s:s, s:{s:I}}", "is", "parameters", "equal", "max-bandwidth",
                                  bandwidth));
}

void planner_capabilities(const struct world *world, json_t *plan, bool background)
{
    json_t *set = planner_capability_list(world, background, false);
    json_t *back = planner_capability_list(world, background, true);
    json_t *step;

    if (json_array_size(set) > 0) {
        step = planner_capability_step("migrate-capabilities", set);
        step_undo(step, planner_capability_step("migrate-capabilities-restore", back));
        plan_add(plan, step);
    }
    json_decref(set);
    json_decref(back);
}

void planner_capabilities_restore(const struct world *world, json_t *plan, bool background, bool lenient)
{
    json_t *back = planner_capability_list(world, background, true), *step;

    if (json_array_size(back) > 0) {
        step = planner_capability_step("migrate-capabilities-restore", back);
        plan_add(plan, lenient ? step_lenient(step) : step);
    }
    json_decref(back);
}

void planner_migration_settings(const struct world *world, json_t *plan, bool background)
{
    json_int_t old = json_integer_value(json_object_get(world->parameters, "max-bandwidth"));
    json_t *step = planner_bandwidth_step("migrate-parameters", PLANNER_BANDWIDTH);

    planner_capabilities(world, plan, background);
    step_undo(step, planner_bandwidth_step("migrate-parameters-restore", old));
    plan_add(plan, step);
}

void planner_migration_restore(const struct world *world, json_t *plan, bool background)
{
    json_int_t old = json_integer_value(json_object_get(world->parameters, "max-bandwidth"));

    planner_capabilities_restore(world, plan, background, false);
    plan_add(plan, planner_bandwidth_step("migrate-parameters-restore", old));
}

json_t *planner_freeze_step(const json_t *state, const json_t *layers)
{
    json_t *files = json_object();
    const char *key;
    json_t *id;

    json_object_foreach((json_t *)layers, key, id)
        json_object_set(files, json_string_value(id),
                        json_object_get(state_layer(state, json_string_value(id)), "real"));
    return step_deed("layers-freeze", NULL, json_pack("{s:o}", "layers", files));
}

json_int_t planner_ram_bytes(const struct world *world)
{
    return json_integer_value(json_object_get(world->memory_size, "base-memory")) +
           json_integer_value(json_object_get(world->memory_size, "plugged-memory"));
}

json_int_t planner_memory_bytes(const struct world *world)
{
    return planner_ram_bytes(world) + PLANNER_DEVICE_ROOM;
}

static int planner_compare_ids(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

json_t *planner_device_ids(const struct world *world)
{
    size_t most = json_object_size(world->devices) + json_array_size(world->anonymous), n = 0, i;
    const char **ids = alloc_zeroed(most + 1, sizeof(*ids)), *id;
    json_t *list = json_array(), *there;

    json_object_foreach(world->devices, id, there)
        ids[n++] = id;
    json_array_foreach(world->anonymous, i, there) {
        id = state_str(there, "type");
        if (id && strncmp(id, "child<", 6) == 0)
            ids[n++] = id;
    }
    qsort(ids, n, sizeof(*ids), planner_compare_ids);
    for (i = 0; i < n; i++)
        json_array_append_new(list, json_string(ids[i]));
    free(ids);
    return list;
}

json_t *planner_args(const struct args *args)
{
    json_t *list = json_array();
    char **argv = args ? args_render(args) : NULL;

    for (size_t i = 0; argv && argv[i]; i++) {
        json_t *word = json_string(argv[i]);

        if (!word)
            abort();
        json_array_append_new(list, word);
    }
    args_strv_free(argv);
    return list;
}

struct args *planner_parse_args(const json_t *words, struct err *err)
{
    size_t n = json_array_size(words);
    char **argv = alloc_zeroed(n + 1, sizeof(*argv));
    struct args *args;

    for (size_t i = 0; i < n; i++)
        argv[i] = (char *)json_string_value(json_array_get(words, i));
    args = args_parse((int)n, argv, err);
    free(argv);
    return args;
}

/* As a state that a revert can end in; images that were let go of belong to a paused guest. */
static const char *planner_run_state(const struct world *world)
{
    static const char *const as_is[] = { "running", "prelaunch" };
    const char *status = world_status(world);

    for (size_t i = 0; i < 2; i++)
        if (strcmp(status, as_is[i]) == 0)
            return as_is[i];
    return "paused";
}

void planner_check_devices(json_t *plan, const char *on, const json_t *config)
{
    json_t *present = json_array(), *absent = json_array(), *command;
    size_t i;

    json_array_foreach((json_t *)config, i, command) {
        const struct config_row *row = config_row_find(state_str(command, "execute"));
        json_t *id = json_object_get(json_object_get(command, "arguments"), "id");

        if (row && id && strcmp(row->option, "device") == 0)
            json_array_append(row->deed == CONFIG_ADD ? present : absent, id);
    }
    if (json_array_size(present) > 0)
        plan_add(plan, step_wait("check-devices", on, NULL,
                                 json_pack("{s:s, s:O, s:O}", "is", "devices", "present", present,
                                           "absent", absent)));
    json_decref(present);
    json_decref(absent);
}

json_t *planner_config(const struct world *world, const json_t *state)
{
    return config_now(json_object_get(state, "config"), world->args, world->devices, world->places);
}

void planner_cover(const json_t *state, json_t *snapshot, const char *key, json_t *layer)
{
    const json_t *disk = state_disk(state, key);

    json_object_set(json_object_get(snapshot, "disks"), key, layer);
    json_object_set_new(json_object_get(snapshot, "devices"), key,
                        json_pack("{s:O, s:O}", "device", json_object_get(disk, "device"), "qdev",
                                  json_object_get(disk, "qdev")));
}

/* The image that the disk began with; a client may have streamed it into a layer, under which it is no more. */
static json_t *planner_base(const json_t *state, const char *key, const json_t *chain)
{
    json_t *lowest = json_array_get(chain, json_array_size(chain) - 1);
    json_t *before = json_object_get(state_disk(state, key), "base");

    if (before && !json_object_get(state_layer(state, json_string_value(lowest)), "base"))
        return before;
    return lowest;
}

json_t *planner_disk(const json_t *state, const char *key, const json_t *device, const char *layer)
{
    json_t *chain = state_chain(state, layer, false);
    json_t *base = planner_base(state, key, chain);
    json_t *disk = json_pack("{s:O, s:O, s:s, s:O}", "device", json_object_get(device, "device"), "qdev",
                             json_object_get(device, "qdev"), "active", layer, "base", base);

    json_decref(chain);
    if (!disk)
        abort();
    return disk;
}

json_t *planner_snapshot(const struct world *world, const json_t *state, const char *name,
                         const char *origin)
{
    json_t *snapshot = json_pack("{s:s, s:O, s:s, s:s, s:{}, s:{}, s:o, s:o, s:[i,i], s:I}", "name",
                                 name, "parent", json_object_get(state, "current"), "run-state",
                                 planner_run_state(world), "origin", origin, "disks", "devices", "args",
                                 planner_args(world->args), "config",
                                 planner_config(world, state), "qemu",
                                 world->version[0], world->version[1], "created",
                                 (json_int_t)world->now);

    if (!snapshot)
        abort();
    fit_record(world, snapshot);
    return snapshot;
}
