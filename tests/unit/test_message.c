/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking requests apart: the errors of the JSON and of the envelope, as QEMU has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "qmp/alloc.h"
#include "qmp/message.h"
#include "qmp/parse.h"

/* The text lies in memory of its own size, so that reading beyond it is noticed.  Freed by the
 * next call. */
static const char *placed(const char *text, size_t len)
{
    static char *copy;

    free(copy);
    copy = NULL;
    if (!text)
        return NULL;
    copy = alloc_bytes(len ? len : 1);
    memcpy(copy, text, len);
    return copy;
}

static int drop_placed(void **state)
{
    (void)state;
    placed(NULL, 0);
    return 0;
}

static void expect_request(const char *text, size_t len, bool oob, struct message *m)
{
    struct err err = ERR_INIT;

    if (!message_parse_request(placed(text, len), len, oob, m, &err))
        fail_msg("%s: %s", text, err.desc);
    assert_false(err.set);
}

static void expect_error(const char *text, size_t len, bool oob, const char *desc,
                         struct message *m)
{
    struct err err = ERR_INIT;

    if (message_parse_request(placed(text, len), len, oob, m, &err))
        fail_msg("%s was taken, expected: %s", text, desc);
    assert_string_equal(err.desc, desc);
    assert_string_equal(err.class_name, "GenericError");
    err_clear(&err);
}

static void expect_json_error(const char *text, size_t len, const char *desc)
{
    struct message m;

    expect_error(text, len, false, desc, &m);
    assert_false(m.has_id);
    assert_null(m.id.at);
}

#define TAKEN(text, m) expect_request(text, sizeof(text) - 1, false, m)
#define ENVELOPE(text, desc, m) expect_error(text, sizeof(text) - 1, false, desc, m)
#define BAD_JSON(text, desc) expect_json_error(text, sizeof(text) - 1, "JSON parse error, " desc)

static void assert_span(struct span s, const char *text)
{
    assert_non_null(s.at);
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.at, text, s.len);
}

/* Is the text JSON in QEMU's dialect? */
static bool is_json(const char *text, size_t len)
{
    struct err err = ERR_INIT;
    bool ok = parse_text(placed(text, len), len, NULL, NULL, NULL, &err);

    err_clear(&err);
    return ok;
}

static void a_request_is_taken_apart(void **state)
{
    struct message m;

    (void)state;
    TAKEN("{ \"execute\": \"blockdev-add\", \"id\": [1, 2], "
          "\"arguments\": {\"a\": {\"id\": 3}} }", &m);
    assert_string_equal(m.command, "blockdev-add");
    assert_true(m.has_id);
    assert_false(m.oob || m.name_long || m.name_escaped);
    assert_span(m.id, "[1, 2]");
    assert_span(m.arguments, "{\"a\": {\"id\": 3}}");
    assert_span(m.execute, "\"blockdev-add\"");
    assert_int_equal(m.text.at[0], '{');
    TAKEN("{'execute':'stop'}", &m);
    assert_string_equal(m.command, "stop");
    assert_false(m.has_id);
    assert_null(m.id.at);
    assert_null(m.arguments.at);
}

static void names_written_with_escapes_are_the_same_names(void **state)
{
    struct message m;

    (void)state;
    TAKEN("{\"\\u0065xecute\":\"\\u0071uit\",\"i\\u0064\":1,'\\u0061rguments':{}}", &m);
    assert_string_equal(m.command, "quit");
    assert_true(m.name_escaped);
    assert_span(m.id, "1");
    assert_span(m.arguments, "{}");
    BAD_JSON("{\"execute\":\"stop\",\"execut\\u0065\":\"quit\"}", "duplicate key");
    /* A name with U+0000 in it is another name. */
    TAKEN("{\"execute\":\"quit\\u0000\"}", &m);
    assert_string_equal(m.command, "quit\xc0\x80");
    ENVELOPE("{\"execute\\u0000\":\"quit\",\"execute\":\"x\"}",
             "QMP input member 'execute\xc0\x80' is unexpected", &m);
}

static void a_long_name_is_cut_and_flagged(void **state)
{
    char text[512];
    struct message m;
    size_t len;

    (void)state;
    for (int n = 126; n <= 129; n++) {
        len = (size_t)snprintf(text, sizeof(text), "{\"execute\":\"%0*d\"}", n, 0);
        expect_request(text, len, false, &m);
        assert_int_equal(m.name_long, n > 127);
        assert_int_equal(strlen(m.command), n > 127 ? 127 : n);
    }
    /* Cut at a character. */
    len = (size_t)snprintf(text, sizeof(text), "{\"execute\":\"%0*d\xc3\xa9\"}", 126, 0);
    expect_request(text, len, false, &m);
    assert_true(m.name_long);
    assert_int_equal(strlen(m.command), 126);
}

