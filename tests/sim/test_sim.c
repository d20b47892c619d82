/* SPDX-License-Identifier: GPL-2.0-or-later */
/* sim_qemu.h: what QEMU refuses is refused by the simulated one, and what it does not survive ends it. */
#include <stdio.h>

#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_proxy.h"
#include "tests/sim/sim_machines.h"
#include "tests/unit/json_text.h"

static struct sim_qemu *qemu;

static int begin(void **state)
{
    static const struct sim_machine machine = { .disks = 1, .gold = true, .version = 7 };

    (void)state;
    sim_machine_begin(&machine);
    qemu = sim_main();
    return 0;
}

static int end(void **state)
{
    (void)state;
    sim_machine_end();
    return 0;
}

static const char *tell(const char *execute, const char *args, ...) __attribute__((format(printf, 2, 3)));

/* borrowed: the error; NULL: it was done. */
static const char *tell(const char *execute, const char *args, ...)
{
    const char *error = NULL;
    char text[1024];
    va_list list;
    json_t *arguments;

    va_start(list, args);
    vsnprintf(text, sizeof(text), args, list);
    va_end(list);
    arguments = json_text(text);
    json_decref(sim_machine_do(qemu, execute, arguments, &error));
    json_decref(arguments);
    return error;
}

static void assert_refused(const char *error, const char *word)
{
    assert_non_null(error);
    if (!strstr(error, word))
        fail_msg("'%s' does not say '%s'", error, word);
}

static void overlay(const char *node)
{
    char path[200];

    snprintf(path, sizeof(path), "%s/%s", sim_host_path(), node);
    sim_image_make(path, "qcow2", qemu->disks[0].root->path, "qcow2");
    assert_null(tell("blockdev-add", "{'node-name': '%s', 'driver': 'qcow2', 'backing': null,"
                     " 'file': {'driver': 'file', 'filename': '%s'}}", node, path));
}

static const char *snapshot(const char *node)
{
    return tell("blockdev-snapshot", "{'node': '%s', 'overlay': '%s'}", qemu->disks[0].root->name, node);
}

static void nodes_are_added_once_and_go_when_nobody_has_them(void **state)
{
    (void)state;
    overlay("n1");
    assert_refused(tell("blockdev-add", "{'node-name': 'n1', 'driver': 'raw', 'file': 'n1'}"), "Duplicate");
    assert_refused(tell("blockdev-add", "{'node-name': 'x', 'driver': 'raw', 'file': 'nope'}"), "Cannot find");
    assert_refused(tell("blockdev-add", "{'node-name': 'x', 'driver': 'qcow2', 'file':"
                        " {'driver': 'file', 'filename': '/nope'}}"), "No such file");
    assert_refused(tell("blockdev-add", "{'node-name': 'x', 'driver': 'qcow2', 'file':"
                        " {'driver': 'file', 'filename': '%s'}}", qemu->disks[0].root->path), "lock");
    assert_null(snapshot("n1"));
    assert_refused(tell("blockdev-del", "{'node-name': 'n1'}"), "in use");
    assert_refused(tell("blockdev-del", "{'node-name': 'nope'}"), "Failed to find");
    assert_refused(tell("blockdev-del", "{'node-name': '%s'}", qemu->disks[0].root->backing->name),
                   "not owned");
    assert_refused(snapshot("n1"), "already");
}

static void one_job_has_a_chain(void **state)
{
    const char *base;

    (void)state;
    overlay("n1");
    base = qemu->disks[0].root->name;
    assert_null(snapshot("n1"));
    assert_refused(tell("block-commit", "{'job-id': 'j', 'device': 'nope', 'base-node': '%s'}", base),
                   "Cannot find");
    assert_null(tell("block-commit", "{'job-id': 'j', 'device': 'd0', 'base-node': '%s',"
                     " 'auto-dismiss': false}", base));
    assert_refused(tell("block-commit", "{'job-id': 'j2', 'device': 'd0', 'base-node': '%s'}", base), "busy");
    assert_refused(tell("job-complete", "{'id': 'j'}"), "cannot accept");
    overlay("n2");
    assert_refused(tell("blockdev-snapshot", "{'node': 'n1', 'overlay': 'n2'}"), "busy");
    for (int i = 0; i < 4; i++)
        sim_jobs_tick(qemu);
    assert_null(tell("job-complete", "{'id': 'j'}"));
    assert_string_equal(qemu->disks[0].root->name, base);
    assert_refused(tell("block-job-cancel", "{'device': 'j'}"), "concluded");
    assert_refused(tell("job-complete", "{'id': 'nope'}"), "not found");
    assert_null(tell("job-dismiss", "{'id': 'j'}"));
    assert_null(qemu->jobs);
}

