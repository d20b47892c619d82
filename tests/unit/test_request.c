/* SPDX-License-Identifier: GPL-2.0-or-later */
/* request: arguments of our commands; those of snapshot-delete that are QEMU's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "policy/reason.h"
#include "policy/request.h"

/* new; NULL for "". */
static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *out = text[0] ? json_loads(text, JSON_ALLOW_NUL, &error) : NULL;

    if (text[0] && !out)
        fail_msg("%s: %s", text, error.text);
    return out;
}

struct row {
    const char *command, *arguments;
    const char *desc;           /* what the error says; NULL: fine */
};

static void check_rows(const struct row *rows)
{
    for (; rows->command; rows++) {
        json_t *arguments = parse(rows->arguments), *copy = json_deep_copy(arguments);
        struct err err = ERR_INIT;
        bool ok = request_check(rows->command, arguments, &err);

        if (ok != !rows->desc || err.set == ok)
            fail_msg("%s %s: %s", rows->command, rows->arguments, ok ? "was taken" : err.desc);
        if (!ok && !strstr(err.desc, rows->desc))
            fail_msg("%s %s: %s", rows->command, rows->arguments, err.desc);
        if (!ok)
            assert_string_equal(err.class_name, "GenericError");
        assert_true(json_equal(arguments, copy) || !arguments);
        err_clear(&err);
        json_decref(arguments);
        json_decref(copy);
    }
}

static void what_the_schema_says_is_taken(void **state)
{
    static const struct row rows[] = {
        { "snapshot-create", "{\"name\": \"s1\"}", NULL },
        { "snapshot-create",
          "{\"name\": \"s1\", \"description\": \"\", \"disks\": [\"d0\", \"d1\"],"
          "\"memory\": \"vmstate\", \"live\": false, \"job-id\": \"j.1-a_b\", \"dry-run\": true}",
          NULL },
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"stream\", \"disks\": []}", NULL },
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"none\"}", NULL },
        { "snapshot-revert", "{\"name\": \"s1\", \"state\": \"as-saved\", \"method\": \"auto\","
          "\"discard\": true, \"save-as\": \"s2\", \"job-id\": \"j\", \"dry-run\": false}", NULL },
        { "snapshot-revert",
          "{\"name\": \"s1\", \"state\": \"prelaunch\", \"method\": \"replace\"}", NULL },
        { "snapshot-delete", "{\"name\": \"s1\", \"children\": \"only\", \"direction\": \"stream\","
          "\"metadata-only\": true, \"job-id\": \"j\", \"dry-run\": false}", NULL },
        { "query-snapshots", "", NULL },
        { "query-snapshots", "{}", NULL },
        { "query-snapshots", "{\"name\": \"s1\", \"verify\": true}", NULL },
        { NULL, NULL, NULL },
    };

    (void)state;
    check_rows(rows);
}

static void words_of_refusals_are_those_of_qemu(void **state)
{
    static const struct row rows[] = {
        { "snapshot-create", "", "Parameter 'name' is missing" },
        { "snapshot-revert", "{}", "Parameter 'name' is missing" },
        { "snapshot-delete", "{\"nme\": \"s1\"}", "Parameter 'name' is missing" },
        { "snapshot-create", "{\"name\": 1}",
          "Invalid parameter type for 'name', expected: string" },
        { "snapshot-create", "{\"name\": null}",
          "Invalid parameter type for 'name', expected: string" },
        { "snapshot-create", "{\"name\": \"s1\", \"live\": \"on\"}",
          "Invalid parameter type for 'live', expected: boolean" },
        { "snapshot-create", "{\"name\": \"s1\", \"live\": 1}",
          "Invalid parameter type for 'live', expected: boolean" },
        { "snapshot-create", "{\"name\": \"s1\", \"disks\": \"d0\"}",
          "Invalid parameter type for 'disks', expected: array" },
        { "snapshot-create", "{\"name\": \"s1\", \"disks\": [\"d0\", 1]}",
          "Invalid parameter type for 'disks', expected: string" },
        { "snapshot-create", "{\"name\": \"s1\", \"disks\": null}",
          "Invalid parameter type for 'disks', expected: array" },
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"all\"}",
          "Parameter 'memory' does not accept value 'all'" },
        { "snapshot-create", "{\"name\": \"s1\", \"description\": []}",
          "Invalid parameter type for 'description', expected: string" },
        { "snapshot-create", "{\"name\": \"s1\", \"nane\": \"s2\"}",
          "Parameter 'nane' is unexpected" },
        { "snapshot-create", "{\"name\": \"s1\", \"discard\": true}",
          "Parameter 'discard' is unexpected" },
        { "query-snapshots", "{\"job-id\": \"j\"}", "Parameter 'job-id' is unexpected" },
        { "query-snapshots", "{\"verify\": null}",
          "Invalid parameter type for 'verify', expected: boolean" },
        { NULL, NULL, NULL },
    };

    (void)state;
    check_rows(rows);
}

