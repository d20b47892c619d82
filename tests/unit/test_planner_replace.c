/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_revert with replace: the first QEMU ends before the second starts, and can come back. */
#include "tests/unit/planner_world.h"

#include <stdio.h>

#include "policy/plan.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

#define REPLACE "{'name': 's1', 'discard': true, 'method': 'replace'}"
#define SAVE_AS "{'name': 's1', 'save-as': 's2', 'method': 'replace'}"

/* What brings the VM back as it was. */
#define BACK "process-discard process-start getfd migrate-incoming loaded check-disks settings-carry? " \
             "process-switch "

/* Of a state that is in a file already. */
#define SAVED "present-print present-keep* clients-hold* check-present process-end* process-start* " \
              "check-fit getfd migrate-incoming loaded check-disks settings-carry commit! " \
              "process-switch cont clients-release " \
              "state-write files-remove?"

static struct planner_world *world_one(const char *status)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    world_create(world, "s1");
    world_status_set(world, status);
    return world;
}

/* new: the words of the command line that the way back starts. */
static char *words_back(const json_t *plan)
{
    const json_t *undo = json_object_get(plan_step(plan, "process-end", 0), "undo");
    json_t *only = json_pack("{s:[O]}", "steps", json_array_get(undo, 1));
    char *words = world_words(only);

    json_decref(only);
    return words;
}

static void memory_is_kept_before_the_first_ends(void **state)
{
    struct planner_world *world = world_one("running");
    json_t *plan = world_plan(world, planner_revert, REPLACE);
    char *words = world_words(plan), *back = words_back(plan);
    json_t *undo;

    (void)state;
    assert_steps(plan, "memory-check overlay-create* overlay-create* memory-create* migrate-parameters* "
                       "getfd* stop* migrate* migrate-end memory-seal present-print present-keep* clients-hold* "
                       "check-present process-end* process-start* check-fit getfd "
                       "migrate-incoming loaded check-disks settings-carry commit! process-switch cont "
                       "clients-release state-write "
                       "files-remove?");
    assert_string_equal(state_str(plan, "method"), "replace");
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "process-end", 0), "args"), "alone"),
                   "true");
    assert_json_is(json_object_get(plan, "present"),
                   "{'kept': false, 'memory': {'file': '/m/.present-5.mem'}, 'args': ["
                   "'qemu', '-m', '64', '-drive', 'file=/i/a.qcow2,if=virtio,id=d0,format=qcow2', "
                   "'-drive', 'file=/i/b.raw,if=ide,id=d1,format=raw']}");
    /* what the guest writes to tells whether it went on */
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "present-print", 0), "args"), "files"),
                   "['/i/a.vm-3.qcow2', '/i/b.vm-5.qcow2']");
    /* the second one is on new overlays, the one that comes back on what it had */
    assert_non_null(strstr(words, "/i/a.vm-6.qcow2"));
    assert_non_null(strstr(back, "/i/a.vm-3.qcow2"));
    assert_non_null(strstr(back, "-incoming defer"));
    /* and is waited for, as nothing else is left */
    undo = json_object_get(plan_step(plan, "process-end", 0), "undo");
    assert_json_is(json_object_get(json_object_get(json_array_get(undo, 1), "args"), "patient"), "true");
    assert_null(json_object_get(json_object_get(plan_step(plan, "process-start", 0), "args"), "patient"));
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"), "files"),
                   "['/i/a.vm-3.qcow2', '/i/b.vm-5.qcow2', '/m/.present-5.mem']");
    free(words);
    free(back);
    json_decref(plan);
    world_free(world);
}

static void until_the_commit_point_the_first_comes_back(void **state)
{
    struct planner_world *world = world_one("running");
    json_t *plan = world_plan(world, planner_revert, REPLACE);
    char names[512];

    (void)state;
    /* What was kept is worth nothing before the guest goes on. */
    snprintf(names, sizeof(names), "%sclients-release present-drop migrate-cancel cont closefd? "
             "migrate-parameters-restore file-remove file-remove file-remove", BACK);
    assert_undo(plan, "process-end", names);
    snprintf(names, sizeof(names), "process-discard %sclients-release present-drop migrate-cancel cont "
             "closefd? migrate-parameters-restore file-remove file-remove file-remove", BACK);
    assert_undo(plan, "check-disks", names);
    assert_json_is(json_object_get(plan_step(plan, "process-switch", 0), "can-return"), "true");
    json_decref(plan);
    world_free(world);
}

