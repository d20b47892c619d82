/* SPDX-License-Identifier: GPL-2.0-or-later */
/* err: what an error carries, and that its sentence is always one that JSON can hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "qmp/err.h"

/* json_string() takes UTF-8 only. */
static void assert_utf8(const char *text)
{
    json_t *value = json_string(text);

    assert_non_null(value);
    json_decref(value);
}

static const char *member(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void setting_fills_class_reason_and_sentence(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    assert_false(err.set);
    err_set(&err, "busy", "%s and %d", "this", 7);
    assert_true(err.set);
    assert_string_equal(err.class_name, "GenericError");
    assert_string_equal(err.reason, "busy");
    assert_string_equal(err.desc, "this and 7");
    assert_null(err.data);
    err_clear(&err);
    assert_false(err.set);
    err_set_class(&err, "CommandNotFound", "no %s", "such");
    assert_string_equal(err.class_name, "CommandNotFound");
    assert_null(err.reason);
    err_clear(&err);
}

static void json_has_data_only_for_a_reason_or_names(void **state)
{
    struct err err = ERR_INIT;
    json_t *out, *data;

    (void)state;
    err_set(&err, NULL, "plain");
    out = err_to_json(&err);
    assert_string_equal(member(out, "class"), "GenericError");
    assert_string_equal(member(out, "desc"), "plain");
    assert_null(json_object_get(out, "data"));
    assert_int_equal(json_object_size(out), 2);
    json_decref(out);
    err_name(&err, "disk", "d0");
    out = err_to_json(&err);
    data = json_object_get(out, "data");
    assert_string_equal(member(data, "disk"), "d0");
    assert_int_equal(json_object_size(data), 1);
    json_decref(out);
    err_clear(&err);
    err_set(&err, "busy", "plain");
    out = err_to_json(&err);
    data = json_object_get(out, "data");
    assert_string_equal(member(data, "reason"), "busy");
    assert_int_equal(json_object_size(data), 1);
    json_decref(out);
    err_clear(&err);
}

static void json_is_a_copy(void **state)
{
    struct err err = ERR_INIT;
    json_t *out;

    (void)state;
    err_set(&err, "busy", "plain");
    err_name(&err, "file", "/a");
    out = err_to_json(&err);
    assert_null(json_object_get(err.data, "reason"));
    err_name(&err, "disk", "d0");
    err_clear(&err);
    assert_string_equal(member(json_object_get(out, "data"), "file"), "/a");
    assert_null(json_object_get(json_object_get(out, "data"), "disk"));
    json_decref(out);
}

static void names_add_up_and_nothing_is_ignored(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    err_set(&err, "busy", "plain");
    err_name(&err, "disk", NULL);
    assert_null(err.data);
    err_name(&err, "disk", "d0");
    err_name(&err, "file", "/a");
    err_name(&err, "disk", "d1");
    err_name(&err, "raw", "\xff\xfe");
    assert_string_equal(member(err.data, "disk"), "d1");
    assert_string_equal(member(err.data, "file"), "/a");
    assert_string_equal(member(err.data, "raw"), "(not UTF-8)");
    assert_int_equal(json_object_size(err.data), 3);
    err_clear(&err);
    assert_null(err.data);
}

static void long_sentences_are_cut_at_a_character(void **state)
{
    char text[2 * ERR_DESC_MAX];
    struct err err = ERR_INIT;

    (void)state;
    /* each offset puts another byte of a three-byte character on the edge */
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof(text); i += 3)
            memcpy(text + i, "\xe2\x82\xac", 3);
        text[sizeof(text) - 4] = '\0';
        err_set(&err, NULL, "%s", text);
        assert_in_range(strlen(err.desc), ERR_DESC_MAX - 4, ERR_DESC_MAX - 1);
        assert_utf8(err.desc);
        err_prefix(&err, "%s", text);
        assert_in_range(strlen(err.desc), ERR_DESC_MAX / 2, ERR_DESC_MAX - 1);
        assert_utf8(err.desc);
        err_clear(&err);
    }
}

static void a_nul_in_the_sentence_is_shown_as_qemu_does(void **state)
{
    struct err err = ERR_INIT;
    json_t *error;
    char *text;

    (void)state;
    err_set(&err, NULL, "a\xc0\x80" "b");
    assert_string_equal(err.desc, "a\xc0\x80" "b");
    error = err_to_json(&err);
    text = json_dumps(json_object_get(error, "desc"), JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    assert_string_equal(text, "\"a\\u0000b\"");
    free(text);
    json_decref(error);
    err_clear(&err);
}

static void bytes_that_are_no_utf8_become_question_marks(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        { "a\xff" "b", "a?b" },
        { "\xc0\x81", "??" },               /* an overlong U+0001 */
        { "\xed\xa0\x80", "???" },          /* a surrogate */
        { "\xf4\x90\x80\x80", "????" },     /* above U+10FFFF */
        { "\xe2\x82", "??" },               /* ends inside a character */
        { "\xe2\x82" "a", "??a" },
        { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
        { "\xc3\xa4\x80", "\xc3\xa4?" },
    };
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *out;

        err_set(&err, NULL, "%s", rows[i].in);
        assert_string_equal(err.desc, rows[i].out);
        out = err_to_json(&err);
        assert_string_equal(member(out, "desc"), rows[i].out);
        json_decref(out);
        err_clear(&err);
    }
}

static void prefix_says_what_was_tried(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    err_set(&err, "no-space", "there is no room");
    err_name(&err, "file", "/a");
    err_prefix(&err, "disk %d", 3);
    assert_string_equal(err.desc, "disk 3: there is no room");
    assert_string_equal(err.reason, "no-space");
    assert_string_equal(member(err.data, "file"), "/a");
    err_prefix(&err, "create");
    assert_string_equal(err.desc, "create: disk 3: there is no room");
    err_clear(&err);
}

static void moving_leaves_the_old_owner_clear(void **state)
{
    struct err from = ERR_INIT, to = ERR_INIT;

    (void)state;
    err_set(&from, "busy", "plain");
    err_name(&from, "disk", "d0");
    err_move(&to, &from);
    assert_false(from.set);
    assert_null(from.data);
    assert_true(to.set);
    assert_string_equal(to.desc, "plain");
    assert_string_equal(member(to.data, "disk"), "d0");
    err_set(&from, NULL, "another");      /* free to be used again */
    assert_string_equal(to.desc, "plain");
    err_clear(&from);
    err_clear(&to);
    err_clear(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_fills_class_reason_and_sentence),
        cmocka_unit_test(json_has_data_only_for_a_reason_or_names),
        cmocka_unit_test(json_is_a_copy),
        cmocka_unit_test(names_add_up_and_nothing_is_ignored),
        cmocka_unit_test(long_sentences_are_cut_at_a_character),
        cmocka_unit_test(a_nul_in_the_sentence_is_shown_as_qemu_does),
        cmocka_unit_test(bytes_that_are_no_utf8_become_question_marks),
        cmocka_unit_test(prefix_says_what_was_tried),
        cmocka_unit_test(moving_leaves_the_old_owner_clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
