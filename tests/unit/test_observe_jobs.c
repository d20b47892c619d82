/* SPDX-License-Identifier: GPL-2.0-or-later */
/* observe: what clients' block jobs make of the record, and what is left alone. */
#include "tests/unit/observe_world.h"

#include <stdio.h>

#include "policy/observe.h"
#include "policy/state.h"

/* s1, s2, s3 on L2, L3, ..; the paths of d0's chain, the active one first. */
static struct planner_world *three(void)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    world_create(world, "s1");
    world_create(world, "s2");
    world_create(world, "s3");
    return world;
}

static const char *path_of(struct planner_world *world, size_t place)
{
    return state_str(json_array_get(chain_of(world, 0), place), "file");
}

static void stream_into_the_middle_changes_no_snapshot(void **state)
{
    struct planner_world *world = three();
    char upper[64], base[64];
    const char *id;

    (void)state;
    snprintf(upper, sizeof(upper), "%s", path_of(world, 1));
    snprintf(base, sizeof(base), "%s", path_of(world, 3));
    take_out(world, 0, 2, 1);
    written(world, upper);
    assert_null(observe(&world->w, world->state, NULL)); /* the header says otherwise */
    lead(world, upper, base, "a.qcow2", "qcow2");
    look(world, NULL);
    id = state_str(json_object_get(snapshot_of(world, "s3"), "disks"), "drive:d0");
    assert_string_equal(state_str(state_layer(world->state, id), "parent"), "L2");
    assert_string_equal(state_str(state_layer(world->state, id), "backing"), "a.qcow2");
    assert_string_equal(state_str(json_object_get(state_layer(world->state, id), "print"), "mtime"),
                        "9.9");
    assert_false(damaged(world, "s1") || damaged(world, "s2") || damaged(world, "s3"));
    world_free(world);
}

static void stream_of_everything_leaves_a_chain_of_one(void **state)
{
    struct planner_world *world = three();
    char top[64];

    (void)state;
    snprintf(top, sizeof(top), "%s", path_of(world, 0));
    take_out(world, 0, 1, json_array_size(chain_of(world, 0)) - 1);
    lead(world, top, NULL, NULL, NULL);
    look(world, NULL);
    assert_true(json_is_null(json_object_get(state_layer(world->state,
                                                         active_of(world, "drive:d0")), "parent")));
    assert_false(damaged(world, "s1") || damaged(world, "s2") || damaged(world, "s3"));
    world_free(world);
}

static void commit_damages_what_stands_on_its_base(void **state)
{
    struct planner_world *world = three();
    char base[64], top[64];
    const char *sentence;

    (void)state;
    snprintf(top, sizeof(top), "%s", path_of(world, 0));
    snprintf(base, sizeof(base), "%s", path_of(world, 2));
    take_out(world, 0, 1, 1);
    written(world, base);
    lead(world, top, base, base, "qcow2");
    look(world, NULL);
    assert_false(damaged(world, "s1"));
    assert_true(damaged(world, "s2") && damaged(world, "s3"));
    sentence = state_str(snapshot_of(world, "s3"), "damaged");
    assert_non_null(strstr(sentence, base));
    assert_non_null(strstr(sentence, "block-commit"));
    world_refuse(world, planner_revert, "{'name': 's3', 'discard': true}", "image-changed");
    json_decref(world_plan(world, planner_revert, "{'name': 's1', 'discard': true}"));
    world_free(world);
}

static void active_commit_goes_back_to_the_base(void **state)
{
    struct planner_world *world = three();

    (void)state;
    put_on(world, 0, "mine", "/i/mine.qcow2");
    look(world, NULL);
    take_out(world, 0, 0, 2);
    look(world, NULL); /* whether or not its base is written to: from now on it is */
    assert_true(damaged(world, "s3") && damaged(world, "mine"));
    assert_false(damaged(world, "s1") || damaged(world, "s2"));
    assert_string_equal(active_of(world, "drive:d0"),
                        state_str(json_object_get(snapshot_of(world, "s3"), "disks"), "drive:d0"));
    assert_null(json_object_get(state_layer(world->state, active_of(world, "drive:d0")), "print"));
    world_free(world);
}

