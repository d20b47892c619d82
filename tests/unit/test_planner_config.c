/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Snapshots of a VM whose devices come and go: what a snapshot keeps of them, and what a revert gives
 * to the second QEMU. */
#include "tests/unit/planner_world.h"

#include <stdio.h>
#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"

#define HOT "{'key': 'node:hot', 'device': '', 'qdev': 'shot'," \
            " 'chain': [{'node': 'hot', 'drv': 'qcow2', 'file': '/i/hot.qcow2'}]}"
#define HOT_NODE "{'execute': 'blockdev-add', 'arguments': {'driver': 'qcow2', 'node-name': 'hot'," \
                 " 'file': {'driver': 'file', 'filename': '/i/hot.qcow2'}}}"
#define HOT_DEVICE "{'execute': 'device_add', 'arguments': {'driver': 'scsi-hd', 'id': 'shot'," \
                   " 'drive': 'hot'}}"

/* What QEMU says now of its devices, and the record of the configuration. */
static void configure(struct planner_world *world, const char *devices, const char *config)
{
    args_free(world->w.args_now);
    if (world->w.args_now_disks)
        args_disks_clear(world->w.args_now_disks);
    free(world->w.args_now_disks);
    world->w.args_now = NULL;
    world->w.args_now_disks = NULL;
    world->w.args_disks = &world->disks;
    json_decref(world->w.devices);
    world->w.devices = json_text(devices);
    if (config)
        json_object_set_new(world->state, "config", json_text(config));
    world_take_config(&world->w, json_object_get(world->state, "config"));
}

/* The VM of planner_world.h with one more disk, as it is in the VM or out of it. */
static void plug(struct planner_world *world, bool in)
{
    json_t *hot = json_text(HOT);

    if (in && json_array_size(world->vm) == 2)
        json_array_append(world->vm, hot);
    else if (!in)
        json_array_remove(world->vm, 2);
    json_decref(hot);
    world_graph(world);
    configure(world, in ? "{'vd0': true, 'sd1': true, 'shot': true}" : "{'vd0': true, 'sd1': true}",
              in ? "[" HOT_NODE ", " HOT_DEVICE "]" : "[]");
}

static struct planner_world *world_plugged(void)
{
    struct planner_world *world = world_make(WORLD_NODES, "running");

    world_create(world, "bare");
    world_file_add(world, "/i/hot.qcow2", "qcow2", NULL, NULL);
    plug(world, true);
    world_create(world, "s1");
    return world;
}

static void plugged_disk_is_one_like_the_others(void **state)
{
    struct planner_world *world = world_plugged();
    const json_t *snapshot = state_snapshot(world->state, "s1");
    const json_t *layer = state_layer(world->state,
                                      state_str(json_object_get(snapshot, "disks"), "node:hot"));
    json_t *plan;
    char *words;

    (void)state;
    assert_string_equal(state_str(layer, "real"), "/i/hot.qcow2");
    assert_string_equal(state_str(layer, "node"), "hot");
    assert_json_is(json_object_get(json_object_get(snapshot, "devices"), "node:hot"),
                   "{'device': 'shot', 'qdev': 'shot'}");
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true}");
    words = world_words(plan);
    assert_non_null(strstr(words, "\"node-name\":\"hot\""));
    assert_non_null(strstr(words, "\"read-only\":true"));
    assert_json_is(json_object_get(plan_step(plan, "check-devices", 0), "expect"),
                   "{'is': 'devices', 'present': ['shot'], 'absent': []}");
    assert_non_null(strstr(words, "-device driver=scsi-hd,id=shot,drive=qsnap-"));
    assert_json(json_object_get(json_object_get(plan, "after"), "config"),
                json_object_get(snapshot, "config"));
    free(words);
    json_decref(plan);
    world_free(world);
}

static void guest_that_lets_go_meanwhile_is_noticed(void **state)
{
    struct planner_world *world = world_plugged();
    json_t *plan = world_plan(world, planner_create, "{'name': 's2'}");
    const json_t *step = plan_step(plan, "check-devices", 0);

    (void)state;
    assert_string_equal(state_str(step, "on"), "qemu");
    assert_json_is(json_object_get(step, "expect"),
                   "{'is': 'devices', 'present': ['shot'], 'absent': []}");
    json_decref(plan);
    world_free(world);
}

