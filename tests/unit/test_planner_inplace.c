/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory as a vmstate, and reverts to it: in place, by respawn, and which of them. */
#include "tests/unit/planner_world.h"

#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"

#define VMSTATE "{'name': 's%d', 'memory': 'vmstate'}"
#define REVERT "{'name': 's1', 'discard': true}"
#define IN_PLACE "{'name': 's1', 'discard': true, 'method': 'in-place'}"

#define PREPARED "memory-check overlay-create* overlay-create* blockdev-add* blockdev-add* vmstate-create* " \
                 "vmstate-create* vmstate-open* vmstate-open* hold* hold* "
#define LOADED "memory-keep* job-dismiss drive-switch* drive-switch* memory-load* loaded check-disks "
#define RESUMED "cont clients-release resumed-note? "
/* s2 has layers of its own, on which the guest does not stand any more */
#define CLEARED_TWO "job-dismiss? blockdev-del? blockdev-del? blockdev-del? blockdev-del? " \
                    "blockdev-del? blockdev-del? blockdev-del? blockdev-del? file-remove? file-remove? " \
                    "files-remove?"
#define CLEARED "job-dismiss? blockdev-del? blockdev-del? blockdev-del? blockdev-del? " \
                "blockdev-del? blockdev-del? file-remove? file-remove? files-remove?"

/* What QEMU says of the devices of both disks. */
static void world_devices(struct planner_world *world, const char *first, bool iothread)
{
    json_t *drives = json_object(), *disk;
    size_t i;

    json_array_foreach(world->vm, i, disk)
        json_object_set_new(drives, state_str(disk, "qdev"),
                            json_pack("{s:s, s:b}", "type", i == 0 ? first : "ide-hd", "iothread",
                                      i == 0 && iothread));
    json_decref(world->w.drives);
    world->w.drives = drives;
}

/* A VM with the snapshots s1 ... sN, whose memory is a vmstate. */
static struct planner_world *world_saved(enum planner_world_kind kind, int n, const char *status)
{
    struct planner_world *world = world_make(kind, status);
    char request[64];

    world_devices(world, "virtio-blk-device", false);
    world->w.devices = json_text("{'vd0': true, 'sd1': true}");
    for (int i = 1; i <= n; i++) {
        snprintf(request, sizeof(request), VMSTATE, i);
        world_do(world, planner_create, request);
    }
    return world;
}

static const char *reason_of(const json_t *plan)
{
    return json_string_value(json_array_get(json_object_get(plan, "reasons"), 0));
}

static void the_vmstate_is_written_while_the_guest_stands(void **state)
{
    struct planner_world *world = world_saved(WORLD_DRIVES, 0, "running");
    json_t *plan = world_plan(world, planner_create, "{'name': 's1', 'memory': 'vmstate'}"), *memory;

    (void)state;
    assert_steps(plan, "overlay-create* blockdev-add* overlay-create* blockdev-add* vmstate-create* "
                       "vmstate-open* stop* memory-save* transaction* cont job-dismiss blockdev-del "
                       "memory-seal layers-freeze state-write!");
    assert_undo(plan, "memory-save", "job-end? job-dismiss? cont vmstate-close file-remove blockdev-del "
                                     "file-remove blockdev-del file-remove");
    memory = json_object_get(state_snapshot(json_object_get(plan, "after"), "s1"), "memory");
    assert_json_is(memory, "{'format': 'vmstate', 'file': '/m/s1-1.mem', 'tag': 'qsnap',"
                           " 'devices': ['sd1', 'vd0']}");
    json_decref(plan);
    world_free(world);
}

static void attached_the_memory_is_a_vmstate(void **state)
{
    struct planner_world *world = world_saved(WORLD_DRIVES, 0, "running");
    json_t *plan;

    (void)state;
    world_args(world, NULL);
    world_create(world, "s1");
    assert_string_equal(state_str(json_object_get(state_snapshot(world->state, "s1"), "memory"),
                                  "format"), "vmstate");
    plan = world_plan(world, planner_revert, REVERT);
    assert_string_equal(state_str(plan, "method"), "in-place");
    json_decref(plan);
    /* but a stream when it is asked for, which only a new process could load */
    world_do(world, planner_create, "{'name': 's2', 'memory': 'stream'}");
    assert_non_null(strstr(world_refuse(world, planner_revert, "{'name': 's2', 'discard': true}",
                                        REASON_METHOD_UNAVAILABLE), "attached"));
    world_free(world);
}

