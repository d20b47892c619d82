/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_revert: a second QEMU beside the first, the switch, and what is refused before it. */
#include "tests/unit/planner_world.h"

#include <stdio.h>

#include "policy/reason.h"
#include "policy/state.h"

#define S1 "{'name': 's1', 'discard': true}"

/* A VM with the snapshots s1 and s2, in which both disks have moved on twice. */
static struct planner_world *world_with_two(enum planner_world_kind kind, const char *status)
{
    struct planner_world *world = world_make(kind, "running");

    world_create(world, "s1");
    world_create(world, "s2");
    world_status_set(world, status);
    return world;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in %s", part, text);
}

static void second_process_is_verified_before_the_first_ends(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_revert, S1);
    char *words = world_words(plan);

    (void)state;
    assert_steps(plan, "memory-check overlay-create* overlay-create* process-start* check-fit getfd "
                       "migrate-incoming loaded check-disks settings-carry clients-hold* stop* "
                       "check-next commit! process-end process-switch cont clients-release "
                       "state-write files-remove?");
    assert_string_equal(state_str(plan, "method"), "respawn");
    assert_string_equal(state_str(plan, "run-state"), "running");
    assert_has(words, "/i/a.vm-8.qcow2");
    assert_has(words, "/i/b.vm-9.qcow2");
    assert_has(words, "-S");
    assert_has(words, "-incoming defer");
    assert_json_is(json_object_get(plan_step(plan, "getfd", 0), "fd"),
                   "{'path': '/m/s1-1.mem', 'flags': 'read'}");
    assert_string_equal(state_str(plan_step(plan, "check-disks", 0), "on"), "next");
    assert_string_equal(state_str(plan_step(plan, "migrate-incoming", 0), "on"), "next");
    assert_string_equal(state_str(plan_step(plan, "stop", 0), "on"), "qemu");
    assert_json_is(json_object_get(plan_step(plan, "check-disks", 0), "expect"),
                   "{'is': 'chain', 'disks': ["
                   " {'device': 'd0', 'chain': ["
                   "   {'file': '/i/a.vm-8.qcow2', 'driver': 'qcow2'},"
                   "   {'file': '/i/a.qcow2', 'driver': 'qcow2'},"
                   "   {'file': '/i/gold.raw', 'driver': 'raw'}]},"
                   " {'device': 'd1', 'chain': ["
                   "   {'file': '/i/b.vm-9.qcow2', 'driver': 'qcow2'},"
                   "   {'file': '/i/b.raw', 'driver': 'raw'}]}]}");
    free(words);
    json_decref(plan);
    world_free(world);
}

static void until_the_commit_point_the_second_is_thrown_away(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_revert, S1);

    (void)state;
    assert_undo(plan, "overlay-create", "file-remove");
    assert_undo(plan, "process-start", "process-discard file-remove file-remove");
    assert_undo(plan, "check-disks", "process-discard file-remove file-remove");
    assert_undo(plan, "commit", "cont clients-release process-discard file-remove file-remove");
    json_decref(plan);
    world_free(world);
}

static void record_after_it_descends_from_the_snapshot(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_revert, S1);
    const json_t *after = json_object_get(plan, "after");

    (void)state;
    assert_string_equal(state_str(after, "current"), "s1");
    assert_string_equal(state_str(state_disk(after, "drive:d0"), "active"), "L8");
    assert_string_equal(state_str(state_layer(after, "L8"), "parent"), "L2");
    assert_string_equal(state_str(state_layer(after, "L9"), "parent"), "L4");
    /* the layers that were active are gone, those of s2 are not */
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"),
                                   "files"), "['/i/a.vm-6.qcow2', '/i/b.vm-7.qcow2']");
    assert_null(state_layer(after, "L6"));
    assert_non_null(state_layer(after, "L3"));
    assert_json(json_object_get(after, "snapshots"), json_object_get(world->state, "snapshots"));
    world_carry_out(world, plan);
    json_decref(plan);
    /* a branch grows, and the other one can be reverted to */
    world_create(world, "s3");
    assert_string_equal(state_str(state_snapshot(world->state, "s3"), "parent"), "s1");
    plan = world_plan(world, planner_revert, "{'name': 's2', 'discard': true}");
    assert_string_equal(state_str(state_layer(json_object_get(plan, "after"), "L12"), "parent"),
                        "L3");
    json_decref(plan);
    world_free(world);
}