static void guest_that_has_not_run_has_no_memory_to_keep(void **state)
{
    struct planner_world *world = world_one("prelaunch");
    json_t *plan = world_plan(world, planner_revert, REPLACE);

    (void)state;
    assert_steps(plan, "memory-check overlay-create* overlay-create* present-keep* clients-hold* "
                       "check-present process-end* process-start* check-fit getfd "
                       "migrate-incoming loaded check-disks settings-carry commit! process-switch cont "
                       "clients-release state-write "
                       "files-remove?");
    assert_undo(plan, "process-end", "process-discard process-start started check-disks settings-carry? "
                                     "process-switch "
                                     "clients-release present-drop file-remove file-remove");
    json_decref(plan);
    world_free(world);
}

/* QEMU 10 lets go of the images when it saves, and takes them back when it is told to. */
static void paused_guest_gets_its_images_back(void **state)
{
    struct planner_world *world = world_one("paused");
    json_t *plan;

    (void)state;
    world->w.version[0] = 10;
    plan = world_plan(world, planner_revert, REPLACE);
    assert_undo(plan, "memory-seal", "activate? migrate-cancel closefd? migrate-parameters-restore "
                                     "file-remove file-remove file-remove");
    json_decref(plan);
    world_free(world);
}

static char *words_of(const json_t *step)
{
    json_t *argv = json_object_get(json_object_get(step, "args"), "argv"), *word;
    char *text = alloc_copy(""), *more;
    size_t i;

    json_array_foreach(argv, i, word) {
        more = alloc_print("%s %s", text, json_string_value(word));
        free(text);
        text = more;
    }
    return text;
}

/* What the first process has written to them is not emptied, neither by the second nor by the one that comes back. */
static void files_of_chardevs_are_appended_to(void **state)
{
    static const char *const wanted[] = { "path=/l,append=on", "path=/s,append=on", "logfile=/g,logappend=on",
                                          "-parallel null", "socket,id=x,path=/x,server=on" };
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    const json_t *end;
    json_t *plan;
    char *words[2];

    (void)state;
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2 "
                      "-drive file=/i/b.raw,if=ide,id=d1,format=raw -chardev file,id=c,path=/l -serial file:/s "
                      "-chardev null,id=n,logfile=/g -parallel null -chardev socket,id=x,path=/x,server=on");
    world_create(world, "s1");
    plan = world_plan(world, planner_revert, REPLACE);
    words[0] = words_of(plan_step(plan, "process-start", 0));
    end = plan_step(plan, "process-end", 0);
    words[1] = words_of(json_array_get(json_object_get(end, "undo"), 1));
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof(wanted) / sizeof(wanted[0]); k++)
            if (!strstr(words[i], wanted[k]))
                fail_msg("'%s' is not in %s", wanted[k], words[i]);
        free(words[i]);
    }
    json_decref(plan);
    world_free(world);
}

/* An image that has one is written to when what was kept is loaded, and no longer what was kept. */
static void disk_with_a_persistent_bitmap_is_refused(void **state)
{
    struct planner_world *world = world_one("running");
    json_t *link = json_array_get(json_object_get(json_array_get(world->vm, 0), "chain"), 0), *file;

    (void)state;
    json_object_set_new(link, "dirty-bitmaps", json_text("[{'name': 'b', 'persistent': false}]"));
    world_graph(world);
    json_decref(world_plan(world, planner_revert, REPLACE));
    json_object_set_new(link, "dirty-bitmaps", json_text("[{'name': 'b', 'persistent': true}]"));
    world_graph(world);
    world_refuse(world, planner_revert, REPLACE, REASON_METHOD_UNAVAILABLE);
    json_decref(world_plan(world, planner_revert, SAVE_AS)); /* it stays below */
    json_decref(world_plan(world, planner_revert, "{'name': 's1', 'discard': true}"));
    json_object_del(link, "dirty-bitmaps");
    world_graph(world);
    file = json_object_get(world->w.files, state_str(link, "file"));
    json_object_set_new(file, "bitmaps", json_true());
    world_refuse(world, planner_revert, REPLACE, REASON_METHOD_UNAVAILABLE);
    world_free(world);
}