static void what_is_is_kept_until_the_snapshot_is_loaded_and_recorded(void **state)
{
    struct planner_world *world = world_saved(WORLD_DRIVES, 2, "running");
    json_t *plan = world_plan(world, planner_revert, REVERT);
    const json_t *step;

    (void)state;
    assert_string_equal(state_str(plan, "method"), "in-place");
    assert_steps(plan, PREPARED "files-sync clients-hold* stop* " LOADED "state-write! " RESUMED CLEARED_TWO);
    assert_undo(plan, "stop", "cont clients-release blockdev-del blockdev-del vmstate-close vmstate-close "
                              "file-remove file-remove blockdev-del blockdev-del file-remove file-remove");
    assert_undo(plan, "memory-load",
                "job-end? job-dismiss? drive-return drive-return memory-return job-dismiss job-dismiss "
                "drive-return drive-return job-end? job-dismiss? cont clients-release blockdev-del blockdev-del "
                "vmstate-close vmstate-close file-remove file-remove blockdev-del blockdev-del file-remove "
                "file-remove");
    step = plan_step(plan, "drive-switch", 0);
    assert_json_is(step_arguments(step), "{'path': '/machine/peripheral-anon/device[0]', 'property': 'drive',"
                                         " 'value': 'qsnap-8'}");
    assert_json_is(json_object_get(step, "needs"), "{'is': 'disk', 'device': 'd0', 'node': 'qsnap-6'}");
    assert_json_is(json_object_get(step, "expect"), "{'is': 'disk', 'device': 'd0', 'node': 'qsnap-8'}");
    /* onto what s1 froze, which the chain has open */
    assert_string_equal(state_str(step_arguments(plan_step(plan, "blockdev-add", 0)), "backing"),
                        "#block-L2");
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"), "files"),
                   "['/i/a.vm-6.qcow2', '/i/b.vm-7.qcow2']");
    json_decref(plan);
    world_free(world);
}

static void the_saved_file_is_only_read(void **state)
{
    struct planner_world *world = world_saved(WORLD_NODES, 1, "running");
    json_t *plan = world_plan(world, planner_revert, REVERT), *file;

    (void)state;
    assert_json_is(json_object_get(plan_step(plan, "memory-check", 0), "args"),
                   "{'format': 'vmstate', 'file': '/m/s1-1.mem', 'tag': 'qsnap', 'devices': ['sd1', 'vd0'],"
                   " 'size': 70000000, 'xxh3': '0123456789abcdef'}");
    file = json_object_get(step_arguments(plan_step(plan, "vmstate-open", 0)), "file");
    assert_json_is(json_object_get(file, "file"), "{'driver': 'file', 'filename': '/m/load-6.tmp'}");
    assert_json_is(json_object_get(file, "backing"),
                   "{'driver': 'raw', 'read-only': true,"
                   " 'file': {'driver': 'file', 'filename': '/m/s1-1.mem'}}");
    /* and has room for it */
    assert_true(json_integer_value(json_object_get(json_object_get(plan_step(plan, "vmstate-create", 0),
                                                                   "args"), "size")) > 70000000);
    json_decref(plan);
    world_free(world);
}

/* s1 is on a side branch: s3 stands on it, and the VM on s2. */
static void layers_that_are_not_open_are_opened(void **state)
{
    struct planner_world *world = world_saved(WORLD_DRIVES, 2, "running");
    json_t *plan;

    (void)state;
    world_do(world, planner_revert, REVERT);
    plan = world_plan(world, planner_revert, "{'name': 's2', 'discard': true}");
    assert_string_equal(state_str(plan, "method"), "in-place");
    assert_json_is(step_arguments(plan_step(plan, "blockdev-add", 0)),
                   "{'node-name': 'qsnap-3', 'driver': 'qcow2', 'read-only': true, 'backing': '#block-L2',"
                   " 'file': {'driver': 'file', 'filename': '/i/a.vm-3.qcow2'}}");
    assert_string_equal(state_str(step_arguments(plan_step(plan, "blockdev-add", 1)), "backing"),
                        "qsnap-3");
    json_decref(plan);
    /* of two that had one name the second gets another */
    json_object_set_new(state_layer(world->state, "L3"), "node", json_string("mine"));
    json_object_set_new(state_layer(world->state, "L5"), "node", json_string("mine"));
    plan = world_plan(world, planner_revert, "{'name': 's2', 'discard': true}");
    assert_string_equal(state_str(step_arguments(plan_step(plan, "blockdev-add", 0)), "node-name"), "mine");
    assert_string_equal(state_str(step_arguments(plan_step(plan, "blockdev-add", 2)), "node-name"),
                        "qsnap-layer-L5");
    json_decref(plan);
    world_free(world);
}