static void run_state_is_the_saved_one_or_the_wanted_one(void **state)
{
    static const struct {
        const char *saved, *wanted, *target, *last;     /* last: what makes it so */
        bool loads;
    } rows[] = {
        { "running", NULL, "running", "cont", true },
        { "running", "as-saved", "running", "cont", true },
        { "running", "paused", "paused", NULL, true },
        { "running", "prelaunch", "prelaunch", NULL, false },
        { "paused", "as-saved", "paused", NULL, true },
        { "paused", "running", "running", "cont", true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct planner_world *world = world_with_two(WORLD_DRIVES, "paused");
        json_t *snapshot = state_snapshot(world->state, "s1"), *plan;
        char request[128], steps[512];

        json_object_set_new(snapshot, "run-state", json_string(rows[i].saved));
        snprintf(request, sizeof(request), "{'name': 's1', 'discard': true, 'state': '%s'}",
                 rows[i].wanted ? rows[i].wanted : "as-saved");
        plan = world_plan(world, planner_revert, rows[i].wanted ? request : S1);
        assert_string_equal(state_str(plan, "run-state"), rows[i].target);
        snprintf(steps, sizeof(steps), "%soverlay-create* overlay-create* process-start* %s "
                 "check-disks settings-carry clients-hold* check-next commit! process-end "
                 "process-switch %s%sclients-release state-write files-remove?", rows[i].loads ? "memory-check " : "",
                 rows[i].loads ? "check-fit getfd migrate-incoming loaded" : "started",
                 rows[i].last ? rows[i].last : "", rows[i].last ? " " : "");
        assert_steps(plan, steps);
        json_decref(plan);
        world_free(world);
    }
}

static void snapshot_without_memory_boots_on_its_disks(void **state)
{
    struct planner_world *world = world_make(WORLD_NODES, "running");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'memory': 'none'}");
    char *words;

    (void)state;
    world_carry_out(world, plan);
    json_decref(plan);
    plan = world_plan(world, planner_revert, S1);
    assert_steps(plan, "overlay-create* overlay-create* process-start* started check-disks "
                       "settings-carry clients-hold* stop* check-next commit! process-end "
                       "process-switch cont clients-release state-write files-remove?");
    words = world_words(plan);
    assert_has(words, "-S");
    assert_null(strstr(words, "-incoming"));
    assert_has(words, "/i/a.vm-6.qcow2");
    free(words);
    json_decref(plan);
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true, 'state': 'paused'}");
    assert_string_equal(state_str(plan, "run-state"), "prelaunch");
    json_decref(plan);
    world_free(world);
}

static void later_qemus_activate_their_images_by_hand(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");
    json_t *plan;

    (void)state;
    world->w.version[0] = 10;
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true, 'state': 'paused'}");
    assert_steps(plan, "memory-check overlay-create* overlay-create* process-start* check-fit getfd "
                       "migrate-incoming loaded check-disks settings-carry clients-hold* stop* "
                       "check-next commit! process-end process-switch activate? clients-release state-write "
                       "files-remove?");
    json_decref(plan);
    world_free(world);
}

/* What two processes cannot hold at once is bound when the first one has ended. */
static void exclusive_resources_are_bound_late(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    const json_t *args;
    json_t *plan;
    char *words;

    (void)state;
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2 "
                      "-drive file=/i/b.raw,if=ide,id=d1,format=raw "
                      "-netdev user,id=n0,hostfwd=tcp::2222-:22 -device virtio-serial "
                      "-chardev socket,id=c,path=/s,server=on -device virtserialport,chardev=c");
    world_create(world, "s1");
    plan = world_plan(world, planner_revert, S1);
    assert_steps(plan, "memory-check overlay-create* overlay-create* process-start* check-fit getfd "
                       "migrate-incoming loaded check-disks settings-carry clients-hold* stop* "
                       "check-next commit! process-end process-switch bind? socket-move? cont clients-release "
                       "state-write files-remove?");
    words = world_words(plan);
    args = json_object_get(plan_step(plan, "socket-move", 0), "args");
    assert_string_equal(state_str(args, "to"), "/s");
    assert_has(state_str(args, "from"), "/late-");
    assert_has(words, state_str(args, "from"));
    assert_null(strstr(words, "path=/s"));
    free(words);
    json_decref(plan);
    world_free(world);
}

