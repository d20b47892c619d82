/* SPDX-License-Identifier: GPL-2.0-or-later */
/* recover_present: a revert by replace was interrupted when its first QEMU had ended and no second one was there.
 * The guest goes on where it stopped, if that is certain; if it is certain that it cannot, it boots. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "policy/state.h"
#include "tests/sim/sim_check.h"
#include "tests/sim/sim_check_internal.h"
#include "tests/sim/sim_machines.h"
#include "tests/sim/sim_proxy.h"
#include "tests/unit/json_text.h"

/* The files that matter: the memory that was kept, and the image that the guest writes to. */
static char *memory, *image;

static bool is_alive(void)
{
    for (const struct sim_qemu *qemu = sim_qemu_first(); qemu; qemu = qemu->next)
        if (qemu->alive)
            return true;
    return false;
}

static void note_files(void)
{
    char path[4096];
    json_t *journal;

    image = strdup(sim_layer_path(state_str(state_disk(sim_record(), "drive:d0"), "active")));
    snprintf(path, sizeof(path), "%s/journal.json", sim_proxy()->store->path);
    journal = json_load_file(path, 0, NULL);
    memory = strdup(state_str(json_object_get(json_object_get(json_object_get(journal, "plan"), "present"),
                                              "memory"), "file"));
    json_decref(journal);
}

/* Neither QEMU nor a proxy is there any more. */
static int interrupt(void **state)
{
    static const struct sim_machine machine = { .disks = 1, .version = 7 };
    json_t *create = json_text("{'name': 's1'}");
    json_t *revert = json_text("{'name': 's1', 'discard': true, 'method': 'replace'}");

    (void)state;
    sim_machine_begin(&machine);
    json_decref(sim_ask("snapshot-create", create));
    sim_send("snapshot-revert", revert);
    while (is_alive())
        assert_true(sim_turn());
    note_files();
    sim_proxy_kill();
    json_decref(create);
    json_decref(revert);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(memory);
    free(image);
    sim_machine_end();
    return 0;
}

static void assert_goes_on(void)
{
    assert_true(sim_proxy_start());
    assert_true(sim_main()->given && !sim_main()->cold);
    assert_string_equal(sim_main()->status, "running");
    sim_check_world();
}

static void guest_goes_on_where_it_stopped(void **state)
{
    (void)state;
    assert_goes_on();
}

static void guest_whose_disk_was_written_to_boots(void **state)
{
    (void)state;
    sim_image_write(sim_image_find(image), 2, 99);
    assert_true(sim_proxy_start());
    assert_true(sim_main()->cold && !sim_main()->given);
    sim_check_world();
}

static void guest_whose_memory_is_gone_boots(void **state)
{
    (void)state;
    assert_int_equal(unlink(memory), 0);
    assert_true(sim_proxy_start());
    assert_true(sim_main()->cold && !sim_main()->given);
    sim_check_world();
}

/* It is there, and nobody can say what is in it: that is no reason to throw it away. */
static void memory_that_cannot_be_looked_at_is_waited_for(void **state)
{
    char away[4200];

    (void)state;
    snprintf(away, sizeof(away), "%s/away", sim_host_path());
    assert_int_equal(rename(memory, away), 0);
    assert_int_equal(symlink(away, memory), 0);
    assert_false(sim_proxy_start());
    assert_non_null(strstr(sim_proxy_error(), "cannot be told"));
    assert_int_equal(unlink(memory), 0);
    assert_int_equal(rename(away, memory), 0);
    assert_goes_on();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(guest_goes_on_where_it_stopped, interrupt, end),
        cmocka_unit_test_setup_teardown(guest_whose_disk_was_written_to_boots, interrupt, end),
        cmocka_unit_test_setup_teardown(guest_whose_memory_is_gone_boots, interrupt, end),
        cmocka_unit_test_setup_teardown(memory_that_cannot_be_looked_at_is_waited_for, interrupt, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
