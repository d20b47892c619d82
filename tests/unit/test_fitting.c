/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fitting: the record that describes the images, whenever a plan breaks off. */
#include "tests/unit/planner_world.h"

#include "policy/fitting.h"
#include "policy/overlay.h"
#include "policy/state.h"

/* The first disk only, s1 - ... - sN without memory; back: the guest is on s1 again. */
static struct planner_world *world_one(int n, const char *back)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    char request[] = "{'name': 's1', 'memory': 'none'}";

    json_array_remove(world->vm, 1);
    world_graph(world);
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2");
    for (; n > 0; n--) {
        world_do(world, planner_create, request);
        request[11]++;
    }
    if (back)
        world_do(world, planner_revert, back);
    return world;
}

/* The chain that the process has open, as real paths from the active one on. */
static bool runs(void *arg, const json_t *record)
{
    const json_t *open = arg;
    json_t *chain = state_chain(record, state_str(state_disk(record, "drive:d0"), "active"), true);
    bool same = json_array_size(chain) == json_array_size(open);

    for (size_t i = 0; same && i < json_array_size(chain); i++)
        same = strcmp(json_string_value(json_array_get(chain, i)),
                      json_string_value(json_array_get(open, i))) == 0;
    json_decref(chain);
    return same;
}

/* new: the chain open at the moment, as ids. */
static json_t *open_now(const struct planner_world *world)
{
    return state_chain(world->state, state_str(state_disk(world->state, "drive:d0"), "active"), true);
}

/* The nth record that the plan writes on its way. */
static const json_t *written(const json_t *plan, const char *step, size_t nth)
{
    return json_object_get(json_object_get(plan_step(plan, step, nth), "args"), "state");
}

static void assert_fits(struct planner_world *world, const json_t *plan, json_t *open,
                        const json_t *want)
{
    const json_t *found = fitting_record(&world->w, plan, world->state, runs, open);

    if (found && want)
        assert_json(found, want);
    assert_int_equal(found != NULL, want != NULL);
}

static void nothing_has_moved_yet(void **state)
{
    struct planner_world *world = world_one(3, NULL);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2'}"), *open = open_now(world);

    (void)state;
    assert_ptr_equal(fitting_record(&world->w, plan, world->state, runs, open), world->state);
    json_decref(open);
    json_decref(plan);
    world_free(world);
}

/* L4 went down into L3, and L5's header follows; QEMU may be one ahead of it. */
static void commit_in_the_middle_is_told_by_chain_and_header(void **state)
{
    struct planner_world *world = world_one(3, NULL);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'commit'}");
    json_t *open = open_now(world), *after = json_text("['L5', 'L3', 'L2', 'L1']");

    (void)state;
    world_header(world, "L5", "L3");
    assert_fits(world, plan, after, written(plan, "state-write", 0));
    assert_fits(world, plan, open, NULL);
    world_header(world, "L5", "L4");
    assert_fits(world, plan, open, world->state);
    assert_fits(world, plan, after, NULL);      /* the header is not on the disk */
    json_decref(open);
    json_decref(after);
    json_decref(plan);
    world_free(world);
}

static void stream_is_told_by_chain_and_header(void **state)
{
    struct planner_world *world = world_one(3, NULL);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");
    json_t *after = json_text("['L5', 'L4', 'L2', 'L1']");

    (void)state;
    world_header(world, "L4", "L2");
    assert_fits(world, plan, after, written(plan, "state-write", 0));
    world_header(world, "L4", "L3");
    assert_fits(world, plan, after, NULL);
    json_decref(after);
    json_decref(plan);
    world_free(world);
}

static void active_commit_is_told_by_the_chain(void **state)
{
    struct planner_world *world = world_one(2, NULL);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'commit'}");
    json_t *after = json_text("['L3', 'L2', 'L1']");

    (void)state;
    assert_fits(world, plan, after, written(plan, "state-write", 0));
    json_decref(after);
    json_decref(plan);
    world_free(world);
}

