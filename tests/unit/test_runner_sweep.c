/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * runner and planners: real plans against a QEMU in which each command goes wrong in each way.
 * What the runner says at the end is how QEMU and the host are.
 */
#include "tests/unit/planner_world.h"
#include "tests/unit/runner_fake.h"

#include <stdio.h>
#include <unistd.h>

#include "policy/plan.h"
#include "policy/state.h"

/* new: the fake QEMU's view of the world's VM. */
static json_t *vm_of(const struct planner_world *world)
{
    json_t *vm = json_pack("{s:O, s:{}, s:{}, s:{}, s:{}, s:O, s:O}", "status",
                           json_object_get(world->w.status, "status"), "nodes", "jobs", "disks",
                           "paths", "capabilities", world->w.capabilities, "parameters",
                           world->w.parameters);
    json_t *disk, *link, *copy;
    size_t i, k;

    json_array_foreach(world->vm, i, disk) {
        json_array_foreach(json_object_get(disk, "chain"), k, link)
            json_object_set_new(json_object_get(vm, "nodes"), state_str(link, "node"), json_true());
        json_object_set(json_object_get(vm, "paths"), state_str(disk, "qdev"),
                        json_object_get(disk, "device"));
        json_object_set(json_object_get(vm, "disks"), state_str(disk, "device"),
                        json_object_get(json_array_get(json_object_get(disk, "chain"), 0), "node"));
    }
    copy = json_deep_copy(vm);
    json_decref(vm);
    return copy;
}

/* new: of a chain's expectation what can be asked for without a block graph: the active node. */
static json_t *expect_for_fake(const json_t *expect)
{
    const json_t *disk = json_array_get(json_object_get(expect, "disks"), 0);
    const json_t *active = json_array_get(json_object_get(disk, "chain"), 0);

    return json_pack("{s:s, s:O, s:O}", "is", "disk", "device", json_object_get(disk, "device"),
                     "node", json_object_get(active, "node"));
}

/* The fake has no block graph, and no files to give descriptors of. */
static json_t *plan_for_fake(const json_t *plan)
{
    json_t *copy = json_deep_copy(plan), *step;
    size_t i;

    json_array_foreach(json_object_get(copy, "steps"), i, step) {
        if (strcmp(state_str(step, "step"), "check-disks") == 0)
            json_object_set_new(step, "expect", json_text("{'is': 'any'}"));
        if (strcmp(state_str(step, "step"), "check-disk") == 0)
            json_object_set_new(step, "expect", expect_for_fake(json_object_get(step, "expect")));
        if (json_object_get(step, "fd"))
            json_object_set_new(json_object_get(step, "fd"), "path", json_string("/dev/null"));
    }
    return copy;
}

struct sweep {
    struct planner_world *world;
    const json_t *plan;
    enum fake_trouble trouble;
    size_t at;                  /* the command, or the deed, that goes wrong */
    bool deed, next;            /* next: of the second QEMU, when the plan starts one */
};

static void sweep_fail(const struct sweep *sweep, const struct runner_fake *fake, const char *what)
{
    char *log = json_dumps(fake->log, JSON_INDENT(1)), *vm = json_dumps(fake->qemu->vm, 0);

    fail_msg("%s, %s %zu %s: %s (end %d: %s)\n%s\n%s", state_str(sweep->plan, "operation"),
             sweep->deed ? "deed" : sweep->next ? "next's command" : "command", sweep->at,
             sweep->deed ? "fails" : fake_trouble_name[sweep->trouble], what, fake->end,
             fake->err.set ? fake->err.desc : "no error", log, vm);
    free(log);
    free(vm);
}

/* How often a deed was done or tried. */
static size_t deeds_in_log(const struct runner_fake *fake, const char *deed)
{
    json_t *line;
    size_t i, n = 0;

    json_array_foreach(fake->log, i, line)
        n += strcmp(json_string_value(line), deed) == 0;
    return n;
}