static void run_state_is_the_saved_one_or_the_wanted_one(void **state)
{
    struct planner_world *world = world_saved(WORLD_DRIVES, 1, "paused");
    json_t *plan = world_plan(world, planner_revert, REVERT);

    (void)state;
    assert_steps(plan, PREPARED "clients-hold* " LOADED "state-write! clients-release " CLEARED);
    json_decref(plan);
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true, 'state': 'running'}");
    assert_steps(plan, PREPARED "clients-hold* " LOADED "state-write! " RESUMED CLEARED);
    json_decref(plan);
    /* a machine before its first instruction is another process */
    plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true, 'state': 'prelaunch'}");
    assert_string_equal(state_str(plan, "method"), "respawn");
    json_decref(plan);
    world_free(world);
}

/* auto goes the other way and says why; asked for by name it is refused with the same words. */
static void assert_not_in_place(struct planner_world *world, const char *why)
{
    json_t *plan = world_plan(world, planner_revert, REVERT);

    assert_string_equal(state_str(plan, "method"), "respawn");
    if (!strstr(reason_of(plan), why))
        fail_msg("'%s' is not in '%s'", why, reason_of(plan));
    assert_int_equal(json_array_size(json_object_get(plan, "reasons")), 2);
    json_decref(plan);
    assert_non_null(strstr(world_refuse(world, planner_revert, IN_PLACE, REASON_METHOD_UNAVAILABLE), why));
}

static void what_speaks_against_it_is_said(void **state)
{
    struct planner_world *world = world_saved(WORLD_DRIVES, 1, "running");
    json_t *snapshot = state_snapshot(world->state, "s1");

    (void)state;
    json_object_set_new(snapshot, "fit", json_text("{'machine': 'pc-q35-7.2'}"));
    assert_not_in_place(world, "machine");
    json_object_del(snapshot, "fit");
    world_devices(world, "virtio-blk-device", true);
    assert_not_in_place(world, "'d0' is served by an iothread");
    world_devices(world, "cfi.pflash01", false);
    assert_not_in_place(world, "cfi.pflash01");
    world_devices(world, "virtio-blk-device", false);
    json_object_set_new(world->w.devices, "n0", json_true());
    assert_not_in_place(world, "devices");
    json_object_del(world->w.devices, "n0");
    world->w.anonymous = json_text("[{'name': 'type', 'type': 'string'},"
                                   " {'name': 'device[0]', 'type': 'child<e1000>'}]");
    assert_not_in_place(world, "devices");
    json_array_clear(world->w.anonymous);
    world->w.migration = json_text("{'blocked-reasons': ['a folder of the host is mounted']}");
    assert_not_in_place(world, "is mounted");
    json_decref(world->w.migration);
    world->w.migration = NULL;
    world_node(world, "qsnap-hold-1");
    assert_not_in_place(world, "'qsnap-hold-1' is still open");
    json_array_remove(world->vm, json_array_size(world->vm) - 1);
    world_graph(world);
    world_status_set(world, "internal-error");
    assert_not_in_place(world, "internal-error");
    world_status_set(world, "guest-panicked");
    assert_non_null(strstr(world_refuse(world, planner_revert, "{'name': 's1', 'discard': true, 'method':"
                                        " 'in-place', 'state': 'paused'}", REASON_METHOD_UNAVAILABLE),
                           "guest-panicked"));
    json_decref(world_plan(world, planner_revert, IN_PLACE));
    world_status_set(world, "running");
    world_room(world, "/m", 1 << 20, true);
    assert_non_null(strstr(world_refuse(world, planner_revert, IN_PLACE, REASON_METHOD_UNAVAILABLE), "KiB"));
    world_room(world, "/m", 1LL << 40, true);
    json_object_set_new(state_layer(world->state, state_str(json_object_get(snapshot, "disks"), "drive:d0")),
                        "size", json_integer(1 << 25));
    assert_not_in_place(world, "another size");
    json_object_set_new(state_layer(world->state, state_str(json_object_get(snapshot, "disks"), "drive:d0")),
                        "size", json_integer(1 << 26));
    /* one that was there then and is there now */
    json_array_append_new(json_object_get(snapshot, "config"), json_text("{'execute': 'block-export-add'}"));
    json_object_set(world->state, "config", json_object_get(snapshot, "config"));
    assert_non_null(strstr(world_refuse(world, planner_revert, IN_PLACE, REASON_METHOD_UNAVAILABLE),
                           "exported"));
    json_array_append_new(json_object_get(snapshot, "args"), json_string("-snapshots"));
    assert_non_null(strstr(world_refuse(world, planner_revert, IN_PLACE, REASON_METHOD_UNAVAILABLE),
                           "command line"));
    world_free(world);
}

