/* SPDX-License-Identifier: GPL-2.0-or-later */
/* reserved: names of ours that a client's command would give, and those that it only uses. */
#include "tests/unit/json_text.h"

#include "policy/reason.h"
#include "policy/reserved.h"

static bool gives(const char *command, const char *arguments)
{
    json_t *parsed = arguments ? json_text(arguments) : NULL;
    struct err err = ERR_INIT;
    bool ok = reserved_check(command, parsed, &err);

    assert_int_equal(ok, !err.set);
    if (!ok)
        assert_string_equal(err.reason, REASON_BAD_NAME);
    err_clear(&err);
    json_decref(parsed);
    return !ok;
}

static void names_that_are_given(void **state)
{
    (void)state;
    assert_true(gives("blockdev-add", "{'node-name': 'qsnap-1'}"));
    assert_true(gives("blockdev-add", "{'node-name': 'a', 'file': {'node-name': 'qsnap-1'}}"));
    assert_true(gives("blockdev-add", "{'children': [{'x': 1}, {'node-name': 'qsnap-1'}], 'a': 2}"));
    assert_true(gives("block-commit", "{'job-id': 'qsnap-undo'}"));
    assert_true(gives("transaction", "{'actions': [{'data': {'snapshot-node-name': 'qsnap-1'}}]}"));
    assert_true(gives("getfd", "{'fdname': 'qsnap-memory'}"));
    assert_true(gives("human-monitor-command", "{'command-line': 'drive_add 0 node-name=qsnap-1'}"));
    assert_true(gives("blockdev-add", "'{a text with qsnap-1}'"));
}

static void names_that_are_used(void **state)
{
    (void)state;
    assert_false(gives("blockdev-add", NULL));
    assert_false(gives("blockdev-add", "{'node-name': 'qsnap', 'file': 'qsnap-1', 'backing': 'qsnap-2'}"));
    assert_false(gives("blockdev-add", "{'node-name': 7}"));
    assert_false(gives("block-commit", "{'job-id': 'mine', 'top-node': 'qsnap-2', 'base-node': 'qsnap-1'}"));
    assert_false(gives("blockdev-snapshot-sync", "{'node-name': 'qsnap-2', 'snapshot-node-name': 'x'}"));
    assert_false(gives("human-monitor-command", "{'command-line': 'info block -n qsnap-1'}"));
    assert_false(gives("blockdev-add", "'{a text}'"));
    assert_false(gives("blockdev-del", "{'node-name': 'qsnap-1'}"));
    assert_false(reserved_concerned("blockdev-del"));
    assert_true(reserved_concerned("blockdev-add"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_are_given),
        cmocka_unit_test(names_that_are_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
