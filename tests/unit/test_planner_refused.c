/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_create: every refusal with its reason.  What is refused here is never begun. */
#include "tests/unit/planner_world.h"

#include "policy/reason.h"
#include "policy/state.h"

#define S1 "{'name': 's1'}"
#define S2 "{'name': 's2'}"
#define DISKS_ONLY "{'name': 's2', 'memory': 'none'}"

static void names_are_checked(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_refuse(world, planner_create, "{'name': '.x'}", REASON_BAD_NAME);
    world_create(world, "s1");
    world_refuse(world, planner_create, S1, REASON_DUPLICATE_NAME);
    world_refuse(world, planner_save_as, "{'name': 's0', 'save-as': 's1'}",
                 REASON_DUPLICATE_NAME);
    world_free(world);
}

static void states_in_which_nothing_is_certain_are_refused(void **state)
{
    static const char *const states[] = {
        "io-error", "internal-error", "guest-panicked", "shutdown", "inmigrate", "save-vm",
        "restore-vm", "finish-migrate", "suspended", "watchdog", "debug", "colo", "no-such-state",
    };
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        world_status_set(world, states[i]);
        world_refuse(world, planner_create, S1, REASON_WRONG_STATE);
        world_refuse(world, planner_create, DISKS_ONLY, REASON_WRONG_STATE);
    }
    json_object_clear(world->w.status);
    world_refuse(world, planner_create, S1, REASON_WRONG_STATE);
    world_free(world);
}

static void memory_that_cannot_be_saved_is_refused(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "prelaunch");

    (void)state;
    world_refuse(world, planner_create, "{'name': 's1', 'memory': 'stream'}", REASON_WRONG_STATE);
    world_refuse(world, planner_create, "{'name': 's1', 'memory': 'vmstate'}", REASON_WRONG_STATE);
    world_status_set(world, "postmigrate");
    world_refuse(world, planner_create, S1, REASON_WRONG_STATE);
    world_status_set(world, "running");
    world_refuse(world, planner_create, "{'name': 's1', 'live': true}", REASON_NOT_SUPPORTED);
    world_free(world);
}

static void room_is_looked_for_before_anything_is_made(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan;

    (void)state;
    world_room(world, "/m", 64 << 20, true);            /* RAM, but not the devices */
    world_refuse(world, planner_create, S1, REASON_NO_SPACE);
    plan = world_plan(world, planner_create, DISKS_ONLY);
    json_decref(plan);
    json_object_set_new(world->w.memory_size, "plugged-memory", json_integer(32 << 20));
    world_room(world, "/m", 100 << 20, true);
    world_refuse(world, planner_create, S1, REASON_NO_SPACE);
    world_room(world, "/m", 1 << 30, false);
    world_refuse(world, planner_create, S1, REASON_FILE_UNUSABLE);
    world_room(world, "/m", 1 << 30, true);
    world_room(world, "/i", 1 << 20, true);
    world_refuse(world, planner_create, S1, REASON_NO_SPACE);
    world_room(world, "/i", 1 << 30, false);
    world_refuse(world, planner_create, S1, REASON_FILE_UNUSABLE);
    json_object_del(world->w.rooms, "/i");
    world_refuse(world, planner_create, S1, REASON_FILE_UNUSABLE);
    world_free(world);
}

static void jobs_of_others_are_in_the_way(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    json_array_append_new(world->w.jobs, json_text("{'id': 'b0', 'type': 'backup'}"));
    world_refuse(world, planner_create, S1, REASON_JOB_RUNNING);
    world_free(world);
}

static json_t *vm_disk(struct planner_world *world, size_t i)
{
    return json_array_get(world->vm, i);
}

static json_t *vm_link(struct planner_world *world, size_t disk, size_t link)
{
    return json_array_get(json_object_get(vm_disk(world, disk), "chain"), link);
}

static void disks_of_other_kinds_are_refused_and_named(void **state)
{
    static const struct {
        const char *link, *disk;    /* what differs */
        const char *word;           /* of the sentence */
    } rows[] = {
        { "{'drv': 'vmdk'}", "{}", "neither raw nor qcow2" },
        { "{'drv': 'quorum'}", "{}", "neither raw nor qcow2" },
        { "{'protocol': 'nbd'}", "{}", "not a local file" },
        { "{'file': '/i/none'}", "{}", "cannot be found" },
        { "{}", "{'filter': 'throttle'}", "filter" },
        { "{}", "{'filter': 'copy-on-read'}", "filter" },
        { "{}", "{'ro': true}", "read-only" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct planner_world *world = world_make(WORLD_DRIVES, "running");
        json_t *link = json_text(rows[i].link), *disk = json_text(rows[i].disk);
        const char *desc;

        json_object_update(vm_link(world, 1, 0), link);
        json_object_update(vm_disk(world, 1), disk);
        world_graph(world);
        desc = world_refuse(world, planner_create, "{'name': 's1', 'disks': ['d1']}",
                            REASON_UNSUPPORTED_DISK);
        if (!strstr(desc, rows[i].word) || !strstr(desc, "'d1'"))
            fail_msg("%s", desc);
        json_decref(link);
        json_decref(disk);
        world_free(world);
    }
}

/* Read-only disks are left alone unless they are named. */
static void read_only_disk_is_left_out(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *plan;

    (void)state;
    json_object_set_new(vm_disk(world, 1), "ro", json_true());
    world_graph(world);
    plan = world_plan(world, planner_create, S1);
    assert_json_is(json_object_get(state_snapshot(json_object_get(plan, "after"), "s1"), "disks"),
                   "{'drive:d0': 'L2'}");
    json_decref(plan);
    world_free(world);
}

static void arguments_that_rule_snapshots_out_are_refused(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2,snapshot=on "
                      "-drive file=/i/b.raw,if=ide,id=d1,format=raw");
    world_refuse(world, planner_create, S1, REASON_UNSUPPORTED_ARGUMENT);
    world_args(world, "-no-such-option -drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2 "
                      "-drive file=/i/b.raw,if=ide,id=d1,format=raw");
    world_refuse(world, planner_create, S1, REASON_UNKNOWN_ARGUMENT);
    world_free(world);
}

