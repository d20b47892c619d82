/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_recover: what settles an operation that was interrupted while QEMU ran on. */
#include "tests/unit/planner_world.h"

#include "policy/overlay.h"
#include "policy/reason.h"
#include "policy/state.h"

/* The first disk only, s1 - s2 - s3 without memory; the guest is on s1 again when `back`. */
static struct planner_world *world_one(bool back)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    char request[] = "{'name': 's1', 'memory': 'none'}";

    json_array_remove(world->vm, 1);
    world_graph(world);
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2");
    for (; request[11] <= '3'; request[11]++)
        world_do(world, planner_create, request);
    if (back)
        world_do(world, planner_revert, "{'name': 's1', 'discard': true}");
    return world;
}

/* new: the plan that settles it; well-formed, and the same when it is made again. */
static json_t *recover(struct planner_world *world, const json_t *plan, bool committed)
{
    json_t *journal = json_pack("{s:O, s:b}", "plan", plan, "committed", committed);
    struct err err = ERR_INIT;
    json_t *recovery = planner_recover(&world->w, world->state, journal, &err);
    json_t *again = planner_recover(&world->w, world->state, journal, &err);

    assert_non_null(recovery);
    assert_json(again, recovery);
    assert_true(json_is_true(json_object_get(recovery, "forward-only")));
    json_decref(again);
    json_decref(journal);
    return recovery;
}

static const json_t *record_of(const json_t *plan, const char *step)
{
    return json_object_get(json_object_get(plan_step(plan, step, 0), "args"), "state");
}

/* The record is the one that the mark has left: on the disk before anything moves. */
static void marked(struct planner_world *world, const json_t *plan)
{
    const json_t *now = record_of(plan, "snapshot-mark");

    json_decref(world->state);
    world->state = json_deep_copy(now);
}

/* Until they are gone they may move a disk yet: nothing is decided before. */
static void jobs_are_ended_and_then_the_guest_goes_on(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's3'}"), *recovery;

    (void)state;
    marked(world, plan);
    json_array_append_new(world->w.jobs, json_text("{'id': 'qsnap-commit-L5', 'type': 'commit'}"));
    json_array_append_new(world->w.jobs, json_text("{'id': 'b0', 'type': 'backup'}"));
    world_status_set(world, "paused");
    recovery = recover(world, plan, false);
    assert_steps(recovery, "cancel-commit job-dismiss?");
    assert_json_is(step_arguments(plan_step(recovery, "cancel-commit", 0)),
                   "{'device': 'qsnap-commit-L5', 'force': true}");
    assert_true(json_is_true(json_object_get(recovery, "again")));
    json_decref(recovery);
    json_array_remove(world->w.jobs, 0);
    recovery = recover(world, plan, false);
    assert_null(json_object_get(recovery, "again"));
    assert_steps(recovery, "cont blockdev-del? files-remove?");
    /* nothing was merged, so nothing goes */
    assert_json_is(json_object_get(json_object_get(plan_step(recovery, "files-remove", 0), "args"),
                                   "files"), "[]");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* A guest that was paused before stays so. */
