/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot-revert by replace: the first QEMU ends before the second starts, for what two processes
 * cannot share and no command can give later.  The guest is stopped and its memory kept in a file
 * before that; until the second one has loaded and was verified, the way back is the first one's
 * command line, started anew, with that memory.
 *
 * The journal says when the kept memory is whole ("present": { kept, args, memory?, prints? }), and that
 * it is not any more before the guest goes on: what a restart finds there is the guest as it stopped.
 * Whoever lets the guest go on without that (another monitor while there is no proxy, a client when the
 * journal could not be written) is found out by the fingerprints of the images that it writes to.
 */
#include "policy/planner_revert_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/config_args.h"
#include "policy/disks.h"
#include "policy/fit.h"
#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_late.h"
#include "policy/planner_layers.h"
#include "policy/planner_memory.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

static bool replace_running(const struct revert *revert)
{
    return strcmp(world_status(revert->world), "running") == 0;
}

/* Is the present state the snapshot that save-as has made, or will have? */
static bool replace_is_saved(const struct revert *revert)
{
    return revert->save_as && (!state_snapshot(revert->state, revert->save_as) ||
                               strcmp(world_status(revert->world), "postmigrate") == 0);
}

/* new: { file, size?, xxh3? }, NULL: the guest has not run yet. */
static json_t *replace_memory(const struct revert *revert)
{
    const json_t *saved = revert->save_as ? state_snapshot(revert->state, revert->save_as) : NULL;
    json_t *memory;
    char *file;

    if (strcmp(world_status(revert->world), "prelaunch") == 0)
        return NULL;
    if (replace_is_saved(revert))
        return saved ? json_deep_copy(json_object_get(saved, "memory"))
                     : json_pack("{s:s}", "file", revert->save_as);
    file = alloc_print("%s/.present-%lld.mem", revert->world->memory_dir,
                       (long long)json_integer_value(json_object_get(revert->state, "counter")));
    memory = json_pack("{s:s}", "file", file);
    free(file);
    return memory;
}

/* The disks on record that the VM has now: key -> active layer, all of them and those on a device. */
static void replace_disks(const struct revert *revert, const struct args_disks *opens, json_t *actives,
                          json_t *attached)
{
    const char *key;
    json_t *disk;

    json_object_foreach(json_object_get(revert->state, "disks"), key, disk) {
        const struct args_disk *opened = args_disks_get(opens, key);

        if (!opened)
            continue;
        json_object_set(actives, key, json_object_get(disk, "active"));
        if (opened->kind == ARGS_DISK_DRIVE || opened->attached)
            json_object_set(attached, key, json_object_get(disk, "active"));
    }
}

/* Appends the start of the VM as it is: it is told what it is now, since the program may have been
 * renewed. */
static bool replace_start(const struct revert *revert, json_t *plan, const json_t *config, struct err *err)
{
    json_t *now = json_object(), *actives = json_object(), *attached = json_object();
    struct args_disks opens = { 0 };
    struct args *args = NULL;
    int version[2];
    bool ok;

    fit_record(revert->world, now);
    fit_version(revert->world, version);
    ok = fit_check_program(revert->world, now, err);
    if (ok)
        args = config_args(revert->world->args, config, world_is_typed(version), false, err);
    ok = args && args_disks_find(args, &opens, err);
    if (ok) {
        const json_t *memory = json_object_get(revert->present, "memory");
        const char *machine = fit_machine(revert->world, now);

        if (machine)
            args_set_machine(args, machine);
        replace_disks(revert, &opens, actives, attached);
        ok = revert_add_start(plan, args, revert->state, actives, memory != NULL, err);
        planner_memory_load(plan, memory);
        revert_add_verified(plan, revert->world, revert->state, attached, config);
    }
    args_disks_clear(&opens);
    args_free(args);
    json_decref(now);
    json_decref(actives);
    json_decref(attached);
    return ok;
}

