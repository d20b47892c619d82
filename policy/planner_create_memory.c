/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory of a snapshot: which kind, and the steps that save it. */
#include "policy/planner_create_internal.h"

#include <string.h>

#include "policy/overlay.h"
#include "policy/plan.h"
#include "policy/planner_memory.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "policy/vmstate.h"

/* Where the vmstate is open while it is saved, and the job that does it. */
#define CREATE_NODE "qsnap-vmstate"
#define CREATE_JOB "qsnap-save"

/* Attached, nothing else than a vmstate could be reverted to. */
static enum create_memory create_choose(const struct create *create, const char *wanted, bool ran)
{
    if (!wanted)
        return !ran ? CREATE_NONE : create->world->args ? CREATE_STREAM : CREATE_VMSTATE;
    return strcmp(wanted, "stream") == 0    ? CREATE_STREAM
           : strcmp(wanted, "vmstate") == 0 ? CREATE_VMSTATE : CREATE_NONE;
}

bool create_check_memory(struct create *create, const json_t *request, struct err *err)
{
    const char *status = world_status(create->world);
    bool ran = strcmp(status, "prelaunch") != 0;

    create->memory = create_choose(create, state_str(request, "memory"), ran);
    if (!ran && create->memory) {
        err_set(err, REASON_WRONG_STATE, "The guest has not run yet, so it has no memory to save: "
                "use memory: none");
        return false;
    }
    if (strcmp(status, "postmigrate") == 0 && create->memory) {
        err_set(err, REASON_WRONG_STATE, "QEMU cannot save the memory of a paused guest a second "
                "time before it has run: continue it first, or use memory: none");
        return false;
    }
    return !create->memory ||
           (world_check_migratable(create->world, err) &&
            overlay_check_room(create->world, create->memory_file,
                               planner_memory_bytes(create->world), err));
}

/* ---- as a stream ---- */

/* Where the guest's own state goes on to be "paused", which plain migration leaves as postmigrate:
 * a background snapshot restores the state it found (migration/migration.c, bg_migration_*; from
 * QEMU 9.0 on; before, it always starts the guest). */
static bool create_in_background(const struct create *create)
{
    return strcmp(world_status(create->world), "paused") == 0 && create->world->version[0] >= 9;
}

/* ---- as a vmstate ---- */

static void create_prepare_vmstate(struct create *create)
{
    json_t *step;

    create->vmstate_node = vmstate_free_node(create->world->graph, CREATE_NODE);
    step = vmstate_open("qemu", create->vmstate_node, create->memory_file);

    /* Where QEMU cannot reach the file it refuses here, before the guest is stopped. */
    step_advice(step, "QEMU itself writes the vmstate, so that it has to reach the state folder (-d): put that "
                      "where it does, or use another kind of memory");
    plan_add(create->plan, vmstate_create(create->memory_file, VMSTATE_DISK_BYTES));
    plan_add(create->plan, step);
    planner_capabilities(create->world, create->plan, false);
}

static void create_vmstate(struct create *create)
{
    json_t *step = vmstate_save("memory-save", CREATE_JOB, create->vmstate_node,
                                planner_ram_bytes(create->world));

    step_undo(step, step_lenient(vmstate_end("qemu", CREATE_JOB, planner_ram_bytes(create->world))));
    step_undo(step, step_lenient(vmstate_dismiss("qemu", CREATE_JOB)));
    plan_add(create->plan, step);
}

/* The node is closed before the file is looked at: then all of it is there. */
static void create_close_vmstate(struct create *create)
{
    plan_add(create->plan, vmstate_dismiss("qemu", CREATE_JOB));
    plan_add(create->plan, planner_close_node(create->vmstate_node));
}

/* ---- either ---- */

void create_prepare_memory(struct create *create)
{
    if (create->memory == CREATE_STREAM)
        planner_memory_prepare(create->world, create->plan, create->memory_file,
                               create_in_background(create));
    else if (create->memory == CREATE_VMSTATE)
        create_prepare_vmstate(create);
}

void create_memory(struct create *create)
{
    if (create->memory == CREATE_STREAM)
        planner_memory_save(create->world, create->plan, create->memory_file,
                            create_in_background(create));
    else if (create->memory == CREATE_VMSTATE)
        create_vmstate(create);
}

/* fsync and checksum: while the guest runs again; first, when it stands still all the same. */
void create_seal(struct create *create, bool before)
{
    bool runs = create->running && !create->stay_stopped;
    json_t *args;

    if (!create->memory || before == runs)
        return;
    args = json_pack("{s:s, s:s}", "file", create->memory_file, "snapshot", create->name);
    if (create->memory == CREATE_VMSTATE) {
        create_close_vmstate(create);
        json_object_set_new(args, "tag", json_string(VMSTATE_TAG));
    }
    plan_add(create->plan, step_deed("memory-seal", create->memory_file, args));
}

void create_settle_memory(struct create *create)
{
    if (create->memory == CREATE_STREAM)
        planner_migration_restore(create->world, create->plan, create_in_background(create));
    else if (create->memory == CREATE_VMSTATE)
        planner_capabilities_restore(create->world, create->plan, false, false);
}

void create_record_memory(const struct create *create, json_t *snapshot)
{
    json_t *memory;

    if (!create->memory)
        return;
    memory = json_pack("{s:s, s:s}", "format",
                       create->memory == CREATE_STREAM ? "stream" : VMSTATE_FORMAT, "file",
                       create->memory_file);
    /* It is loaded by a process that has just these. */
    if (create->memory == CREATE_VMSTATE)
        json_object_set_new(memory, "devices", planner_device_ids(create->world));
    if (create->memory == CREATE_VMSTATE)
        json_object_set_new(memory, "tag", json_string(VMSTATE_TAG));
    json_object_set_new(snapshot, "memory", memory);
}
