/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the proxy adds to QEMU's lists of itself: always valid, on one line, without clashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "qmp/schema.h"

#define SPAN(text) ((struct span){ text, sizeof(text) - 1 })

/* What QEMU 7.2 and 10.0 print, cut down to what matters here. */
#define QEMU_OWN \
    "{\"name\": \"query-status\", \"ret-type\": \"1\", \"meta-type\": \"command\", " \
    "\"arg-type\": \"0\"}, "
#define QEMU_DELETE \
    "{\"name\": \"snapshot-delete\", \"ret-type\": \"0\", \"meta-type\": \"command\", " \
    "\"arg-type\": \"167\"}"
#define QEMU_TYPES \
    "{\"name\": \"167\", \"members\": [{\"name\": \"job-id\", \"type\": \"str\"}, " \
    "{\"name\": \"tag\", \"type\": \"str\"}, {\"name\": \"devices\", \"type\": \"[str]\"}], " \
    "\"meta-type\": \"object\"}, {\"name\": \"0\", \"members\": [], \"meta-type\": \"object\"}, " \
    "{\"name\": \"1\", \"members\": [], \"meta-type\": \"object\"}, " \
    "{\"name\": \"[str]\", \"element-type\": \"str\", \"meta-type\": \"array\"}, " \
    "{\"name\": \"str\", \"json-type\": \"string\", \"meta-type\": \"builtin\"}"

/* The merged schema as a tree; its bytes were checked. */
static json_t *merged(struct span theirs)
{
    size_t len;
    char *text = schema_merge_qmp_schema(theirs, &len);
    json_error_t error;
    json_t *tree;

    assert_non_null(text);
    assert_int_equal(len, strlen(text));
    assert_null(strpbrk(text, "\r\n"));
    tree = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!tree)
        fail_msg("%s at %d of %s", error.text, error.position, text);
    free(text);
    return tree;
}

/* The only entry of that name. */
static json_t *entry(json_t *schema, const char *name)
{
    json_t *found = NULL, *each;
    size_t i;

    json_array_foreach(schema, i, each) {
        if (strcmp(json_string_value(json_object_get(each, "name")), name) != 0)
            continue;
        assert_null(found);
        found = each;
    }
    if (!found)
        fail_msg("no entry %s", name);
    return found;
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    assert_non_null(text);
    return text;
}

static const char *member_type(json_t *object, const char *name, bool optional)
{
    json_t *each;
    size_t i;

    json_array_foreach(json_object_get(object, "members"), i, each) {
        json_t *value = json_object_get(each, "default");

        if (strcmp(text_of(each, "name"), name) != 0)
            continue;
        assert_int_equal(value != NULL, optional);
        assert_true(!value || json_is_null(value));
        return text_of(each, "type");
    }
    fail_msg("no member %s", name);
    return NULL;
}

static void commands_are_added_where_they_are_missing(void **state)
{
    static const char *const names[] = { "snapshot-create", "snapshot-delete", NULL };
    size_t len;
    char *text;

    (void)state;
    text = schema_merge_commands(SPAN("[{\"name\": \"stop\"}, {\"name\": \"snapshot-delete\"}]"),
                                 names, &len);
    assert_string_equal(text, "[{\"name\": \"stop\"}, {\"name\": \"snapshot-delete\"}, "
                              "{\"name\": \"snapshot-create\"}]");
    assert_int_equal(len, strlen(text));
    free(text);
    text = schema_merge_commands(SPAN("[]"), names, &len);
    assert_string_equal(text, "[{\"name\": \"snapshot-create\"}, {\"name\": \"snapshot-delete\"}]");
    free(text);
}

static void what_is_no_array_of_named_objects_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "{}", "[", "[1]", "[{}]", "[{\"name\": 1}]", "[{\"name\": \"x\"}",
        "[{\"name\": \"x\"},]", "5",
    };
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_null(schema_merge_qmp_schema((struct span){ bad[i], strlen(bad[i]) }, &len));
}

static void qemus_entries_stay_as_they_are(void **state)
{
    static const char expected[] = "[" QEMU_OWN QEMU_TYPES ", ";
    size_t len;
    char *text = schema_merge_qmp_schema(SPAN("[" QEMU_OWN QEMU_TYPES "]"), &len);

    (void)state;
    assert_memory_equal(text, expected, sizeof(expected) - 1);
    free(text);
}