/* A delete that has merged some disks and recorded each stays half done, marked: as many disks have
 * left their old node as the record was written for, at the most (none where a merge goes on below
 * the active node). */
static bool merged_as_recorded(struct runner_fake *fake, const json_t *before)
{
    json_t *disks = json_object_get(fake->qemu->vm, "disks"), *node;
    const char *disk;
    size_t moved = 0;

    json_object_foreach(json_object_get(before, "disks"), disk, node)
        moved += !json_equal(node, json_object_get(disks, disk));
    return moved <= deeds_in_log(fake, "deed state-write");
}

/* Everything is as it was. */
static void check_undone(const struct sweep *sweep, struct runner_fake *fake)
{
    static const char *const members[] = {
        "status", "jobs", "capabilities", "parameters", "nodes", "disks",
    };
    json_t *before = vm_of(sweep->world);
    size_t n = sizeof(members) / sizeof(members[0]);

    if (fake->started && fake->next->fd >= 0)
        sweep_fail(sweep, fake, "the second QEMU is left");
    if (strcmp(state_str(sweep->plan, "operation"), "snapshot-delete") == 0 &&
        deeds_in_log(fake, "deed state-write") > 0) {
        if (!merged_as_recorded(fake, before))
            sweep_fail(sweep, fake, "disks are not where the record says");
        n = 4; /* all members but the graph */
    }
    for (size_t i = 0; i < n; i++)
        if (!json_equal(json_object_get(fake->qemu->vm, members[i]),
                        json_object_get(before, members[i])))
            sweep_fail(sweep, fake, members[i]);
    if (json_object_size(fake->files) > 0)
        sweep_fail(sweep, fake, "files are left");
    if (strcmp(state_str(fake->qemu->vm, "memory"), "present") != 0)
        sweep_fail(sweep, fake, "memory of another state");
    json_decref(before);
}

static bool sweep_in_place(const json_t *plan)
{
    return plan_has_step(plan, "drive-switch");
}

/* A fake host with the trouble that there is to be. */
static struct runner_fake *sweep_fake(const struct sweep *sweep)
{
    struct runner_fake *fake = runner_fake_new(vm_of(sweep->world));
    struct fake_qemu *where;

    if (sweep_in_place(sweep->plan)) {
        json_object_set_new(fake->qemu->vm, "in-place", json_true());
    } else if (strcmp(state_str(sweep->plan, "operation"), "snapshot-revert") == 0) {
        fake->next = fake_new(fake->base, vm_of(sweep->world));
        json_object_set_new(fake->next->vm, "status",
                            json_string(plan_has_step(sweep->plan, "migrate-incoming") ? "inmigrate"
                                                                                   : "prelaunch"));
    }
    where = sweep->next ? fake->next : fake->qemu;
    if (sweep->deed) {
        fake->deed_fails_at = sweep->at;
    } else {
        where->at = sweep->at;
        where->trouble = sweep->trouble;
    }
    return fake;
}

/* Runs once; returns how many commands, and deeds, there were. */
static size_t sweep_run(const struct sweep *sweep, size_t *deeds)
{
    struct runner_fake *fake = sweep_fake(sweep);
    bool cut = !sweep->deed && (sweep->trouble == FAKE_CUT_BEFORE ||
                                sweep->trouble == FAKE_CUT_AFTER);
    size_t n;

    runner_fake_run(fake, plan_for_fake(sweep->plan));
    cut = cut && (!sweep->next || fake->switched);  /* the second may go while the first is there */
    if (json_object_get(fake->qemu->vm, "torn") || json_object_get(fake->qemu->vm, "aborted"))
        sweep_fail(sweep, fake, "memory and disks do not belong together, or QEMU died");
    if (cut && fake->end != RUNNER_LOST)
        sweep_fail(sweep, fake, "was not lost");
    if (!cut && fake->end != RUNNER_DONE && fake->end != RUNNER_UNDONE)
        sweep_fail(sweep, fake, "neither done nor undone");
    if (fake->end == RUNNER_UNDONE)
        check_undone(sweep, fake);
    if (fake->end == RUNNER_DONE && !runner_committed(fake->runner))
        sweep_fail(sweep, fake, "done without a commit point");
    n = json_array_size(sweep->next ? fake->next->log : fake->qemu->log);
    *deeds = fake->deeds;
    runner_fake_free(fake);
    return n;
}