/* Sets the steps of the way back: what leads from no QEMU at all to the VM as it is, paused. */
static bool replace_plan_return(struct revert *revert, struct err *err)
{
    json_t *config = planner_config(revert->world, revert->state), *late = json_array(), *step;
    bool memory = json_object_get(revert->present, "memory") != NULL;
    bool ok;

    revert->way_back = plan_new("snapshot-revert", revert->name);
    step_restart(plan_add(revert->way_back, step_deed("process-discard", NULL, json_object())));
    ok = replace_start(revert, revert->way_back, config, err);
    if (!ok)
        err_prefix(err, "The VM as it is could not be started again, should the revert fail");
    step = plan_add(revert->way_back, step_deed("process-switch", NULL, json_object()));
    step_main(step, "begins");
    config_late(config, late);
    planner_late_bind(revert->way_back, late);
    if (memory && !replace_running(revert))
        revert_add_activate(revert->way_back, revert->world);
    json_decref(late);
    json_decref(config);
    return ok;
}

static bool replace_has_bitmap(const struct world *world, const struct graph_link *link)
{
    json_t *bitmap;
    size_t i;

    if (json_is_true(json_object_get(world_file(world, link->file), "bitmaps")))
        return true;
    json_array_foreach(json_object_get(link->image->info, "dirty-bitmaps"), i, bitmap)
        if (json_is_true(json_object_get(bitmap, "persistent")))
            return true;
    return false;
}

/* QEMU notes in an image that it has taken the bitmaps out, when it loads: behind a way back that was interrupted
 * itself the image is not what was kept, and looks as if the guest had run on. */
static bool replace_check_bitmaps(const struct world *world, struct err *err)
{
    struct vm_disks all;

    disks_list(world, &all);
    for (size_t i = 0; i < all.n && !err->set; i++) {
        const char *label = all.v[i].label;

        if (!all.v[i].g->writable || !replace_has_bitmap(world, &all.v[i].g->chain[0]))
            continue;
        err_set(err, REASON_METHOD_UNAVAILABLE, "Disk '%s' has a persistent dirty bitmap, with which the method "
                "'replace' could not bring back the VM as it is for certain: remove that with "
                "block-dirty-bitmap-remove", label);
        err_name(err, "disk", label);
    }
    disks_clear(&all);
    return !err->set;
}

bool revert_check_replace(struct revert *revert, const json_t *request, struct err *err)
{
    const char *status = world_status(revert->world), *file;
    json_t *memory;

    revert->save_as = state_str(request, "save-as");
    if (strcmp(status, "postmigrate") == 0 && !replace_is_saved(revert)) {
        err_set(err, REASON_WRONG_STATE, "QEMU cannot keep the memory of a paused guest a second time "
                "before it has run, which the method 'replace' needs for the way back: continue it first");
        err_name(err, "run-state", status);
        return false;
    }
    memory = replace_memory(revert);
    file = state_str(memory, "file");
    revert->present = json_pack("{s:b, s:o, s:o*}", "kept", 0, "args", planner_args(revert->world->given),
                                "memory", memory);
    /* The layers that a save-as will make have none. */
    if (file && (!revert->save_as || state_snapshot(revert->state, revert->save_as)) &&
        !replace_check_bitmaps(revert->world, err))
        return false;
    if (file && !replace_is_saved(revert) &&
        (!world_check_migratable(revert->world, err) ||
         !overlay_check_room(revert->world, file, planner_memory_bytes(revert->world), err)))
        return false;
    return replace_plan_return(revert, err);
}

/* new: the files that the guest writes to; a block device has no time of its own. */
static json_t *replace_files(const struct world *world)
{
    json_t *files = json_array();
    struct vm_disks all;

    disks_list(world, &all);
    for (size_t i = 0; i < all.n; i++) {
        const json_t *file = world_file(world, all.v[i].g->chain[0].file);
        const char *kind = state_str(file, "kind");

        if (all.v[i].g->writable && kind && strcmp(kind, "file") == 0)
            json_array_append(files, json_object_get(file, "real"));
    }
    disks_clear(&all);
    return files;
}