static void paused_guest_stays_paused(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan, *recovery;

    (void)state;
    world_status_set(world, "paused");
    plan = world_plan(world, planner_delete, "{'name': 's3'}");
    recovery = recover(world, plan, false);
    assert_steps(recovery, "blockdev-del? files-remove?");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* QEMU was told to end the merge, and the record does not say so yet. */
static void record_follows_what_has_moved(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");
    json_t *recovery;

    (void)state;
    marked(world, plan);
    world_header(world, "L4", "L2");
    json_array_remove(json_object_get(json_array_get(world->vm, 0), "chain"), 2);
    world_graph(world);
    recovery = recover(world, plan, false);
    assert_steps(recovery, "state-write files-remove?");
    assert_json(record_of(recovery, "state-write"), record_of(plan, "state-write"));
    assert_json_is(json_object_get(json_object_get(plan_step(recovery, "files-remove", 0), "args"),
                                   "files"), "['/i/a.vm-3.qcow2']");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* Neither record describes the chain: nothing is done, and above all nothing removed; the journal is
 * kept, since it may tell when the image or the disk is back. */
static void what_fits_nothing_is_left_alone(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");
    json_t *journal = json_pack("{s:O, s:b}", "plan", plan, "committed", 0);
    struct err err = ERR_INIT;

    (void)state;
    marked(world, plan);
    json_array_remove(json_object_get(json_array_get(world->vm, 0), "chain"), 1);
    world_graph(world);
    world_status_set(world, "paused");
    assert_null(planner_recover(&world->w, world->state, journal, &err));
    assert_string_equal(err.reason, REASON_CHAIN_MISMATCH);
    err_clear(&err);
    json_decref(journal);
    json_decref(plan);
    world_free(world);
}

/* What a merge on a side branch had opened; given with the lowest first, or last. */
static void open_branch(struct planner_world *world, bool lowest_first)
{
    json_t *low = json_text("{'chain': [{'node': 'qsnap-side-L3', 'drv': 'qcow2',"
                            " 'file': '/i/a.vm-3.qcow2', 'below': '#block-L2'}]}");
    json_t *high = json_text("{'chain': [{'node': 'qsnap-side-L4', 'drv': 'qcow2',"
                             " 'file': '/i/a.vm-4.qcow2', 'below': 'qsnap-side-L3'}]}");

    json_array_append_new(world->vm, lowest_first ? low : high);
    json_array_append_new(world->vm, lowest_first ? high : low);
    world_graph(world);
}

static void branch_is_closed_from_the_top_down(void **state)
{
    (void)state;
    for (int lowest_first = 0; lowest_first < 2; lowest_first++) {
        struct planner_world *world = world_one(true);
        json_t *plan = world_plan(world, planner_delete,
                                  "{'name': 's2', 'direction': 'stream'}"), *recovery;

        marked(world, plan);
        open_branch(world, lowest_first);
        recovery = recover(world, plan, false);
        assert_steps(recovery, "blockdev-del? blockdev-del? files-remove?");
        assert_json_is(step_arguments(plan_step(recovery, "blockdev-del", 0)),
                       "{'node-name': 'qsnap-side-L4'}");
        assert_json_is(step_arguments(plan_step(recovery, "blockdev-del", 1)),
                       "{'node-name': 'qsnap-side-L3'}");
        assert_json_is(json_object_get(json_object_get(plan_step(recovery, "files-remove", 0),
                                                       "args"), "files"), "[]");
        json_decref(recovery);
        world_header(world, "L4", "L2");          /* the stream had ended */
        recovery = recover(world, plan, false);
        assert_steps(recovery, "blockdev-del? blockdev-del? state-write files-remove?");
        assert_json(record_of(recovery, "state-write"), record_of(plan, "state-write"));
        assert_json_is(json_object_get(json_object_get(plan_step(recovery, "files-remove", 0),
                                                       "args"), "files"), "['/i/a.vm-3.qcow2']");
        json_decref(recovery);
        json_decref(plan);
        world_free(world);
    }
}

/* The snapshot is marked still: the same request, after such a recovery, ends what was begun. */
static void delete_that_was_interrupted_can_be_done_again(void **state)
{
    struct planner_world *world = world_one(true);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");

    (void)state;
    marked(world, plan);
    world_header(world, "L4", "L2");
    json_decref(world->state);
    world->state = json_deep_copy(record_of(plan, "state-write"));
    json_decref(plan);
    plan = world_plan(world, planner_delete, "{'name': 's2'}");
    /* The recovery has removed the file, and taken no fingerprint of the one above. */
    assert_steps(plan, "layers-freeze state-write!");
    json_decref(plan);
    world_free(world);
}

/* What was committed is a copy that s3's layer stands on still.  Its header is not QEMU's business, so
 * that even a QEMU that has let go of its images is not in the way. */
static void copy_that_was_left_is_passed_over_later(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan;

    (void)state;
    world_do(world, planner_revert, "{'name': 's2', 'discard': true}");
    plan = world_plan(world, planner_delete, "{'name': 's1'}");
    json_object_set_new(plan, "after", json_deep_copy(record_of(plan, "state-write")));
    json_array_clear(json_object_get(plan, "steps"));
    world_carry_out(world, plan);
    json_decref(plan);
    assert_true(json_is_true(json_object_get(state_layer(world->state, "L3"), "copied")));
    world_status_set(world, "postmigrate");
    plan = world_plan(world, planner_delete, "{'name': 's1'}");
    assert_steps(plan, "snapshot-mark* header-rewrite header-check state-write check-disks "
                       "layers-freeze state-write! files-remove?");
    json_decref(plan);
    world_free(world);
}

static void what_is_decided_is_finished(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's3'}"), *recovery;

    (void)state;
    recovery = recover(world, plan, true);
    assert_steps(recovery, "blockdev-del? files-remove?");
    assert_json(json_object_get(recovery, "after"), json_object_get(plan, "after"));
    assert_json_is(json_object_get(recovery, "deleted"), "['s3']");
    json_decref(recovery);
    json_decref(world->state);      /* the record is there, the journal does not know it */
    world->state = json_deep_copy(json_object_get(plan, "after"));
    recovery = recover(world, plan, false);
    assert_steps(recovery, "blockdev-del? files-remove?");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* The overlays are there and none is in use: all is taken back. */
static void create_that_has_not_moved_the_disks_is_taken_back(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_create, "{'name': 's4'}"), *recovery;

    (void)state;
    json_array_append_new(world->vm, json_text("{'chain': [{'node': 'qsnap-6', 'drv': 'qcow2',"
                                               " 'file': '/i/a.vm-6.qcow2'}]}"));
    world_graph(world);
    world_status_set(world, "paused");
    recovery = recover(world, plan, false);
    assert_steps(recovery, "migrate-cancel? cont blockdev-del file-remove closefd? "
                           "migrate-parameters-restore file-remove");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* The guest writes to the overlay: it stays, on record, without the snapshot. */
static void overlay_that_the_guest_is_on_is_adopted(void **state)
{
    struct planner_world *world = world_one(false);
    json_t *plan = world_plan(world, planner_create, "{'name': 's4'}"), *recovery;
    const json_t *record;

    (void)state;
    json_array_insert_new(json_object_get(json_array_get(world->vm, 0), "chain"), 0,
                          json_text("{'node': 'qsnap-6', 'drv': 'qcow2',"
                                    " 'file': '/i/a.vm-6.qcow2'}"));
    world_graph(world);
    recovery = recover(world, plan, false);
    record = record_of(recovery, "state-write");
    assert_null(state_snapshot(record, "s4"));
    assert_string_equal(state_str(record, "current"), "s3");
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "active"), "L6");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* What the journal says already needs no room: the guest does not wait for the record. */
static void guest_that_was_stopped_goes_on_before_the_record(void **state)
{
    static const char *const steps[] = { "state-write files-remove? cont", "cont state-write files-remove?" };

    (void)state;
    for (int adopt = 0; adopt < 2; adopt++) {
        struct planner_world *world = world_one(false);
        json_t *plan = world_plan(world, planner_create, "{'name': 's4', 'memory': 'none'}"), *recovery;

        json_array_insert_new(json_object_get(json_array_get(world->vm, 0), "chain"), 0,
                              json_text("{'node': 'qsnap-6', 'drv': 'qcow2',"
                                        " 'file': '/i/a.vm-6.qcow2'}"));
        json_object_set_new(plan, "adopt", json_boolean(adopt));
        world_status_set(world, "paused");
        world_graph(world);
        recovery = recover(world, plan, false);
        assert_steps(recovery, steps[adopt]);
        json_decref(recovery);
        json_decref(plan);
        world_free(world);
    }
}

/* A create that is being taken back: one disk has gone back already. */
static void disk_that_has_gone_back_is_recorded_so(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "paused");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'memory': 'none'}"), *recovery;
    const json_t *record, *base;

    (void)state;
    /* Taken before the merge back wrote to it. */
    json_object_set_new(state_layer(json_object_get(plan, "after"), "L4"), "print", json_object());
    json_array_insert_new(json_object_get(json_array_get(world->vm, 1), "chain"), 0,
                          json_text("{'node': 'qsnap-5', 'drv': 'qcow2',"
                                    " 'file': '/i/b.vm-5.qcow2'}"));
    world_graph(world);
    recovery = recover(world, plan, false);
    record = record_of(recovery, "state-write");
    base = state_layer(record, "L2");
    assert_string_equal(state_str(state_disk(record, "drive:d0"), "active"), "L2");
    assert_string_equal(state_str(state_disk(record, "drive:d1"), "active"), "L5");
    assert_null(state_layer(record, "L3"));
    assert_null(json_object_get(base, "print"));
    assert_null(json_object_get(state_layer(record, "L4"), "print"));
    assert_json_is(json_object_get(json_object_get(plan_step(recovery, "files-remove", 0), "args"),
                                   "files"), "['/i/a.vm-3.qcow2']");
    json_decref(recovery);
    json_decref(plan);
    world_free(world);
}