static void what_the_snapshot_does_not_have_goes(void **state)
{
    struct planner_world *world = world_plugged();
    json_t *plan = world_plan(world, planner_revert, "{'name': 'bare', 'discard': true}");
    const json_t *after = json_object_get(plan, "after");
    char *words = world_words(plan);

    (void)state;
    assert_null(strstr(words, "hot"));
    assert_null(state_disk(after, "node:hot"));
    assert_json_is(json_object_get(after, "config"), "[]");
    /* its overlay is garbage; what s1 keeps, and the client's own image, are not */
    assert_non_null(state_layer(after, state_str(json_object_get(state_snapshot(after, "s1"), "disks"),
                                                 "node:hot")));
    free(words);
    plug(world, false);
    world_carry_out(world, plan);
    json_decref(plan);
    /* and back */
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true}");
    assert_json_is(json_object_get(json_object_get(plan, "after"), "config"),
                   "[" HOT_NODE ", " HOT_DEVICE "]");
    assert_string_equal(state_str(state_disk(json_object_get(plan, "after"), "node:hot"), "qdev"),
                        "shot");
    json_decref(plan);
    world_free(world);
}

static void unplugged_disk_stands_in_nobodys_way(void **state)
{
    struct planner_world *world = world_plugged();
    json_t *plan;

    (void)state;
    json_array_remove(world->vm, 2);
    world_graph(world);
    /* The device is there: where has its disk gone? */
    world_refuse(world, planner_create, "{'name': 's2'}", REASON_DISK_GONE);
    plug(world, false);
    world_create(world, "s2");
    assert_null(json_object_get(json_object_get(state_snapshot(world->state, "s2"), "disks"),
                                "node:hot"));
    json_decref(world_plan(world, planner_delete, "{'name': 'bare'}"));
    world_refuse(world, planner_revert, "{'name': 's1', 'save-as': 's3'}", REASON_UNSAVED_STATE);
    plan = world_plan(world, planner_revert, "{'name': 's1', 'save-as': 's3', 'discard': true}");
    assert_non_null(state_disk(json_object_get(plan, "after"), "node:hot"));
    json_decref(plan);
    /* A snapshot of a time that did not keep the device. */
    json_object_del(json_object_get(world->state, "disks"), "node:hot");
    json_object_del(state_snapshot(world->state, "s1"), "devices");
    world_refuse(world, planner_revert, "{'name': 's1', 'discard': true}", REASON_DISK_GONE);
    world_free(world);
}

static void device_of_the_command_line_is_left_out(void **state)
{
    struct planner_world *world = world_make(WORLD_NODES, "running");
    json_t *plan;
    char *words;

    (void)state;
    configure(world, "{'vd0': true, 'sd1': true}", NULL);
    world_create(world, "s1");
    json_array_remove(world->vm, 1);
    world_graph(world);
    configure(world, "{'vd0': true}", NULL);
    world_create(world, "s2");
    plan = world_plan(world, planner_revert, "{'name': 's2', 'discard': true}");
    words = world_words(plan);
    assert_null(strstr(words, "sd1"));
    assert_non_null(strstr(words, "vd0"));
    free(words);
    /* its node is open all the same, on the layers that it has, and on no device to look at */
    assert_int_equal(json_array_size(json_object_get(json_object_get(plan_step(plan, "check-disks", 0),
                                                                     "expect"), "disks")), 1);
    assert_non_null(plan_step(plan, "load-capabilities", 0));
    json_decref(plan);
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true}");
    words = world_words(plan);
    assert_non_null(strstr(words, "id=sd1"));
    free(words);
    json_decref(plan);
    world_free(world);
}

static void what_cannot_be_replayed_is_named(void **state)
{
    struct planner_world *world = world_plugged();
    const char *said;

    (void)state;
    configure(world, "{'vd0': true, 'sd1': true, 'shot': true}",
              "[" HOT_NODE ", " HOT_DEVICE ", {'execute': 'qom-set', 'arguments': {'path': '/odd'}},"
              " {'execute': 'block_set_io_throttle', 'arguments': {'id': 'shot', 'bps': 7}}]");
    world_create(world, "s2");
    said = world_refuse(world, planner_revert, "{'name': 's2', 'discard': true}",
                        REASON_CONFIGURATION_CHANGED);
    assert_non_null(strstr(said, "'s2'"));
    assert_non_null(strstr(said, "'qom-set' of '/odd'"));
    json_array_remove(json_object_get(state_snapshot(world->state, "s2"), "config"), 2);
    {
        json_t *plan = world_plan(world, planner_revert, "{'name': 's2', 'discard': true}");

        assert_json_is(step_arguments(plan_step(plan, "bind", 0)), "{'id': 'shot', 'bps': 7}");
        json_decref(plan);
    }
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plugged_disk_is_one_like_the_others),
        cmocka_unit_test(guest_that_lets_go_meanwhile_is_noticed),
        cmocka_unit_test(what_the_snapshot_does_not_have_goes),
        cmocka_unit_test(unplugged_disk_stands_in_nobodys_way),
        cmocka_unit_test(device_of_the_command_line_is_left_out),
        cmocka_unit_test(what_cannot_be_replayed_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