static void envelope_errors_have_qemus_words_and_the_id(void **state)
{
    struct message m;

    (void)state;
    ENVELOPE("[]", "QMP input must be a JSON object", &m);
    ENVELOPE("42", "QMP input must be a JSON object", &m);
    assert_false(m.has_id);
    ENVELOPE("{\"id\":7}", "QMP input lacks member 'execute'", &m);
    assert_span(m.id, "7");
    ENVELOPE("{\"execute\":1,\"id\":{\"x\":[]}}",
             "QMP input member 'execute' must be a string", &m);
    assert_span(m.id, "{\"x\":[]}");
    ENVELOPE("{\"execute\":\"x\",\"arguments\":null,\"id\":null}",
             "QMP input member 'arguments' must be an object", &m);
    assert_span(m.id, "null");
    ENVELOPE("{\"execute\":\"x\",\"\xc3\xa9\\n\":1}", "QMP input member '\xc3\xa9\n' is unexpected",
             &m);
    assert_false(m.has_id);
}

static void of_several_mistakes_the_one_qemu_meets_first_counts(void **state)
{
    struct message m;

    (void)state;
    /* Tried with QEMU 7.2 and 10.0. */
    ENVELOPE("{\"foo\":1,\"bar\":2}", "QMP input member 'bar' is unexpected", &m);
    ENVELOPE("{\"bar\":2,\"foo\":1}", "QMP input member 'bar' is unexpected", &m);
    ENVELOPE("{\"execute\":1,\"arguments\":1,\"foo\":1}",
             "QMP input member 'execute' must be a string",
             &m);
    /* In one place of the table the later one comes first. */
    ENVELOPE("{\"aa\":1,\"aq\":2}", "QMP input member 'aq' is unexpected", &m);
    ENVELOPE("{\"aq\":1,\"aa\":2}", "QMP input member 'aa' is unexpected", &m);
}

static void oob_is_unexpected_unless_negotiated(void **state)
{
    static const char both[] = "{\"exec-oob\":\"a\",\"execute\":\"b\",\"id\":1}";
    static const char oob[] = "{\"exec-oob\":\"query-yank\",\"id\":1}";
    struct message m;

    (void)state;
    ENVELOPE("{\"exec-oob\":\"query-yank\",\"id\":1}", "QMP input member 'exec-oob' is unexpected",
             &m);
    assert_span(m.id, "1");
    expect_request(oob, sizeof(oob) - 1, true, &m);
    assert_true(m.oob);
    assert_string_equal(m.command, "query-yank");
    expect_error(both, sizeof(both) - 1, true,
                 "QMP input member 'execute' clashes with 'exec-oob'", &m);
    expect_error("{\"exec-oob\":1}", 14, true, "QMP input member 'exec-oob' must be a string", &m);
}

static void wrong_structure_has_qemus_words(void **state)
{
    (void)state;
    BAD_JSON("}", "expecting value");
    BAD_JSON(",", "expecting value");
    BAD_JSON("{]", "expecting value");
    BAD_JSON("[1,]", "expecting value");
    BAD_JSON("{\"a\":}", "expecting value");
    BAD_JSON("{\"a\":1,}", "expecting value");
    BAD_JSON("{\"execute\":\"x\"]", "expected separator in dict");
    BAD_JSON("{\"a\":1 \"b\":2}", "expected separator in dict");
    BAD_JSON("[1 2]", "expected separator in list");
    BAD_JSON("{\"a\" 1}", "missing : in object pair");
    BAD_JSON("{1:2}", "key is not a string in object");
    BAD_JSON("{{\"a\":[]}:2}", "key is not a string in object");
    BAD_JSON("{{\"a\":foo}:2}", "invalid keyword 'foo'");
    BAD_JSON("foo", "invalid keyword 'foo'");
    BAD_JSON("nulll", "invalid keyword 'nulll'");
    BAD_JSON("{foo bar}", "invalid keyword 'foo'");
    BAD_JSON("{\"a\":1", "premature EOI");
    BAD_JSON("", "premature EOI");
    BAD_JSON("{\"a\":\"x", "stray '\"x'");
}

