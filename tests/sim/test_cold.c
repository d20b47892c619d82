/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recover_cold: QEMU and the proxy have both ended in the middle of an operation: what the guest wrote is kept. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "policy/state.h"
#include "tests/sim/sim_check.h"
#include "tests/sim/sim_check_internal.h"
#include "tests/sim/sim_machines.h"
#include "tests/sim/sim_proxy.h"
#include "tests/unit/json_text.h"

static const char *active_image(void)
{
    return sim_layer_path(state_str(state_disk(sim_record(), "drive:d0"), "active"));
}

/* What is left is settled before QEMU runs: the journal is gone by then. */
static void start(void)
{
    char path[4200];

    assert_true(sim_proxy_launch());
    snprintf(path, sizeof(path), "%s/journal.json", sim_proxy()->store->path);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(sim_settle());
}

static void disk_that_has_moved_stays_on_its_overlay(void **state)
{
    static const struct sim_machine machine = { .disks = 1, .version = 7 };
    json_t *create = json_text("{'name': 's1', 'memory': 'none'}");
    struct sim_qemu *qemu;
    char *overlay, *before;

    (void)state;
    sim_machine_begin(&machine);
    qemu = sim_main();
    before = strdup(sim_node_image(qemu->disks[0].root)->path);
    sim_send("snapshot-create", create);
    while (strcmp(sim_node_image(qemu->disks[0].root)->path, before) == 0)
        assert_true(sim_turn());
    overlay = strdup(sim_node_image(qemu->disks[0].root)->path);
    sim_proxy_kill();
    sim_qemu_end(qemu, 9);
    sim_image_write(sim_image_find(overlay), 2, 99);
    start();
    assert_string_equal(active_image(), overlay);
    assert_int_equal(sim_image_read(sim_image_find(overlay), 2), 99);
    assert_null(state_snapshot(sim_record(), "s1"));
    sim_check_world();
    json_decref(create);
    free(overlay);
    free(before);
    sim_machine_end();
}

static struct sim_qemu *alive(void)
{
    struct sim_qemu *qemu = sim_qemu_first();

    while (qemu && !qemu->alive)
        qemu = qemu->next;
    return qemu;
}

/* The second one had let the guest go on: no third one loads what it was given. */
static void revert_behind_its_commit_point_is_finished(void **state)
{
    static const struct sim_machine machine = { .disks = 1, .version = 7 };
    json_t *create = json_text("{'name': 's1'}"), *revert = json_text("{'name': 's1', 'discard': true}");
    struct sim_qemu *first;
    char *overlay;

    (void)state;
    sim_machine_begin(&machine);
    json_decref(sim_ask("snapshot-create", create));
    first = sim_main();
    sim_send("snapshot-revert", revert);
    while (first->alive)
        assert_true(sim_turn());
    overlay = strdup(sim_node_image(alive()->disks[0].root)->path);
    sim_proxy_kill();
    sim_qemu_end(alive(), 9);
    sim_image_write(sim_image_find(overlay), 2, 99);
    start();
    assert_string_equal(active_image(), overlay);
    assert_string_equal(state_str(sim_record(), "current"), "s1");
    assert_int_equal(sim_image_read(sim_image_find(overlay), 2), 99);
    assert_true(sim_main()->cold);
    sim_check_world();
    json_decref(create);
    json_decref(revert);
    free(overlay);
    sim_machine_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_that_has_moved_stays_on_its_overlay),
        cmocka_unit_test(revert_behind_its_commit_point_is_finished),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