/* The record goes first: where the disk has not moved, the one before it is right. */
static void active_commit_that_did_not_come_is_told_by_the_chain(void **state)
{
    struct planner_world *world = world_one(2, NULL);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'commit'}");
    json_t *open = open_now(world), *early = json_deep_copy(written(plan, "state-write", 0));

    (void)state;
    json_decref(world->state);
    world->state = early;
    assert_fits(world, plan, open, written(plan, "snapshot-mark", 0));
    json_array_remove(open, 0);
    assert_fits(world, plan, open, early);
    json_decref(open);
    json_decref(plan);
    world_free(world);
}

/* No running chain tells of a side branch: only the header does. */
static void side_stream_is_told_by_the_header(void **state)
{
    struct planner_world *world = world_one(3, "{'name': 's1', 'discard': true}");
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");
    json_t *open = open_now(world);

    (void)state;
    assert_fits(world, plan, open, world->state);
    world_header(world, "L4", "L2");
    assert_fits(world, plan, open, written(plan, "state-write", 0));
    world_header(world, "L4", "L1");
    assert_fits(world, plan, open, NULL);
    json_decref(open);
    json_decref(plan);
    world_free(world);
}

/* Both files hold the same: the record before it is right, and its files stay. */
static void side_commit_leaves_the_record_before_it(void **state)
{
    struct planner_world *world = world_one(3, "{'name': 's1', 'discard': true}");
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'commit'}");
    json_t *open = open_now(world);

    (void)state;
    assert_non_null(plan_step(plan, "block-commit", 0));
    assert_ptr_equal(fitting_record(&world->w, plan, world->state, runs, open), world->state);
    json_decref(open);
    json_decref(plan);
    world_free(world);
}

/* s1's image takes s2's layer, whose other child's header follows in a step of its own. */
static void header_rewrite_is_told_by_the_header(void **state)
{
    struct planner_world *world = world_one(3, "{'name': 's2', 'discard': true}");
    json_t *plan = world_plan(world, planner_delete, "{'name': 's1'}"), *open = open_now(world);
    json_t *after = json_deep_copy(open);
    const char *active = json_string_value(json_array_get(open, 0));

    (void)state;
    assert_non_null(plan_step(plan, "header-rewrite", 0));
    assert_fits(world, plan, open, world->state);
    json_array_remove(after, 1);
    assert_fits(world, plan, after, NULL);
    world_header(world, active, "L2");
    assert_fits(world, plan, after, written(plan, "state-write", 0));
    world_header(world, "L4", "L2");
    assert_fits(world, plan, after, written(plan, "state-write", 1));
    world_header(world, active, "L3");
    assert_fits(world, plan, after, NULL);
    json_decref(open);
    json_decref(after);
    json_decref(plan);
    world_free(world);
}

static void header_that_cannot_be_read_fits_nothing(void **state)
{
    struct planner_world *world = world_one(3, NULL);
    json_t *plan = world_plan(world, planner_delete, "{'name': 's2', 'direction': 'stream'}");
    json_t *open = open_now(world);

    (void)state;
    json_object_set_new(json_object_get(world->w.files, "/i/a.vm-4.qcow2"), "bad",
                        json_string("it is damaged"));
    assert_fits(world, plan, open, NULL);
    json_decref(open);
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_has_moved_yet),
        cmocka_unit_test(commit_in_the_middle_is_told_by_chain_and_header),
        cmocka_unit_test(stream_is_told_by_chain_and_header),
        cmocka_unit_test(active_commit_is_told_by_the_chain),
        cmocka_unit_test(active_commit_that_did_not_come_is_told_by_the_chain),
        cmocka_unit_test(side_stream_is_told_by_the_header),
        cmocka_unit_test(side_commit_leaves_the_record_before_it),
        cmocka_unit_test(header_rewrite_is_told_by_the_header),
        cmocka_unit_test(header_that_cannot_be_read_fits_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