static void snapshot_delete_takes_the_members_of_both(void **state)
{
    json_t *schema = merged(SPAN("[" QEMU_OWN QEMU_DELETE ", " QEMU_TYPES "]"));
    json_t *args = entry(schema, text_of(entry(schema, "snapshot-delete"), "arg-type"));

    (void)state;
    assert_string_equal(text_of(args, "meta-type"), "object");
    assert_int_equal(json_array_size(json_object_get(args, "members")), 8);
    assert_string_equal(member_type(args, "job-id", false), "str"); /* as in QEMU's own */
    assert_string_equal(member_type(args, "tag", true), "str");
    assert_string_equal(member_type(args, "devices", true), "[str]");
    assert_string_equal(member_type(args, "name", true), "str");
    member_type(args, "children", true);
    member_type(args, "direction", true);
    assert_string_equal(member_type(args, "metadata-only", true), "bool");
    assert_string_equal(member_type(args, "dry-run", true), "bool");
    json_decref(schema);
}

static void snapshot_delete_is_added_where_qemu_has_none(void **state)
{
    json_t *schema = merged(SPAN("[" QEMU_OWN QEMU_TYPES "]"));

    (void)state;
    assert_string_equal(text_of(entry(schema, "snapshot-delete"), "meta-type"), "command");
    json_decref(schema);
}

static void the_commands_and_events_are_there(void **state)
{
    static const char *const commands[] = {
        "snapshot-create", "snapshot-revert", "snapshot-delete", "query-snapshots",
    };
    static const char *const events[] = {
        "SNAPSHOT_CREATED", "SNAPSHOT_DELETED", "SNAPSHOT_REVERTED",
    };
    json_t *schema = merged(SPAN("[" QEMU_OWN QEMU_DELETE ", " QEMU_TYPES "]"));
    json_t *args;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(text_of(entry(schema, commands[i]), "meta-type"), "command");
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(text_of(entry(schema, events[i]), "meta-type"), "event");
    args = entry(schema, text_of(entry(schema, "snapshot-revert"), "arg-type"));
    member_type(args, "name", false);
    member_type(args, "discard", true);
    args = entry(schema, text_of(entry(schema, "SNAPSHOT_REVERTED"), "arg-type"));
    assert_string_equal(member_type(args, "respawned", false), "bool");
    assert_string_equal(text_of(entry(schema, "query-snapshots"), "ret-type"), "[SnapshotInfo]");
    json_decref(schema);
}

/* A type that is named must be listed, once; entry() checks both. */
static void check_types(json_t *schema, json_t *one)
{
    const char *meta = text_of(one, "meta-type");
    const char *type;
    json_t *each;
    size_t i;

    if (strcmp(meta, "command") == 0) {
        type = text_of(one, "arg-type");
        assert_string_equal(text_of(entry(schema, type), "meta-type"), "object");
        entry(schema, text_of(one, "ret-type"));
    } else if (strcmp(meta, "event") == 0) {
        type = text_of(one, "arg-type");
        assert_string_equal(text_of(entry(schema, type), "meta-type"), "object");
    } else if (strcmp(meta, "array") == 0) {
        type = text_of(one, "element-type");
        assert_memory_equal(text_of(one, "name") + 1, type, strlen(type));
        entry(schema, type);
    } else if (strcmp(meta, "object") == 0) {
        json_array_foreach(json_object_get(one, "members"), i, each)
            entry(schema, text_of(each, "type"));
    } else if (strcmp(meta, "enum") == 0) {
        json_array_foreach(json_object_get(one, "members"), i, each)
            assert_true(json_equal(json_object_get(each, "name"),
                                   json_array_get(json_object_get(one, "values"), i)));
        assert_int_equal(i, json_array_size(json_object_get(one, "values")));
    } else {
        assert_string_equal(meta, "builtin");
    }
}

static void every_type_that_is_named_is_listed_once(void **state)
{
    json_t *schema = merged(SPAN("[" QEMU_OWN QEMU_DELETE ", " QEMU_TYPES "]"));
    json_t *each;
    size_t i;

    (void)state;
    json_array_foreach(schema, i, each)
        check_types(schema, each);
    json_decref(schema);
}

static void type_names_are_no_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; schema_entries[i]; i++) {
        json_t *own = json_loads(schema_entries[i], 0, NULL);
        const char *name = text_of(own, "name");

        assert_null(strpbrk(name, "0123456789"));
        json_decref(own);
    }
}

static void the_addition_is_small(void **state)
{
    size_t len;
    char *text = schema_merge_qmp_schema(SPAN("[]"), &len);

    (void)state;
    /* QEMU 10.0's own line is 235954 bytes long. */
    assert_true(len + 235954 + 100 < SCHEMA_LINE_MAX);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_added_where_they_are_missing),
        cmocka_unit_test(what_is_no_array_of_named_objects_is_refused),
        cmocka_unit_test(qemus_entries_stay_as_they_are),
        cmocka_unit_test(snapshot_delete_takes_the_members_of_both),
        cmocka_unit_test(snapshot_delete_is_added_where_qemu_has_none),
        cmocka_unit_test(the_commands_and_events_are_there),
        cmocka_unit_test(every_type_that_is_named_is_listed_once),
        cmocka_unit_test(type_names_are_no_numbers),
        cmocka_unit_test(the_addition_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