static void enumerations_take_one_whole_word(void **state)
{
    static const struct row rows[] = {
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"\"}", "does not accept value ''" },
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"str\"}", "accept value 'str'" },
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"streams\"}", "value 'streams'" },
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"Stream\"}", "value 'Stream'" },
        { "snapshot-revert", "{\"name\": \"s1\", \"state\": \"saved\"}", "value 'saved'" },
        { "snapshot-revert", "{\"name\": \"s1\", \"method\": \"none\"}", "value 'none'" },
        { "snapshot-delete", "{\"name\": \"s1\", \"children\": \"all\"}", "value 'all'" },
        { NULL, NULL, NULL },
    };

    (void)state;
    check_rows(rows);
}

/* The words of an enumeration stand in one string with bars between them. */
static void enumerations_do_not_take_two_words_with_a_bar(void **state)
{
    static const struct row rows[] = {
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"stream|vmstate\"}", "accept value" },
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"|\"}", "accept value" },
        { "snapshot-create", "{\"name\": \"s1\", \"memory\": \"none|\"}", "accept value" },
        { "snapshot-revert", "{\"name\": \"s1\", \"state\": \"running|paused\"}", "accept value" },
        { NULL, NULL, NULL },
    };

    (void)state;
    check_rows(rows);
}

static void names_are_checked_with_their_reason(void **state)
{
    static const char *const bad[] = {
        "", ".a", "-a", "a b", "a/b", "\xc3\xa4", "a\\nb", "a,b",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", /* 65 */
    };
    static const struct row rows[] = {
        { "snapshot-create", "{\"name\": \"A-Z_.9\"}", NULL },
        { "snapshot-create",
          "{\"name\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
          NULL },
        { "snapshot-create", "{\"name\": \"a\\u0000b\"}",
          "Invalid parameter type for 'name', expected: string" },
        { NULL, NULL, NULL },
    };

    (void)state;
    check_rows(rows);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = ERR_INIT;
        char text[200];
        json_t *arguments;

        snprintf(text, sizeof(text), "{\"name\": \"s1\", \"save-as\": \"%s\"}", bad[i]);
        arguments = parse(text);
        assert_false(request_check("snapshot-revert", arguments, &err));
        assert_string_equal(err.reason, REASON_BAD_NAME);
        assert_non_null(json_object_get(err.data, "snapshot"));
        err_clear(&err);
        json_decref(arguments);
    }
}

/* As QEMU's id_wellformed(), and none that our own jobs could have. */
static void job_ids_are_those_that_qemu_takes(void **state)
{
    static const struct row rows[] = {
        { "snapshot-create", "{\"name\": \"s1\", \"job-id\": \"\"}", "Invalid job ID ''" },
        { "snapshot-create", "{\"name\": \"s1\", \"job-id\": \"1a\"}", "Invalid job ID '1a'" },
        { "snapshot-create", "{\"name\": \"s1\", \"job-id\": \"a b\"}", "Invalid job ID 'a b'" },
        { "snapshot-create", "{\"name\": \"s1\", \"job-id\": \"qsnap-x\"}", "Invalid job ID" },
        { "snapshot-create", "{\"name\": \"s1\", \"job-id\": \"qsnap\"}", NULL },
        { "snapshot-create", "{\"name\": \"s1\", \"job-id\": 7}",
          "Invalid parameter type for 'job-id', expected: string" },
        { NULL, NULL, NULL },
    };

    (void)state;
    check_rows(rows);
}

static void delete_belongs_to_whom_its_arguments_say(void **state)
{
    static const struct {
        const char *arguments;
        enum request_delete whose;
    } rows[] = {
        { "{\"name\": \"s1\"}", REQUEST_DELETE_OURS },
        { "{\"name\": \"s1\", \"job-id\": \"j\"}", REQUEST_DELETE_OURS },
        { "{\"name\": 1}", REQUEST_DELETE_OURS },
        { "", REQUEST_DELETE_QEMU },
        { "{}", REQUEST_DELETE_QEMU },
        { "{\"job-id\": \"j\"}", REQUEST_DELETE_QEMU },
        { "{\"job-id\": \"j\", \"tag\": \"t\", \"devices\": [\"d\"]}", REQUEST_DELETE_QEMU },
        { "{\"name\": \"s1\", \"tag\": \"t\"}", REQUEST_DELETE_BOTH },
        { "{\"name\": \"s1\", \"devices\": []}", REQUEST_DELETE_BOTH },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *arguments = parse(rows[i].arguments);

        assert_int_equal(request_delete_whose(arguments), rows[i].whose);
        json_decref(arguments);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_schema_says_is_taken),
        cmocka_unit_test(words_of_refusals_are_those_of_qemu),
        cmocka_unit_test(enumerations_take_one_whole_word),
        cmocka_unit_test(enumerations_do_not_take_two_words_with_a_bar),
        cmocka_unit_test(names_are_checked_with_their_reason),
        cmocka_unit_test(job_ids_are_those_that_qemu_takes),
        cmocka_unit_test(delete_belongs_to_whom_its_arguments_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