static void file_of_a_client_is_the_clients_again(void **state)
{
    struct planner_world *world = three();
    size_t before = json_object_size(json_object_get(world->state, "layers"));

    (void)state;
    put_on(world, 0, "mine", "/i/mine.qcow2");
    look(world, NULL);
    take_out(world, 0, 0, 1);
    look(world, NULL);
    assert_int_equal(json_object_size(json_object_get(world->state, "layers")), before);
    put_on(world, 0, "mine", "/i/mine.qcow2");
    look(world, NULL);
    snapshot_of(world, "mine-2");
    world_free(world);
}

static void commit_spares_other_branches(void **state)
{
    struct planner_world *world = three();
    char base[64], top[64];
    json_t *plan;

    (void)state;
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true}");
    world_carry_out(world, plan);
    json_decref(plan);
    world_create(world, "side1");
    world_create(world, "side2");
    snprintf(top, sizeof(top), "%s", path_of(world, 0));
    snprintf(base, sizeof(base), "%s", path_of(world, 2));
    take_out(world, 0, 1, 1);
    written(world, base);
    lead(world, top, base, base, "qcow2");
    look(world, NULL);
    assert_true(damaged(world, "side1") && damaged(world, "side2"));
    assert_false(damaged(world, "s1") || damaged(world, "s2") || damaged(world, "s3"));
    world_free(world);
}

static void commit_to_the_root_damages_every_branch(void **state)
{
    struct planner_world *world = three();
    char top[64];
    json_t *plan;

    (void)state;
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true}");
    world_carry_out(world, plan);
    json_decref(plan);
    world_create(world, "side");
    snprintf(top, sizeof(top), "%s", path_of(world, 0));
    take_out(world, 0, 1, 1);
    written(world, "/i/a.qcow2");
    lead(world, top, "/i/a.qcow2", "/i/a.qcow2", "qcow2");
    look(world, NULL);
    assert_true(damaged(world, "s1") && damaged(world, "s2") && damaged(world, "s3") &&
                damaged(world, "side"));
    world_free(world);
}

static void what_is_not_provable_is_left_alone(void **state)
{
    struct planner_world *world = three();
    json_t *chain = chain_of(world, 0), *kept = json_copy(chain);

    (void)state;
    /* a foreign image in the middle */
    world_file_add(world, "/i/x.qcow2", "qcow2", NULL, NULL);
    json_array_insert_new(chain, 1, json_text("{'node': 'x', 'drv': 'qcow2', 'file': '/i/x.qcow2'}"));
    world_graph(world);
    assert_null(observe(&world->w, world->state, NULL));
    /* another order */
    json_array_clear(chain);
    json_array_extend(chain, kept);
    json_array_append(chain, json_array_get(chain, 1));
    json_array_remove(chain, 1);
    world_graph(world);
    assert_null(observe(&world->w, world->state, NULL));
    /* nothing but new images */
    json_array_clear(chain);
    json_array_append_new(chain, json_text("{'node': 'x', 'drv': 'qcow2', 'file': '/i/x.qcow2'}"));
    world_graph(world);
    assert_null(observe(&world->w, world->state, NULL));
    /* down to the foreign image, which would be written from now on */
    json_array_clear(chain);
    json_array_append(chain, json_array_get(kept, json_array_size(kept) - 1));
    world_graph(world);
    assert_null(observe(&world->w, world->state, NULL));
    /* a new one on top, and the one that was active is missing */
    json_array_clear(chain);
    json_array_extend(chain, kept);
    json_array_remove(chain, 0);
    put_on(world, 0, "y", "/i/y.qcow2");
    assert_null(observe(&world->w, world->state, NULL));
    json_decref(kept);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stream_into_the_middle_changes_no_snapshot),
        cmocka_unit_test(stream_of_everything_leaves_a_chain_of_one),
        cmocka_unit_test(commit_damages_what_stands_on_its_base),
        cmocka_unit_test(active_commit_goes_back_to_the_base),
        cmocka_unit_test(file_of_a_client_is_the_clients_again),
        cmocka_unit_test(commit_spares_other_branches),
        cmocka_unit_test(commit_to_the_root_damages_every_branch),
        cmocka_unit_test(what_is_not_provable_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
