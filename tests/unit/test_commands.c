/* SPDX-License-Identifier: GPL-2.0-or-later */
/* commands: the table is sorted, and puts into each class what belongs there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "policy/commands.c" /* the rows themselves are checked */
#include "policy/reason.h"

#define ROWS (sizeof(command_rows) / sizeof(command_rows[0]))

/* A row out of order is one that bsearch() does not find, or that hides another. */
static void rows_are_sorted(void **state)
{
    (void)state;
    for (size_t i = 1; i < ROWS; i++)
        if (strcmp(command_rows[i - 1].name, command_rows[i].name) >= 0)
            fail_msg("'%s' stands before '%s'", command_rows[i - 1].name, command_rows[i].name);
}

static void every_row_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        assert_in_range(command_rows[i].class, 0, COMMAND__COUNT - 1);
        if (command_classify(command_rows[i].name) != command_rows[i].class)
            fail_msg("'%s' is not found", command_rows[i].name);
    }
}

static void what_is_not_known_conflicts(void **state)
{
    static const char *const names[] = {
        "", "stop", "cont", "system_reset", "migrate", "migrate_cancel", "migrate-incoming",
        "transaction", "blockdev-snapshot", "blockdev-snapshot-sync", "block-commit",
        "block-stream", "blockdev-backup", "blockdev-mirror", "job-cancel", "job-complete",
        "snapshot-load", "snapshot-save", "migrate-set-capabilities", "quit2", "qui", "Quit",
        "query", "xquery-x", "query_status", "block-dirty-bitmap-add", "no-such-command", NULL,
    };

    (void)state;
    for (size_t i = 0; names[i]; i++)
        if (command_classify(names[i]) != COMMAND_CONFLICT)
            fail_msg("'%s' would pass", names[i]);
}

static void classes_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(command_classify("query-status"), COMMAND_PASS);
    assert_int_equal(command_classify("query-no-such-thing"), COMMAND_PASS);
    assert_int_equal(command_classify("x-query-usb"), COMMAND_PASS);
    assert_int_equal(command_classify("qmp_capabilities"), COMMAND_PASS);
    assert_int_equal(command_classify("human-monitor-command"), COMMAND_HUMAN);
    assert_int_equal(command_classify("device_add"), COMMAND_CONFIG);
    assert_int_equal(command_classify("blockdev-add"), COMMAND_CONFIG);
    assert_int_equal(command_classify("qom-set"), COMMAND_CONFIG);
}

static void own_commands_are_known(void **state)
{
    static const char *const names[] = {
        "snapshot-create", "snapshot-revert", "snapshot-delete", "query-snapshots", NULL,
    };
    size_t n = 0;

    (void)state;
    while (command_synthetic[n])
        n++;
    assert_int_equal(n, 4);
    for (size_t i = 0; names[i]; i++)
        assert_true(command_is_synthetic(names[i]));
    assert_false(command_is_synthetic("snapshot-save"));
    assert_false(command_is_synthetic("snapshot-creat"));
    assert_false(command_is_synthetic("snapshot-create "));
    assert_false(command_is_synthetic(""));
}

static void lines_that_only_show_are_harmless(void **state)
{
    static const char *const harmless[] = {
        "info", "info block", " \tinfo block", "info\tblock", "help", "help info", "?", "? info",
        "print 1", "print/x 1", "p/x $pc", "x/4x 0", "xp /8b 0", NULL,
    };
    static const char *const others[] = {
        "", " ", "informal", "infoblock", "stop", "x_colo", "px", "c", "commit all", "savevm a",
        "loadvm a", "i /b 0", "INFO block", "/info", "system_reset", "pmemsave 0 1 f", NULL,
    };

    (void)state;
    for (size_t i = 0; harmless[i]; i++)
        if (!command_human_is_harmless(harmless[i]))
            fail_msg("'%s' is harmless", harmless[i]);
    for (size_t i = 0; others[i]; i++)
        if (command_human_is_harmless(others[i]))
            fail_msg("'%s' is not harmless", others[i]);
}

/* Clients rely on the words, and the manual page is checked against the table. */
static void reasons_are_different_words_with_a_meaning(void **state)
{
    (void)state;
    for (const struct reason_row *row = reason_table; row->word; row++) {
        assert_int_equal(strspn(row->word, "abcdefghijklmnopqrstuvwxyz-"), strlen(row->word));
        assert_true(strlen(row->meaning) > 10);
        for (const struct reason_row *other = reason_table; other != row; other++)
            assert_string_not_equal(row->word, other->word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sorted),
        cmocka_unit_test(every_row_is_found),
        cmocka_unit_test(what_is_not_known_conflicts),
        cmocka_unit_test(classes_are_told_apart),
        cmocka_unit_test(own_commands_are_known),
        cmocka_unit_test(lines_that_only_show_are_harmless),
        cmocka_unit_test(reasons_are_different_words_with_a_meaning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