/* A disk that the snapshot leaves out stays as it is; two processes could not have it at a time. */
static void disks_that_are_left_out_stay(void **state)
{
    struct planner_world *world = world_saved(WORLD_DRIVES, 0, "running");
    json_t *plan;

    (void)state;
    world_do(world, planner_create, "{'name': 's1', 'memory': 'vmstate', 'disks': ['d0']}");
    plan = world_plan(world, planner_revert, REVERT);
    assert_string_equal(state_str(plan, "method"), "in-place");
    assert_int_equal(json_object_size(json_object_get(state_snapshot(world->state, "s1"), "disks")), 1);
    assert_string_equal(state_str(json_object_get(plan_step(plan, "drive-switch", 0), "expect"), "device"),
                        "d0");
    json_decref(plan);
    assert_non_null(strstr(world_refuse(world, planner_revert,
                                        "{'name': 's1', 'discard': true, 'method': 'respawn'}",
                                        REASON_METHOD_UNAVAILABLE), "all writable disks"));
    /* without any disk the memory would meet what was written since */
    world_do(world, planner_create, "{'name': 's2', 'memory': 'vmstate', 'disks': []}");
    assert_non_null(strstr(world_refuse(world, planner_revert,
                                        "{'name': 's2', 'discard': true, 'method': 'in-place'}",
                                        REASON_METHOD_UNAVAILABLE), "no disk"));
    world_free(world);
}

static void a_second_process_loads_it_too(void **state)
{
    struct planner_world *world = world_saved(WORLD_DRIVES, 1, "running");
    json_t *plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true, 'method': 'respawn'}");
    char *words = world_words(plan);

    (void)state;
    assert_steps(plan, "memory-check vmstate-create* overlay-create* overlay-create* process-start* check-fit started "
                       "vmstate-open memory-load job-dismiss vmstate-close check-disks settings-carry clients-hold* stop* "
                       "check-next commit! process-end process-switch cont clients-release state-write "
                       "files-remove? file-remove?");
    assert_null(strstr(words, "-incoming"));
    assert_string_equal(state_str(plan_step(plan, "memory-load", 0), "on"), "next");
    free(words);
    json_decref(plan);
    world_refuse(world, planner_revert,
                 "{'name': 's1', 'discard': true, 'method': 'respawn', 'state': 'paused'}",
                 REASON_METHOD_UNAVAILABLE);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vmstate_is_written_while_the_guest_stands),
        cmocka_unit_test(attached_the_memory_is_a_vmstate),
        cmocka_unit_test(what_is_is_kept_until_the_snapshot_is_loaded_and_recorded),
        cmocka_unit_test(the_saved_file_is_only_read),
        cmocka_unit_test(layers_that_are_not_open_are_opened),
        cmocka_unit_test(run_state_is_the_saved_one_or_the_wanted_one),
        cmocka_unit_test(what_speaks_against_it_is_said),
        cmocka_unit_test(disks_that_are_left_out_stay),
        cmocka_unit_test(a_second_process_loads_it_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