/* The journal has to be readable: of what others left only as much is merged as its records may hold. */
static void journal_of_many_merges_stays_small(void **state)
{
    struct planner_world *world = world_one(false);
    size_t len = 9 << 20;
    char *text = malloc(len + 1);
    json_t *plan;

    (void)state;
    assert_non_null(text);
    world_do(world, planner_delete, "{'name': 's1', 'metadata-only': true}");
    world_do(world, planner_delete, "{'name': 's2', 'metadata-only': true}");
    plan = world_plan(world, planner_delete, "{'name': 's3', 'direction': 'commit'}");
    assert_non_null(plan_step(plan, "block-commit", 2));
    json_decref(plan);
    memset(text, 'x', len);
    text[len] = '\0';
    json_object_set_new(state_layer(world->state, "L2"), "note", json_string(text));
    free(text);
    plan = world_plan(world, planner_delete, "{'name': 's3', 'direction': 'commit'}");
    assert_steps(plan, "snapshot-mark* block-commit* files-sync flush job-finalize job-dismiss header-check "
                       "check-disk state-write block-commit* files-sync stop* job-complete state-write* "
                       "job-finalize job-dismiss check-disk cont check-disks layers-freeze state-write! blockdev-del? "
                       "blockdev-del? files-remove?");
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_ended_and_then_the_guest_goes_on),
        cmocka_unit_test(paused_guest_stays_paused),
        cmocka_unit_test(record_follows_what_has_moved),
        cmocka_unit_test(what_fits_nothing_is_left_alone),
        cmocka_unit_test(branch_is_closed_from_the_top_down),
        cmocka_unit_test(delete_that_was_interrupted_can_be_done_again),
        cmocka_unit_test(copy_that_was_left_is_passed_over_later),
        cmocka_unit_test(what_is_decided_is_finished),
        cmocka_unit_test(create_that_has_not_moved_the_disks_is_taken_back),
        cmocka_unit_test(overlay_that_the_guest_is_on_is_adopted),
        cmocka_unit_test(guest_that_was_stopped_goes_on_before_the_record),
        cmocka_unit_test(disk_that_has_gone_back_is_recorded_so),
        cmocka_unit_test(journal_of_many_merges_stays_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