/* The guest is stopped, and its memory is that of the snapshot which was made first. */
static void with_save_as_the_snapshot_is_what_is_kept(void **state)
{
    struct planner_world *world = world_one("running");
    json_t *plan = world_plan(world, planner_revert, SAVE_AS);

    (void)state;
    assert_steps(plan, "memory-check overlay-create* overlay-create* stop* " SAVED);
    json_decref(plan);
    world_create(world, "s2");
    world_status_set(world, "postmigrate");
    plan = world_plan(world, planner_revert, SAVE_AS);
    assert_steps(plan, "memory-check overlay-create* overlay-create* " SAVED);
    assert_json(json_object_get(json_object_get(plan, "present"), "memory"),
                json_object_get(state_snapshot(world->state, "s2"), "memory"));
    /* it stays */
    assert_json_is(json_object_get(json_object_get(plan_step(plan, "files-remove", 0), "args"), "files"),
                   "['/i/a.vm-6.qcow2', '/i/b.vm-7.qcow2']");
    json_decref(plan);
    world_free(world);
}

static void what_cannot_be_kept_is_refused(void **state)
{
    struct planner_world *world = world_one("postmigrate");

    (void)state;
    world_refuse(world, planner_revert, REPLACE, REASON_WRONG_STATE);
    world_status_set(world, "running");
    world_room(world, "/m", 1 << 20, true);
    world_refuse(world, planner_revert, REPLACE, REASON_NO_SPACE);
    world_room(world, "/m", (json_int_t)1 << 40, true);
    world->w.migration = json_text("{'blocked-reasons': ['a device']}");
    world_refuse(world, planner_revert, REPLACE, REASON_MIGRATION_BLOCKED);
    json_object_clear(world->w.migration);
    /* The way back needs a command line that says what the VM has now. */
    json_object_set_new(world->state, "config", json_text("[{'execute': 'add-fd'}]"));
    assert_non_null(strstr(world_refuse(world, planner_revert, REPLACE, REASON_CONFIGURATION_CHANGED),
                           "could not be started again"));
    json_object_set_new(world->state, "config", json_array());
    json_decref(world_plan(world, planner_revert, REPLACE));
    world_args(world, NULL);
    world_refuse(world, planner_revert, REPLACE, REASON_METHOD_UNAVAILABLE);
    world_free(world);
}

/* new: what a restart does with the plan's journal. */
static json_t *recover(struct planner_world *world, const json_t *plan, bool gone)
{
    json_t *journal = json_pack("{s:O, s:b}", "plan", plan, "committed", 0), *recovery;
    struct err err = ERR_INIT;

    world->w.gone = gone;
    recovery = planner_recover(&world->w, world->state, journal, &err);
    world->w.gone = false;
    assert_non_null(recovery);
    json_decref(journal);
    return recovery;
}

static void what_was_kept_comes_back_where_no_qemu_is(void **state)
{
    struct planner_world *world = world_one("running");
    json_t *plan = world_plan(world, planner_revert, REPLACE);
    json_t *journal = json_pack("{s:O, s:b}", "plan", plan, "committed", 0), *recovery;
    char names[512];

    (void)state;
    assert_null(planner_journal_present(journal, world->state)); /* it is not whole yet */
    json_object_set_new(json_object_get(plan, "present"), "kept", json_true());
    assert_json(planner_journal_present(journal, world->state), json_object_get(plan, "present"));
    recovery = recover(world, plan, true);
    snprintf(names, sizeof(names), "process-discard process-start getfd migrate-incoming loaded "
             "check-disks settings-carry? process-switch present-drop file-remove file-remove file-remove cont "
             "migrate-parameters-restore");
    json_object_set_new(world->w.status, "status", json_string("postmigrate"));
    json_decref(recovery);
    recovery = recover(world, plan, true);
    assert_steps(recovery, names);
    assert_true(json_is_true(json_object_get(recovery, "main-gone")));
    json_decref(recovery);
    /* the first one is there still */
    recovery = recover(world, plan, false);
    assert_steps(recovery, "process-discard migrate-cancel? present-drop file-remove file-remove "
                           "file-remove cont migrate-parameters-restore closefd?");
    json_decref(recovery);
    json_object_set_new(journal, "committed", json_true());
    assert_null(planner_journal_present(journal, world->state));
    json_decref(journal);
    json_decref(plan);
    world_free(world);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_kept_before_the_first_ends),
        cmocka_unit_test(until_the_commit_point_the_first_comes_back),
        cmocka_unit_test(guest_that_has_not_run_has_no_memory_to_keep),
        cmocka_unit_test(paused_guest_gets_its_images_back),
        cmocka_unit_test(with_save_as_the_snapshot_is_what_is_kept),
        cmocka_unit_test(files_of_chardevs_are_appended_to),
        cmocka_unit_test(disk_with_a_persistent_bitmap_is_refused),
        cmocka_unit_test(what_cannot_be_kept_is_refused),
        cmocka_unit_test(what_was_kept_comes_back_where_no_qemu_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