/* d1 is not part of the snapshot: it stays on its layers. */
static void disk_that_is_not_covered_stays(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan;

    (void)state;
    plan = world_plan(world, planner_create, "{'name': 's1', 'disks': ['d0']}");
    world_carry_out(world, plan);
    json_decref(plan);
    world_create(world, "s2");
    plan = world_plan(world, planner_revert, S1);
    assert_json_is(step_arguments(plan_step(plan, "load-capabilities", 0)),
                   "{'capabilities': [{'capability': 'late-block-activate', 'state': true}]}");
    assert_string_equal(state_str(state_disk(json_object_get(plan, "after"), "drive:d1"),
                                  "active"),
                        state_str(state_disk(world->state, "drive:d1"), "active"));
    json_decref(plan);
    world_refuse(world, planner_revert, "{'name': 's1', 'discard': true, 'state': 'prelaunch'}",
                 REASON_NEEDS_REPLACE);
    plan = world_plan(world, planner_create, "{'name': 's3', 'disks': []}");
    world_carry_out(world, plan);
    json_decref(plan);
    world_refuse(world, planner_revert, "{'name': 's3', 'discard': true}", REASON_IMAGE_CHANGED);
    world_free(world);
}

static void requests_that_cannot_be_met_are_refused(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");
    json_t *snapshot = state_snapshot(world->state, "s1");

    (void)state;
    world_refuse(world, planner_revert, "{'name': 's9', 'discard': true}",
                 REASON_UNKNOWN_SNAPSHOT);
    world_refuse(world, planner_revert, "{'name': 's1'}", REASON_UNSAVED_STATE);
    world_refuse(world, planner_revert, "{'name': 's1', 'discard': false}", REASON_UNSAVED_STATE);
    json_decref(world_plan(world, planner_revert, "{'name': 's1', 'save-as': 's3'}"));
    world_refuse(world, planner_revert, "{'name': 's1', 'discard': true, 'method': 'in-place'}",
                 REASON_METHOD_UNAVAILABLE);
    world_refuse(world, planner_revert, "{'name': 's1', 'discard': true, 'method': 'standby'}",
                 REASON_METHOD_UNAVAILABLE);
    json_object_set_new(snapshot, "deleting", json_true());
    world_refuse(world, planner_revert, S1, REASON_DELETING);
    json_object_del(snapshot, "deleting");
    json_object_set_new(snapshot, "config", json_text("[{'execute': 'device_add'}]"));
    world_refuse(world, planner_revert, S1, REASON_CONFIGURATION_CHANGED);
    json_object_set_new(snapshot, "config", json_array());
    json_object_set_new(snapshot, "args", json_array());
    world_refuse(world, planner_revert, S1, REASON_METHOD_UNAVAILABLE);
    world_args(world, NULL);
    world_refuse(world, planner_revert, "{'name': 's2', 'discard': true}",
                 REASON_METHOD_UNAVAILABLE);
    world_free(world);
}

static void changed_world_is_refused(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");
    json_t *file;

    (void)state;
    json_array_append_new(world->w.jobs, json_text("{'id': 'b0', 'type': 'backup'}"));
    world_refuse(world, planner_revert, S1, REASON_JOB_RUNNING);
    json_array_clear(world->w.jobs);
    world_room(world, "/i", 1, true);
    world_refuse(world, planner_revert, S1, REASON_NO_SPACE);
    world_room(world, "/i", 1LL << 40, true);
    file = json_object_get(world->w.files, "/i/a.qcow2");
    json_object_set_new(file, "bad", json_string("it is damaged"));
    json_object_set_new(json_object_get(world->w.files, "/i/a.vm-3.qcow2"), "backing",
                        json_string("/i/other.qcow2"));
    world_refuse(world, planner_revert, "{'name': 's2', 'discard': true}", REASON_CHAIN_MISMATCH);
    json_object_set_new(json_object_get(world->w.files, "/i/a.vm-3.qcow2"), "bad",
                        json_string("it is damaged"));
    world_refuse(world, planner_revert, "{'name': 's2', 'discard': true}", REASON_BAD_IMAGE);
    world_file_remove(world, "/i/a.qcow2");
    world_refuse(world, planner_revert, S1, REASON_IMAGE_CHANGED);
    world_free(world);
}