/* Somebody put an overlay on the image before the first snapshot. */
static void image_that_is_not_the_one_named_is_refused(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    json_array_insert_new(json_object_get(vm_disk(world, 1), "chain"), 0,
                          json_text("{'node': 'x', 'drv': 'qcow2', 'file': '/i/x.qcow2'}"));
    world_file_add(world, "/i/x.qcow2", "qcow2", "/i/b.raw", "raw");
    world_graph(world);
    world_refuse(world, planner_create, S1, REASON_CHAIN_MISMATCH);
    world_free(world);
}

static void chain_that_is_not_on_record_is_refused(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *chain;

    (void)state;
    world_create(world, "s1");
    chain = json_object_get(vm_disk(world, 1), "chain");
    json_array_insert_new(chain, 0, json_text("{'node': 'x', 'drv': 'qcow2',"
                                              " 'file': '/i/x.qcow2'}"));
    world_file_add(world, "/i/x.qcow2", "qcow2", "/i/b.vm-5.qcow2", "qcow2");
    world_graph(world);
    world_refuse(world, planner_create, S2, REASON_CHAIN_MISMATCH);
    json_array_remove(chain, 0);                        /* somebody merged the overlay */
    json_array_remove(chain, 0);
    world_graph(world);
    world_refuse(world, planner_create, S2, REASON_CHAIN_MISMATCH);
    world_free(world);
}

/* The path is the same, the file is not. */
static void exchanged_file_is_noticed(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *link;

    (void)state;
    world_create(world, "s1");
    link = vm_link(world, 1, 0);
    json_object_set_new(link, "file", json_string("/j/b.vm-5.qcow2"));
    world_file_add(world, "/j/b.vm-5.qcow2", "qcow2", "/i/b.raw", "raw");
    world_graph(world);
    world_refuse(world, planner_create, S2, REASON_CHAIN_MISMATCH);
    /* another path to the same file is fine */
    json_object_set(world->w.files, "/j/b.vm-5.qcow2",
                    json_object_get(world->w.files, "/i/b.vm-5.qcow2"));
    json_decref(world_plan(world, planner_create, S2));
    world_free(world);
}

static void frozen_image_that_has_changed_is_refused(void **state)
{
    static const struct {
        const char *change, *word;
    } rows[] = {
        { "{'mtime': '2.5'}", "written to" },
        { "{'size': 1}", "written to" },
        { "{'ino': 999}", "replaced" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct planner_world *world = world_make(WORLD_DRIVES, "running");
        json_t *change = json_text(rows[i].change), *file;
        const char *desc;

        world_create(world, "s1");
        file = json_deep_copy(json_object_get(world->w.files, "/i/a.qcow2"));
        json_object_update(file, change);
        json_object_set_new(world->w.files, "/i/a.qcow2", file);
        desc = world_refuse(world, planner_create, S2, REASON_IMAGE_CHANGED);
        if (!strstr(desc, rows[i].word) || !strstr(desc, "'/i/a.qcow2'"))
            fail_msg("%s", desc);
        json_decref(change);
        world_free(world);
    }
}

/* File systems get other numbers when the host is started anew, and a device's node tells nothing. */
static void what_says_nothing_of_an_image_is_not_compared(void **state)
{
    static const char *const rows[] = {
        "{'dev': 2}", "{'atime': '9.9'}", "{'kind': 'block', 'mtime': '2.5', 'ino': 77, 'size': 0}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct planner_world *world = world_make(WORLD_DRIVES, "running");
        json_t *change = json_text(rows[i]), *file;

        world_create(world, "s1");
        file = json_deep_copy(json_object_get(world->w.files, "/i/a.qcow2"));
        json_object_update(file, change);
        json_object_set_new(world->w.files, "/i/a.qcow2", file);
        json_decref(world_plan(world, planner_create, S2));
        json_decref(change);
        world_free(world);
    }
}

static void disk_that_went_or_changed_its_device_is_refused(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_create(world, "s1");
    json_object_set_new(vm_disk(world, 1), "qdev", json_string("/machine/unattached/device[9]"));
    world_graph(world);
    world_refuse(world, planner_create, S2, REASON_DISK_GONE);
    json_array_remove(world->vm, 1);
    world_graph(world);
    world_refuse(world, planner_create, S2, REASON_DISK_GONE);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(states_in_which_nothing_is_certain_are_refused),
        cmocka_unit_test(memory_that_cannot_be_saved_is_refused),
        cmocka_unit_test(room_is_looked_for_before_anything_is_made),
        cmocka_unit_test(jobs_of_others_are_in_the_way),
        cmocka_unit_test(disks_of_other_kinds_are_refused_and_named),
        cmocka_unit_test(read_only_disk_is_left_out),
        cmocka_unit_test(arguments_that_rule_snapshots_out_are_refused),
        cmocka_unit_test(image_that_is_not_the_one_named_is_refused),
        cmocka_unit_test(chain_that_is_not_on_record_is_refused),
        cmocka_unit_test(exchanged_file_is_noticed),
        cmocka_unit_test(frozen_image_that_has_changed_is_refused),
        cmocka_unit_test(what_says_nothing_of_an_image_is_not_compared),
        cmocka_unit_test(disk_that_went_or_changed_its_device_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