/* Behind one that carries a descriptor nothing is sent before it is answered (link.h), so that a
 * QEMU that never answers it is one that never answers. */
static bool with_descriptor(const json_t *plan, size_t at)
{
    json_t *step;
    size_t i, n = 0;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        if (json_object_get(step, "command") && n++ == at)
            return json_object_get(step, "fd") != NULL;
    return false;
}

static void sweep_commands(struct planner_world *world, const json_t *plan, bool next)
{
    struct sweep run = { .world = world, .plan = plan, .next = next };
    size_t unused, commands = sweep_run(&run, &unused);

    assert_true(commands > 0);
    for (run.trouble = FAKE_REFUSE; run.trouble < FAKE__COUNT; run.trouble++)
        for (run.at = 0; run.at < commands; run.at++)
            if (run.trouble != FAKE_SILENT || next || !with_descriptor(plan, run.at))
                sweep_run(&run, &unused);
}

static void sweep(struct planner_world *world, json_t *plan)
{
    struct sweep run = { .world = world, .plan = plan };
    size_t deeds, unused;

    sweep_commands(world, plan, false);
    if (strcmp(state_str(plan, "operation"), "snapshot-revert") == 0 && !sweep_in_place(plan))
        sweep_commands(world, plan, true);
    sweep_run(&run, &deeds);
    run.deed = true;
    for (run.at = 0; run.at < deeds; run.at++)
        sweep_run(&run, &unused);
    json_decref(plan);
}

static void create_is_done_or_undone(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    sweep(world, world_plan(world, planner_create, "{'name': 's1'}"));
    world_free(world);
}

static void create_without_memory_is_done_or_undone(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    sweep(world, world_plan(world, planner_create, "{'name': 's1', 'memory': 'none'}"));
    world_status_set(world, "paused");
    sweep(world, world_plan(world, planner_create, "{'name': 's1', 'memory': 'none'}"));
    world_free(world);
}

/* Once a disk has left the file that the record names, the guest must not go on before the record
 * says so. */
static void delete_is_done_or_undone(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_create(world, "s1");
    sweep(world, world_plan(world, planner_delete, "{'name': 's1'}"));
    world_create(world, "s2");
    sweep(world, world_plan(world, planner_delete, "{'name': 's1'}"));
    world_free(world);
}

static void revert_is_done_or_undone(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_create(world, "s1");
    sweep(world, world_plan(world, planner_revert, "{'name': 's1', 'discard': true}"));
    world_free(world);
}

static void reverts_to_a_vmstate_are_done_or_undone(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world->w.drives = json_text("{'/machine/peripheral-anon/device[0]': {'type': 'virtio-blk-device'},"
                                " '/machine/unattached/device[1]': {'type': 'ide-hd'}}");
    /* a client has left it on: QEMU's own saves and loads go by it */
    json_object_set_new(world->w.capabilities, "multifd", json_true());
    sweep(world, world_plan(world, planner_create, "{'name': 's1', 'memory': 'vmstate'}"));
    world_do(world, planner_create, "{'name': 's1', 'memory': 'vmstate'}");
    sweep(world, world_plan(world, planner_revert, "{'name': 's1', 'discard': true}"));
    sweep(world, world_plan(world, planner_revert,
                            "{'name': 's1', 'discard': true, 'method': 'respawn'}"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_is_done_or_undone),
        cmocka_unit_test(create_without_memory_is_done_or_undone),
        cmocka_unit_test(delete_is_done_or_undone),
        cmocka_unit_test(revert_is_done_or_undone),
        cmocka_unit_test(reverts_to_a_vmstate_are_done_or_undone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