/* Frozen layers off the running chain are looked at when they are reverted to. */
static void changed_layer_of_another_branch_is_refused(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_revert, S1), *file;

    (void)state;
    world_carry_out(world, plan);
    json_decref(plan);
    file = json_deep_copy(json_object_get(world->w.files, "/i/b.vm-5.qcow2"));
    json_object_set_new(file, "mtime", json_string("9.9"));
    json_object_set_new(world->w.files, "/i/b.vm-5.qcow2", file);
    world_refuse(world, planner_revert, "{'name': 's2', 'discard': true}", REASON_IMAGE_CHANGED);
    json_decref(world_plan(world, planner_revert, S1));
    world_file_remove(world, "/i/b.vm-5.qcow2");
    world_refuse(world, planner_revert, "{'name': 's2', 'discard': true}", REASON_IMAGE_CHANGED);
    world_free(world);
}

/* The command line names it still, and a start with that has to find the disk. */
static void disk_keeps_the_image_that_a_client_has_streamed_away(void **state)
{
    struct planner_world *world = world_with(WORLD_DRIVES, 2);
    json_t *chain = json_object_get(json_array_get(world->vm, 0), "chain"), *plan, *file;
    json_t *id = json_object_get(json_object_get(state_snapshot(world->state, "s2"), "disks"), "drive:d0");
    json_t *layer = state_layer(world->state, json_string_value(id));

    (void)state;
    json_object_set_new(layer, "parent", json_null());
    file = json_object_get(world->w.files, state_str(layer, "real"));
    json_object_del(file, "backing");
    json_object_del(file, "backing-format");
    while (json_array_size(chain) > 2)
        json_array_remove(chain, 2);
    world_graph(world);
    plan = world_plan(world, planner_revert, "{'name': 's2', 'discard': true}");
    assert_string_equal(state_str(state_disk(json_object_get(plan, "after"), "drive:d0"), "base"),
                        state_str(state_disk(world->state, "drive:d0"), "base"));
    json_decref(plan);
    world_free(world);
}

static bool accepts(const json_t *step, const char *status)
{
    return state_list_has(json_object_get(json_object_get(step, "expect"), "in"), status);
}

/* Its disk may fail before it is stopped, or when it goes on: that leaves nothing to be stuck for. */
static void guest_that_stops_by_itself_is_taken_back(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");
    json_t *plan = world_plan(world, planner_revert, S1);
    const json_t *undo = json_array_get(json_object_get(plan_step(plan, "stop", 0), "undo"), 0);

    (void)state;
    assert_string_equal(state_str(undo, "step"), "cont");
    assert_true(accepts(undo, "running"));
    assert_true(accepts(undo, "io-error"));
    assert_false(accepts(undo, "paused"));
    assert_false(accepts(plan_step(plan, "stop", 0), "io-error"));
    assert_false(accepts(plan_step(plan, "cont", 0), "io-error"));
    json_decref(plan);
    world_free(world);
}

/* What runs then is the snapshot's command line, whatever the proxy was given. */
static void record_says_which_command_line_runs(void **state)
{
    struct planner_world *world = world_with_two(WORLD_DRIVES, "running");

    (void)state;
    assert_null(json_object_get(world->state, "args"));
    world_args(world, "-m 64 -drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2 "
                      "-drive file=/i/b.raw,if=ide,id=d1,format=raw");
    world_do(world, planner_revert, S1);
    assert_json(json_object_get(world->state, "args"),
                json_object_get(state_snapshot(world->state, "s1"), "args"));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_process_is_verified_before_the_first_ends),
        cmocka_unit_test(until_the_commit_point_the_second_is_thrown_away),
        cmocka_unit_test(record_after_it_descends_from_the_snapshot),
        cmocka_unit_test(run_state_is_the_saved_one_or_the_wanted_one),
        cmocka_unit_test(snapshot_without_memory_boots_on_its_disks),
        cmocka_unit_test(later_qemus_activate_their_images_by_hand),
        cmocka_unit_test(exclusive_resources_are_bound_late),
        cmocka_unit_test(disk_that_is_not_covered_stays),
        cmocka_unit_test(requests_that_cannot_be_met_are_refused),
        cmocka_unit_test(changed_world_is_refused),
        cmocka_unit_test(changed_layer_of_another_branch_is_refused),
        cmocka_unit_test(disk_keeps_the_image_that_a_client_has_streamed_away),
        cmocka_unit_test(guest_that_stops_by_itself_is_taken_back),
        cmocka_unit_test(record_says_which_command_line_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
