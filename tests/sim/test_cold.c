/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recover_create: QEMU and the proxy have both ended in the middle of a create: what the guest wrote is kept. */
#include <stdlib.h>

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
    assert_true(sim_proxy_start());
    assert_string_equal(active_image(), overlay);
    assert_int_equal(sim_image_read(sim_image_find(overlay), 2), 99);
    assert_null(state_snapshot(sim_record(), "s1"));
    sim_check_world();
    json_decref(create);
    free(overlay);
    free(before);
    sim_machine_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_that_has_moved_stays_on_its_overlay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
