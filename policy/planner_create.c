/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-create: new overlays are made and opened while the guest runs; then it is stopped, its
 * memory is written, all disks move to their overlays in one transaction, and it goes on.  The
 * files are made durable, and checksummed, while it runs again; only then the snapshot counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/name.h"
#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_create_internal.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

static bool create_check_name(const json_t *state, const char *name, struct err *err)
{
    if (!name_check(name, err))
        return false;
    if (state_snapshot(state, name)) {
        err_set(err, REASON_DUPLICATE_NAME, "There is a snapshot '%s' already: choose another name, "
                "or delete it first", name);
        err_name(err, "snapshot", name);
        return false;
    }
    return true;
}

static bool create_check(struct create *create, const json_t *state, const json_t *request,
                         struct err *err)
{
    static const char *const fit[] = { "running", "paused", "prelaunch", "postmigrate", NULL };
    const char *status = world_status(create->world);
    size_t i = 0;

    while (fit[i] && strcmp(fit[i], status) != 0)
        i++;
    if (!fit[i]) {
        err_set(err, REASON_WRONG_STATE, "The VM is in state '%s': a snapshot can be made of one "
                "that is running or paused, or has not run yet", status);
        err_name(err, "run-state", status);
        return false;
    }
    if (json_is_true(json_object_get(request, "live"))) {
        err_set(err, REASON_NOT_SUPPORTED, "live: true is not supported yet: leave it out");
        return false;
    }
    return create_check_name(state, create->name, err) &&
           (!create->world->args || args_check_snapshots(create->world->args, err)) &&
           disks_check_jobs(create->world, err) && disks_check_all(create->world, state, err) &&
           create_check_memory(create, request, err);
}

/* Registers the disks and plans an overlay for each in `after`. */
static bool create_overlays(struct create *create, const json_t *request, struct err *err)
{
    if (!disks_select(create->world, json_object_get(request, "disks"), &create->disks, err))
        return false;
    if (create->disks.n == 0 && !create->memory) {
        err_set(err, REASON_UNKNOWN_DISK, "There is nothing to save: no writable disk, and no memory");
        return false;
    }
    disks_note_sizes(create->world, create->after);
    for (size_t i = 0; i < create->disks.n; i++) {
        const struct vm_disk *disk = &create->disks.v[i];
        const char *id;

        if (!state_disk(create->after, disk->key) &&
            !disks_register(create->world, create->after, disk, err))
            return false;
        id = overlay_plan(create->world, create->after,
                          state_str(state_disk(create->after, disk->key), "active"), err);
        if (!id)
            return false;
        json_object_set_new(create->overlays, disk->key, json_string(id));
    }
    return true;
}

static void create_open_overlays(struct create *create)
{
    for (size_t i = 0; i < create->disks.n; i++) {
        const struct vm_disk *disk = &create->disks.v[i];
        const char *id = state_str(create->overlays, disk->key);
        const json_t *layer = state_layer(create->after, id);
        const char *node = state_str(layer, "node");
        json_t *step;

        plan_add(create->plan, overlay_step(create->after, id));
        step = step_command("blockdev-add", "qemu", node, "blockdev-add",
                            overlay_options(layer, disk->g->active->info,
                                            disk->a && disk->a->discard),
                            expect_node(node, true));
        step_undo(step, planner_close_node(node));
        plan_add(create->plan, step);
    }
}

static const char *create_overlay_node(const struct create *create, size_t i)
{
    const char *key = create->disks.v[i].key;

    return state_str(state_layer(create->after, state_str(create->overlays, key)), "node");
}

/* new: the step that says in the journal that the overlays are not kept.  Where it cannot, they are: the
 * guest goes on on them, and a recovery that can write takes them over. */
static json_t *create_cancel_adoption(const struct create *create)
{
    json_t *step = step_deed("adopt-cancel", NULL, json_object());

    for (size_t i = 0; i < create->disks.n; i++)
        planner_undo_overlay_rescue(step, create_overlay_node(create, i));
    if (create->running)
        step_rescue(step, planner_cont_back());
    return step;
}

/* Taken back, the overlays are merged into what they stand on, which moves what the guest has
 * written meanwhile.  It stands still from before the journal says so until the disks are back on
 * their old images: a restart then finds the same content on either. */
static void create_undo_transaction(struct create *create, json_t *step)
{
    bool stop = create->running;

    /* Images that a finished migration has let go of cannot be merged before the guest runs. */
    if (stop && create->memory == CREATE_STREAM)
        step_undo(step, planner_cont_back());
    for (size_t i = 0; i < create->disks.n; i++)
        planner_undo_overlay(step, &create->disks.v[i], create_overlay_node(create, i));
    if (stop)
        step_undo(step, planner_stop_back());
    for (size_t i = 0; i < create->disks.n; i++)
        planner_undo_overlay_complete(step, &create->disks.v[i], create_overlay_node(create, i));
    step_undo(step, create_cancel_adoption(create));
    for (size_t i = 0; i < create->disks.n; i++)
        planner_undo_overlay_end(step, &create->disks.v[i], create_overlay_node(create, i));
    if (stop)
        step_undo(step, planner_cont_back());
}