static void duplicate_keys_are_found_at_every_depth(void **state)
{
    (void)state;
    BAD_JSON("{\"a\":1,\"a\":2}", "duplicate key");
    BAD_JSON("{\"a\":1,'\\u0061':2}", "duplicate key");
    BAD_JSON("{\"execute\":\"x\",\"arguments\":{\"l\":[{\"a\":1,\"b\":2,\"a\":3}]}}",
             "duplicate key");
    BAD_JSON("{\"\":1,\"\":2}", "duplicate key");
    BAD_JSON("{\"a\":1,\"a\":foo}", "invalid keyword 'foo'");
    assert_true(is_json("[{\"a\":{\"a\":1}},{\"a\":[{\"a\":2}]}]", 31));
}

static void duplicate_keys_are_found_among_many(void **state)
{
    char *text = alloc_bytes(2000000);
    size_t len = 0;

    (void)state;
    for (int i = 0; i < 100000; i++)
        len += (size_t)sprintf(text + len, "%c\"k%d\":0", i ? ',' : '{', i);
    text[len] = '}';
    assert_true(is_json(text, len + 1));
    len += (size_t)sprintf(text + len, ",\"k7\":0}");
    expect_json_error(text, len, "JSON parse error, duplicate key");
    free(text);
}

static void wrong_strings_have_qemus_words(void **state)
{
    (void)state;
    BAD_JSON("\"\\x41\"", "invalid escape sequence in string");
    BAD_JSON("\"\\u12\"", "\\u12\" is not a valid Unicode character");
    BAD_JSON("\"\\u12g4x\"", "\\u12g4 is not a valid Unicode character");
    BAD_JSON("\"\\ud800\"", "\\ud800 is not a valid Unicode character");
    BAD_JSON("\"\\udc00\\u0041\"", "\\udc00 is not a valid Unicode character");
    BAD_JSON("\"\\ud800\\u0041\"", "\\ud800 is not a valid Unicode character");
    BAD_JSON("\"\\ud800\\ud800\"", "\\ud800 is not a valid Unicode character");
    BAD_JSON("\"\\ud83f\\udfff\"", "\\ud83f\\udfff is not a valid Unicode character");
    BAD_JSON("\"\\uffff\"", "\\uffff is not a valid Unicode character");
    BAD_JSON("\"\xc3\"", "invalid UTF-8 sequence in string");
    BAD_JSON("\"\xed\xa0\x80\"", "invalid UTF-8 sequence in string");
    BAD_JSON("\"\xc1\x81\"", "invalid UTF-8 sequence in string");
    BAD_JSON("{\"\\q\":foo}", "invalid escape sequence in string");
}

static void the_dialect_of_qemu_is_taken(void **state)
{
    static const char *const good[] = {
        "18446744073709551616", "-9223372036854775809", "1e400", "-0", "0.1E-7", "null", "'x'",
        "'a\"\\''", "\"\\'\\/\\b\\f\\n\\r\\t\\\\\\\"\"", "\"\xc0\x80\\u0000\"", "\"\x7f\"",
        "\"\\ud83d\\uDE00\xf0\x9f\x98\x80\"", " [ ] ", "{\t}", "[[{'a':[true,false]}]]",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(is_json(good[i], strlen(good[i])));
}

static void depth_is_bounded(void **state)
{
    static char text[4096];

    (void)state;
    memset(text, '[', 1024);
    memset(text + 1024, ']', 1024);
    assert_true(is_json(text, 2048));
    memset(text, '[', 1025);
    memset(text + 1025, ']', 1025);
    expect_json_error(text, 2050, "JSON nesting depth limit exceeded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_taken_apart),
        cmocka_unit_test(names_written_with_escapes_are_the_same_names),
        cmocka_unit_test(a_long_name_is_cut_and_flagged),
        cmocka_unit_test(envelope_errors_have_qemus_words_and_the_id),
        cmocka_unit_test(of_several_mistakes_the_one_qemu_meets_first_counts),
        cmocka_unit_test(oob_is_unexpected_unless_negotiated),
        cmocka_unit_test(wrong_structure_has_qemus_words),
        cmocka_unit_test(duplicate_keys_are_found_at_every_depth),
        cmocka_unit_test(duplicate_keys_are_found_among_many),
        cmocka_unit_test(wrong_strings_have_qemus_words),
        cmocka_unit_test(the_dialect_of_qemu_is_taken),
        cmocka_unit_test(depth_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, drop_placed);
}