/* QEMU has let go of the images when it has saved; a paused guest has no cont that takes them back. */
static void replace_give_images_back(struct revert *revert)
{
    json_t *steps = json_object_get(revert->plan, "steps"), *back;

    back = replace_running(revert) ? NULL : revert_activate(revert->world->version[0]);
    if (back)
        step_undo(json_array_get(steps, json_array_size(steps) - 1), back);
}

/* The guest stands still, and its memory is in a file. */
static void replace_keep(struct revert *revert)
{
    const char *file = state_str(json_object_get(revert->present, "memory"), "file");
    bool saves = file && !replace_is_saved(revert);
    json_t *step, *drop;

    if (saves)
        planner_memory_prepare(revert->world, revert->plan, file, false);
    if (replace_running(revert)) {
        step = plan_add(revert->plan, planner_stop());
        step_undo(step, planner_cont_back());
    }
    if (saves) {
        planner_memory_save(revert->world, revert->plan, file, false);
        replace_give_images_back(revert);
        plan_add(revert->plan, step_deed("memory-seal", file, json_pack("{s:s}", "file", file)));
    }
    json_object_set(revert->plan, "present", revert->present);
    if (file)
        plan_add(revert->plan, step_deed("present-print", file,
                                         json_pack("{s:o}", "files", replace_files(revert->world))));
    step = plan_add(revert->plan, step_deed("present-keep", file, json_object()));
    /* A snapshot's own memory stays, whatever happens. */
    drop = step_deed("present-drop", file, saves ? json_pack("{s:s}", "file", file) : json_object());
    /* Where nothing can be written or removed any more the fingerprints tell that it is stale. */
    if (replace_running(revert))
        step_rescue(drop, planner_cont_back());
    step_undo(step, drop);
}

void revert_replace_first(struct revert *revert)
{
    const json_t *steps = json_object_get(revert->way_back, "steps");
    bool memory = json_object_get(revert->present, "memory") != NULL;
    json_t *step, *back;
    size_t i;

    replace_keep(revert);
    plan_add(revert->plan, revert_hold());
    /* Whoever has let it run meanwhile, by another monitor, has made what was kept worthless. */
    plan_add(revert->plan, step_wait("check-present", "qemu", NULL,
                                     expect_status(memory ? "postmigrate" : "prelaunch", NULL)));
    step = plan_add(revert->plan, step_deed("process-end", NULL, json_pack("{s:b}", "alone", 1)));
    step_main(step, "ends");
    json_array_foreach(steps, i, back) {
        json_object_del(back, "undo"); /* the first of them is what takes the others back */
        if (strcmp(state_str(back, "step"), "settings-carry") == 0)
            step_lenient(back); /* the guest is worth more */
        if (strcmp(state_str(back, "step"), "process-start") == 0)
            json_object_set_new(json_object_get(back, "args"), "patient", json_true()); /* nothing else is left */
        step_undo(step, json_incref(back));
    }
}

void revert_replace_take_over(struct revert *revert)
{
    json_t *step = plan_add(revert->plan, step_deed("commit", NULL, json_object()));
    json_t *late = json_array();

    step_commit_point(step);
    /* Refused when it has just died: what was kept is the present state until the guest goes on. */
    step = plan_add(revert->plan, step_deed("process-switch", NULL, json_object()));
    step_main(step, "begins");
    json_object_set_new(step, "can-return", json_true());
    config_late(json_object_get(revert->snapshot, "config"), late);
    planner_late_bind(revert->plan, late);
    json_decref(late);
}

void revert_replace_garbage(const struct revert *revert, json_t *garbage)
{
    json_t *file = json_object_get(json_object_get(revert->present, "memory"), "file");

    if (file && !replace_is_saved(revert))
        json_array_append(garbage, file);
}