/* One transaction for all disks. */
static void create_transaction(struct create *create)
{
    json_t *actions = json_array();
    const struct vm_disk *disk;
    json_t *step;

    for (size_t i = 0; i < create->disks.n; i++)
        json_array_append_new(actions,
                              json_pack("{s:s, s:{s:s, s:s}}", "type", "blockdev-snapshot", "data",
                                        "node", create->disks.v[i].g->chain[0].image->name,
                                        "overlay", create_overlay_node(create, i)));
    if (create->disks.n == 0) {
        json_decref(actions);
        return;
    }
    /* All or none: QEMU's answer about the last disk tells for all. */
    disk = &create->disks.v[create->disks.n - 1];
    step = step_command("transaction", "qemu", disk->label, "transaction",
                        json_pack("{s:o}", "actions", actions),
                        expect_disk(disk->g, create_overlay_node(create, create->disks.n - 1)));
    create_undo_transaction(create, step);
    plan_add(create->plan, step);
}

static void create_stop(struct create *create, const json_t *state)
{
    json_t *step, *config;

    /* Without memory the transaction alone is one moment for all disks. */
    if (!create->running || (!create->memory && !create->stay_stopped))
        return;
    config = planner_config(create->world, state);
    step = planner_stop();
    step_undo(step, planner_cont_back());
    plan_add(create->plan, step);
    /* The guest may have let go of one since it was asked. */
    planner_check_devices(create->plan, "qemu", config);
    json_decref(config);
}

static void create_cont(struct create *create)
{
    if (create->running && create->memory && !create->stay_stopped)
        plan_add(create->plan, planner_cont());
}

/* The record as it will be. */
static void create_record(struct create *create, const json_t *request, const json_t *state)
{
    json_t *snapshot = planner_snapshot(create->world, state, create->name, "created");
    json_t *description = json_object_get(request, "description");

    if (description)
        json_object_set(snapshot, "description", description);
    for (size_t i = 0; i < create->disks.n; i++) {
        const char *key = create->disks.v[i].key;
        json_t *disk = state_disk(create->after, key);

        planner_cover(create->after, snapshot, key, json_object_get(disk, "active"));
        json_object_set(disk, "active", json_object_get(create->overlays, key));
    }
    create_record_memory(create, snapshot);
    json_array_append_new(json_object_get(create->after, "snapshots"), snapshot);
    json_object_set_new(create->after, "current", json_string(create->name));
}

static void create_finish(struct create *create)
{
    json_t *frozen = json_object_get(state_snapshot(create->after, create->name), "disks");
    json_t *step;

    plan_add(create->plan, planner_freeze_step(create->after, frozen));
    create_settle_memory(create);
    step = step_deed("state-write", NULL, json_object());
    step_commit_point(step);
    plan_add(create->plan, step);
    json_object_set_new(create->plan, "adopt", json_true());
    state_advance(create->after);
    plan_set_running(create->plan, world_status(create->world));
    json_object_set(create->plan, "after", create->after);
}

static void create_free(struct create *create)
{
    disks_clear(&create->disks);
    json_decref(create->after);
    json_decref(create->overlays);
    free(create->memory_file);
    free(create->vmstate_node);
}

static json_t *create_plan(struct create *create, const json_t *state, const json_t *request,
                           struct err *err)
{
    json_int_t number = json_integer_value(json_object_get(state, "counter"));

    create->memory_file = alloc_print("%s/%s-%lld.mem", create->world->memory_dir, create->name,
                                      (long long)number + 1);
    create->running = strcmp(world_status(create->world), "running") == 0;
    if (!create_check(create, state, request, err) || !create_overlays(create, request, err))
        return NULL;
    /* Without a disk no layer has taken the number that the memory file's name uses. */
    if (create->disks.n == 0)
        json_object_set_new(create->after, "counter", json_integer(number + 1));
    create->plan = plan_new("snapshot-create", create->name);
    create_open_overlays(create);
    create_prepare_memory(create);
    create_stop(create, state);
    create_memory(create);
    create_seal(create, true);
    create_transaction(create);
    create_cont(create);
    create_seal(create, false);
    create_record(create, request, state);
    create_finish(create);
    return create->plan;
}

static json_t *create_run(const struct world *world, const json_t *state, const json_t *request,
                          const char *name, bool stay_stopped, struct err *err)
{
    struct create create = {
        .world = world,
        .name = name,
        .stay_stopped = stay_stopped,
        .after = json_deep_copy(state),
        .overlays = json_object(),
    };
    json_t *plan = create_plan(&create, state, request, err);

    create_free(&create);
    return plan;
}

json_t *planner_create(const struct world *world, const json_t *state, const json_t *request,
                       struct err *err)
{
    return create_run(world, state, request, state_str(request, "name"), false, err);
}

json_t *planner_save_as(const struct world *world, const json_t *state, const json_t *request,
                        struct err *err)
{
    json_t *kind = json_pack("{s:O*}", "memory", json_object_get(request, "memory"));
    json_t *plan = create_run(world, state, kind, state_str(request, "save-as"), true, err);

    json_decref(kind);
    return plan;
}
