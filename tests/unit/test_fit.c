/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fit: what is read of a process and of a program, what fits what, and what a plan makes of it. */
#include "tests/unit/planner_world.h"

#include <stdio.h>

#undef expect_check             /* cmocka has a macro of that name */
#include "policy/expect.h"
#include "policy/fit.h"
#include "policy/reason.h"
#include "policy/state.h"

#define S1 "{'name': 's1', 'discard': true}"
#define FACTS "{'qemu': [7, 2, 22], 'package': 'P', 'machine': 'pc-i440fx-7.2'," \
              " 'accelerator': 'tcg', 'cpu': 'qemu64-x86_64-cpu', 'cpus': 2, 'memory': 67108864}"

static void facts_are_read_from_answers(void **state)
{
    static const struct {
        const char *answers, *facts;
    } rows[] = {
        { "{'version': {'qemu': {'major': 7, 'minor': 2, 'micro': 22}, 'package': 'P'},"
          " 'machine': 'pc-i440fx-7.2-machine', 'kvm': {'enabled': false, 'present': true},"
          " 'cpus': [{'cpu-index': 0}, {'cpu-index': 1}],"
          " 'slots': [{'type': 'qemu64-x86_64-cpu'}, {'type': 'qemu64-x86_64-cpu'}],"
          " 'memory': {'base-memory': 67108864, 'plugged-memory': 4096}}", FACTS },
        { "{'version': {'qemu': {'major': 10, 'minor': 0, 'micro': 2}, 'package': ''},"
          " 'machine': 'microvm-machine', 'kvm': {'enabled': true}, 'cpus': [{}], 'slots': null,"
          " 'memory': null}",
          "{'qemu': [10, 0, 2], 'machine': 'microvm', 'accelerator': 'kvm', 'cpus': 1}" },
        { "{'version': null, 'machine': '-machine', 'kvm': null, 'cpus': [], 'slots': []}", "{}" },
        { "{}", "{}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *answers = json_text(rows[i].answers), *facts = fit_read(answers);

        assert_json_is(facts, rows[i].facts);
        json_decref(answers);
        json_decref(facts);
    }
}

static void program_is_read_from_what_it_prints(void **state)
{
    static const struct {
        const char *version, *machines, *facts;
    } rows[] = {
        { "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003-2022\n",
          "Supported machines are:\nmicrovm              microvm (i386)\n"
          "pc                   Standard PC (alias of pc-i440fx-7.2)\n"
          "pc-i440fx-7.2        Standard PC (default)\n",
          "{'qemu': [7, 2, 22], 'package': 'Debian 1:7.2+dfsg-7',"
          " 'machines': ['microvm', 'pc', 'pc-i440fx-7.2']}" },
        { "starting\nQEMU emulator version 10.0.2\nCopyright (c)", "Supported machines are:\n",
          "{'qemu': [10, 0, 2]}" },
        { "QEMU emulator version x.y", "", "{}" },
        { "", "no machines\n\n", "{}" },
        { NULL, NULL, "{}" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *facts = fit_read_program(rows[i].version, rows[i].machines);

        assert_json_is(facts, rows[i].facts);
        json_decref(facts);
    }
}

/* change: what the process has instead; word: what the sentence says beside both values. */
static void process_fits_or_both_values_are_told(void **state)
{
    static const struct {
        const char *change, *reason, *saved, *found, *word;
    } rows[] = {
        { "{}", NULL, NULL, NULL, NULL },
        { "{'package': 'Q'}", NULL, NULL, NULL, NULL },
        { "{'qemu': [7, 2, 23]}", NULL, NULL, NULL, NULL },
        { "{'qemu': [7, 10, 0]}", NULL, NULL, NULL, NULL },
        { "{'qemu': [10, 0, 2]}", NULL, NULL, NULL, NULL },
        { "{'qemu': [7, 2, 21]}", "version-mismatch", "7.2.22 (P)", "7.2.21 (P)", "or newer" },
        { "{'qemu': [7, 1, 99]}", "version-mismatch", "7.2.22 (P)", "7.1.99 (P)", "older" },
        { "{'qemu': [6, 9, 99]}", "version-mismatch", "7.2.22 (P)", "6.9.99 (P)", "older" },
        { "{'machine': 'pc-q35-7.2'}", "machine-mismatch", "pc-i440fx-7.2", "pc-q35-7.2",
          "machine type" },
        { "{'accelerator': 'kvm'}", "machine-mismatch", "tcg", "kvm", "accelerator" },
        { "{'cpu': 'max-x86_64-cpu'}", "machine-mismatch", "qemu64-x86_64-cpu", "max-x86_64-cpu",
          "CPU model" },
        { "{'cpus': 1}", "machine-mismatch", "2", "1", "number of CPUs" },
        { "{'memory': 33554432}", "machine-mismatch", "67108864", "33554432", "memory size" },
        { "{'machine': null}", "machine-mismatch", "pc-i440fx-7.2", "unknown", "machine type" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *saved = json_text(FACTS), *now = json_text(FACTS);
        json_t *change = json_text(rows[i].change);
        struct err err = ERR_INIT;

        json_object_update(now, change);
        assert_int_equal(fit_compare(json_object_get(saved, "qemu"), saved, now, &err),
                         rows[i].reason == NULL);
        if (rows[i].reason) {
            assert_string_equal(err.reason, rows[i].reason);
            assert_string_equal(state_str(err.data, "saved"), rows[i].saved);
            assert_string_equal(state_str(err.data, "found"), rows[i].found);
            assert_non_null(strstr(err.desc, rows[i].saved));
            assert_non_null(strstr(err.desc, rows[i].found));
            assert_non_null(strstr(err.desc, rows[i].word));
        }
        err_clear(&err);
        json_decref(saved);
        json_decref(now);
        json_decref(change);
    }
}

static void older_records_are_compared_in_what_they_have(void **state)
{
    json_t *now = json_text(FACTS), *qemu = json_text("[7, 2]"), *newer = json_text("[8, 0]");
    json_t *fit = json_text("{'cpus': 2}");
    struct err err = ERR_INIT;

    (void)state;
    assert_true(fit_compare(NULL, NULL, now, &err));
    assert_true(fit_compare(qemu, NULL, now, &err));
    assert_true(fit_compare(qemu, fit, now, &err));
    assert_false(fit_compare(newer, NULL, now, &err));
    assert_non_null(strstr(err.desc, "8.0.0"));
    err_clear(&err);
    json_decref(now);
    json_decref(qemu);
    json_decref(newer);
    json_decref(fit);
}

static void expectation_asks_for_the_facts_and_compares(void **state)
{
    json_t *expect = json_text("{'is': 'fit', 'qemu': [7, 2, 22], 'fit': {'machine': 'pc-q35-7.2'}}");
    json_t *good = json_text("{'version': {'qemu': {'major': 7, 'minor': 2, 'micro': 22}},"
                             " 'machine': 'pc-q35-7.2-machine'}");
    json_t *bad = json_text("{'version': {'qemu': {'major': 7, 'minor': 2, 'micro': 22}},"
                            " 'machine': 'pc-i440fx-7.2-machine'}");
    json_t *none = json_text("{'version': null, 'machine': 'pc-q35-7.2-machine'}");
    json_t *queries = expect_queries(expect), *any = json_text("{'is': 'any'}"), *nothing;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(json_array_size(queries), FIT_QUERIES);
    assert_json_is(json_array_get(queries, 1), "{'as': 'machine', 'execute': 'qom-get',"
                   " 'arguments': {'path': '/machine', 'property': 'type'}}");
    nothing = expect_queries(any);
    assert_int_equal(json_array_size(nothing), 0);
    assert_int_equal(expect_check(expect, good, &err), EXPECT_YES);
    assert_int_equal(expect_check(expect, bad, &err), EXPECT_NO);
    assert_string_equal(err.reason, REASON_MACHINE_MISMATCH);
    assert_true(expect_is_refusal(&err));
    err_clear(&err);
    assert_int_equal(expect_check(expect, none, &err), EXPECT_NO);
    assert_string_equal(err.reason, REASON_UNEXPECTED_ANSWER);
    assert_false(expect_is_refusal(&err));
    err_clear(&err);
    json_object_set_new(expect, "qemu", json_integer(7));
    assert_int_equal(expect_check(expect, good, &err), EXPECT_NO);
    assert_string_equal(err.reason, REASON_BAD_PLAN);
    err_clear(&err);
    json_decref(expect);
    json_decref(good);
    json_decref(bad);
    json_decref(none);
    json_decref(queries);
    json_decref(any);
    json_decref(nothing);
}

/* ---- plans ---- */

static struct planner_world *saved_world(const char *line)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    char words[512];

    snprintf(words, sizeof(words), "%s -drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2 "
             "-drive file=/i/b.raw,if=ide,id=d1,format=raw", line);
    world_args(world, words);
    world->w.fit = json_text(FACTS);
    world_create(world, "s1");
    return world;
}

static void snapshot_records_the_facts_and_the_plan_checks_them(void **state)
{
    struct planner_world *world = saved_world("-m 64");
    const json_t *snapshot = state_snapshot(world->state, "s1");
    json_t *plan = world_plan(world, planner_revert, S1), *facts = json_text(FACTS);

    (void)state;
    assert_json_is(json_object_get(snapshot, "qemu"), "[7, 2, 22]");
    json_object_del(facts, "qemu");
    assert_json(json_object_get(snapshot, "fit"), facts);
    assert_string_equal(state_str(plan_step(plan, "check-fit", 0), "on"), "next");
    assert_json(json_object_get(json_object_get(plan_step(plan, "check-fit", 0), "expect"), "fit"),
                facts);
    json_decref(plan);
    json_decref(facts);
    world_free(world);
}

/* The type that ran, behind whatever the user wrote; nothing where the user wrote just that. */
static void machine_is_pinned(void **state)
{
    static const struct {
        const char *line, *pinned;
    } rows[] = {
        { "-m 64", "-machine type=pc-i440fx-7.2" },
        { "-M pc,usb=on", "-machine type=pc-i440fx-7.2" },
        { "-machine type=pc -machine usb=on", "-machine type=pc-i440fx-7.2" },
        { "-machine accel=kvm:tcg", "-machine type=pc-i440fx-7.2" },
        { "-M q35 -M pc-i440fx-7.2,usb=on", NULL },
        { "-machine type=pc-i440fx-7.2", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int disks_only = 0; disks_only < 2; disks_only++) {
            struct planner_world *world = saved_world(rows[i].line);
            json_t *plan = world_plan(world, planner_revert,
                                      disks_only ? "{'name': 's1', 'discard': true,"
                                                   " 'state': 'prelaunch'}" : S1);
            char *words = world_words(plan);
            const char *last = strstr(words, "-machine type=pc-i440fx-7.2");

            if (rows[i].pinned ? !last || !strstr(words, rows[i].line)
                               : last != strstr(words, "-machine"))
                fail_msg("%s: %s", rows[i].line, words);
            plan_step(plan, disks_only ? "started" : "check-fit", 0); /* is there */
            free(words);
            json_decref(plan);
            world_free(world);
        }
}

/* Only memory has to fit; a machine that is not there is not asked for. */
static void program_that_cannot_load_is_refused_before_anything(void **state)
{
    static const struct {
        const char *program, *reason, *saved;
        bool pinned;
    } rows[] = {
        { "{}", NULL, NULL, true },
        { "{'qemu': [7, 2, 22]}", NULL, NULL, true },
        { "{'qemu': [10, 0, 2], 'machines': ['pc', 'pc-i440fx-7.2']}", NULL, NULL, true },
        { "{'qemu': [7, 2, 21]}", REASON_VERSION_MISMATCH, "7.2.22 (P)", true },
        { "{'qemu': [10, 0, 2], 'machines': ['pc', 'pc-i440fx-10.0']}", REASON_MACHINE_MISMATCH,
          "pc-i440fx-7.2", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct planner_world *world = saved_world("-M pc");
        struct err err = ERR_INIT;
        json_t *plan, *request = json_text(S1);
        char *words;

        world->w.program = json_text(rows[i].program);
        plan = planner_revert(&world->w, world->state, request, &err);
        assert_true((plan == NULL) == (rows[i].reason != NULL));
        if (rows[i].reason) {
            assert_string_equal(err.reason, rows[i].reason);
            assert_string_equal(state_str(err.data, "saved"), rows[i].saved);
        }
        json_decref(plan);
        plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true,"
                                                 " 'state': 'prelaunch'}");
        words = world_words(plan);
        assert_true((strstr(words, "type=pc-i440fx-7.2") != NULL) == rows[i].pinned);
        free(words);
        json_decref(plan);
        json_decref(request);
        err_clear(&err);
        world_free(world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_are_read_from_answers),
        cmocka_unit_test(program_is_read_from_what_it_prints),
        cmocka_unit_test(process_fits_or_both_values_are_told),
        cmocka_unit_test(older_records_are_compared_in_what_they_have),
        cmocka_unit_test(expectation_asks_for_the_facts_and_compares),
        cmocka_unit_test(snapshot_records_the_facts_and_the_plan_checks_them),
        cmocka_unit_test(machine_is_pinned),
        cmocka_unit_test(program_that_cannot_load_is_refused_before_anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