static void nothing_is_committed_below_what_others_stand_on(void **state)
{
    struct sim_node *base = qemu->disks[0].root;

    (void)state;
    overlay("n1");
    overlay("n2");
    assert_null(snapshot("n1"));
    sim_node_find(qemu, "n2")->backing = base;
    assert_refused(tell("block-commit", "{'job-id': 'j', 'device': 'd0', 'base-node': '%s'}", base->name),
                   "Conflicts");
}

static void memory_is_saved_once_and_needs_a_descriptor(void **state)
{
    (void)state;
    assert_refused(tell("migrate", "{'uri': 'fd:nope'}"), "descriptor");
    assert_refused(tell("migrate-incoming", "{'uri': 'fd:nope'}"), "already");
    assert_refused(tell("closefd", "{'fdname': 'nope'}"), "not found");
    qemu->status = "postmigrate";
    assert_refused(tell("migrate", "{'uri': 'fd:nope'}"), "Can't migrate");
    qemu->status = "finish-migrate";
    assert_refused(tell("cont", "{}"), "not finalized");
    qemu->status = "restore-vm";
    assert_refused(tell("cont", "{}"), "Resetting");
    qemu->status = "inmigrate";
    assert_refused(tell("snapshot-save", "{'job-id': 'j', 'tag': 't', 'vmstate': 'n1'}"), "incoming");
    assert_null(tell("cont", "{}"));
    assert_string_equal(qemu->status, "inmigrate");
}

static void a_state_that_is_not_there_leaves_no_guest(void **state)
{
    (void)state;
    overlay("n1");
    assert_null(tell("stop", "{}"));
    assert_null(tell("snapshot-load", "{'job-id': 'j', 'tag': 't', 'vmstate': 'n1'}"));
    assert_non_null(qemu->jobs->error);
    assert_string_equal(qemu->status, "restore-vm");
    assert_refused(tell("snapshot-load", "{'job-id': 'j', 'tag': 't', 'vmstate': 'n1'}"), "in use");
}

static void a_device_is_not_given_what_it_has(void **state)
{
    (void)state;
    overlay("n1");
    assert_refused(tell("qom-set", "{'path': '%s', 'property': 'drive', 'value': 'nope'}",
                        qemu->disks[0].qdev), "can't find");
    assert_refused(tell("qom-set", "{'path': '/nope', 'property': 'drive', 'value': 'n1'}"), "not found");
    assert_null(tell("qom-set", "{'path': '%s', 'property': 'drive', 'value': 'n1'}", qemu->disks[0].qdev));
    assert_true(qemu->alive);
    assert_null(tell("qom-set", "{'path': '%s', 'property': 'drive', 'value': 'n1'}", qemu->disks[0].qdev));
    assert_false(qemu->alive);
    assert_true(qemu->aborted);
}

static void a_second_process_waits_for_the_images(void **state)
{
    struct sim_qemu *first = qemu, *second;
    char word[300];
    char *argv[] = { (char *)"qemu", (char *)"-S", (char *)"-drive", word, NULL };

    (void)state;
    snprintf(word, sizeof(word), "file=%s,if=virtio,id=d0,format=qcow2", qemu->disks[0].root->path);
    second = sim_qemu_start(argv);
    assert_false(second->alive);
    sim_qemu_end(first, 9);
    second = sim_qemu_start(argv);
    assert_true(second->alive);
    assert_string_equal(second->status, "prelaunch");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nodes_are_added_once_and_go_when_nobody_has_them, begin, end),
        cmocka_unit_test_setup_teardown(one_job_has_a_chain, begin, end),
        cmocka_unit_test_setup_teardown(nothing_is_committed_below_what_others_stand_on, begin, end),
        cmocka_unit_test_setup_teardown(memory_is_saved_once_and_needs_a_descriptor, begin, end),
        cmocka_unit_test_setup_teardown(a_state_that_is_not_there_leaves_no_guest, begin, end),
        cmocka_unit_test_setup_teardown(a_device_is_not_given_what_it_has, begin, end),
        cmocka_unit_test_setup_teardown(a_second_process_waits_for_the_images, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
