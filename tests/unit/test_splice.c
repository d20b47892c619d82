/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Taking replies apart, and giving requests and replies another id. */
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
#include "qmp/splice.h"

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

/* The request with that id, as the upstream gets it. */
static void expect_spliced(const char *text, const char *id, const char *expected)
{
    struct message m;
    size_t len;
    char *out;

    expect_request(text, strlen(text), false, &m);
    out = splice_request(&m, id, &len);
    assert_string_equal(out, expected);
    assert_int_equal(len, strlen(expected));
    free(out);
}

static void a_request_gets_our_id(void **state)
{
    (void)state;
    expect_spliced("{\"execute\":\"stop\",\"id\":{\"x\": [1]},\"arguments\":{\"id\":1}}",
                   "\"p.1\"",
                   "{\"execute\":\"stop\",\"id\":\"p.1\",\"arguments\":{\"id\":1}}");
    expect_spliced("{ \"execute\": \"stop\" }", "5", "{\"id\":5,\"execute\":\"stop\"}");
    expect_spliced("{\"\\u0069d\":null,\"execute\":\"stop\"}", "5",
                   "{\"\\u0069d\":5,\"execute\":\"stop\"}");
    expect_spliced("{\"execute\" : \"stop\", \"id\" : 7 }", NULL,
                   "{\"execute\":\"stop\",\"id\":7}");
}

static void only_whitespace_between_tokens_is_dropped(void **state)
{
    (void)state;
    expect_spliced("{\n\t\"execute\" :\r\n 'a \\' \\\\' , \"arguments\": { \"x y\": [ 1.50, -0 , "
                   "\" \\\" z \\\\\" , 18446744073709551616 ] } }", "1",
                   "{\"id\":1,\"execute\":'a \\' \\\\',\"arguments\":{\"x y\":[1.50,-0,"
                   "\" \\\" z \\\\\",18446744073709551616]}}");
}

static void expect_reply(const char *text, const char *id, const char *expected)
{
    struct span span = { id, id ? strlen(id) : 0 };
    size_t text_len = strlen(text), len;
    const char *copy = placed(text, text_len);
    struct message_reply reply;
    char *out;

    assert_true(message_scan_reply(copy, text_len, &reply));
    out = splice_reply(copy, text_len, &reply, &span, &len);
    assert_string_equal(out, expected);
    assert_int_equal(len, strlen(expected));
    free(out);
}

static void a_reply_gets_the_clients_id(void **state)
{
    (void)state;
    expect_reply("{\"return\": {\"id\": 1}, \"id\": \"p.1\"}", "[1, 2]",
                 "{\"return\": {\"id\": 1}, \"id\": [1, 2]}\r\n");
    expect_reply("{\"id\": \"p.1\", \"error\": {\"class\": \"DeviceNotFound\"}}\r\n", "1.0",
                 "{\"id\": 1.0, \"error\": {\"class\": \"DeviceNotFound\"}}\r\n");
}

static void a_reply_loses_the_id_that_the_client_did_not_give(void **state)
{
    (void)state;
    expect_reply("{\"return\": {}, \"id\": 5}", NULL, "{\"return\": {}}\r\n");
    expect_reply("{\"id\": 5, \"error\": {}}", NULL, "{\"error\": {}}\r\n");
    expect_reply("{\"return\": {}, \"id\": 5, \"x\": 1}", NULL, "{\"return\": {}, \"x\": 1}\r\n");
    expect_reply("{\"id\": 5}", NULL, "{}\r\n");
}

static void a_reply_without_id_gets_one_where_qemu_puts_it(void **state)
{
    (void)state;
    expect_reply("{\"return\": []}", "1", "{\"return\": [], \"id\": 1}\r\n");
    expect_reply("{\"error\": {}}", "'x'", "{\"id\": \"x\", \"error\": {}}\r\n");
    expect_reply("{\"event\": \"STOP\"}", "1", "{\"event\": \"STOP\"}\r\n");
}

static void a_reply_is_one_line(void **state)
{
    (void)state;
    expect_reply("{\r\n    \"return\": {\r\n    },\r\n    \"id\": 5\r\n}\r\n", "{\n\"a\" :\r\n 1}",
                 "{      \"return\": {      },      \"id\": { \"a\" :   1}  }\r\n");
}

static void expect_id(const char *id, const char *expected)
{
    size_t len;
    char *out;

    assert_true(is_json(id, strlen(id)));
    out = splice_id((struct span){ id, strlen(id) }, &len);
    assert_string_equal(out, expected);
    assert_int_equal(len, strlen(expected));
    free(out);
}

static void a_clients_id_comes_back_as_strict_json(void **state)
{
    (void)state;
    expect_id("'x'", "\"x\"");
    expect_id("'say \"hi\"'", "\"say \\\"hi\\\"\"");
    expect_id("'it\\'s'", "\"it's\"");
    expect_id("\"it\\'s\"", "\"it's\"");
    expect_id("'\\\\'", "\"\\\\\"");
    expect_id("'\\\\\\''", "\"\\\\'\"");
    expect_id("'\\\"'", "\"\\\"\"");
    expect_id("\"a\xc0\x80\"", "\"a\\u0000\"");
    expect_id("\"\\u0041\\/ \xc3\xa9\"", "\"\\u0041\\/ \xc3\xa9\"");
    expect_id("{ 'a' : [ 1.0 ,\n'' ] }", "{ \"a\" : [ 1.0 , \"\" ] }");
    expect_id("[1,\t2]", "[1, 2]");
    expect_id("1e400", "1e400");
}

static struct message_reply scanned(const char *text)
{
    struct message_reply reply;

    assert_true(message_scan_reply(text, strlen(text), &reply));
    return reply;
}

static void a_reply_is_taken_apart(void **state)
{
    struct message_reply r;

    (void)state;
    r = scanned("{\"return\": [\"}\\\"]\", {\"id\": 1}], \"id\": \"p.7\"}\r\n");
    assert_int_equal(r.kind, MESSAGE_RETURN);
    assert_span(r.value, "[\"}\\\"]\", {\"id\": 1}]");
    assert_span(r.id, "\"p.7\"");
    r = scanned("{\"id\": null, \"error\": {\"class\": \"CommandNotFound\", \"desc\": \"\"}}");
    assert_int_equal(r.kind, MESSAGE_ERROR);
    assert_true(r.has_id);
    assert_span(r.id, "null");
    r = scanned("{\"timestamp\": {\"seconds\": 1, \"microseconds\": 2}, "
                "\"event\": \"JOB_STATUS_CHANGE\", \"data\": {\"event\": \"no\"}}");
    assert_int_equal(r.kind, MESSAGE_EVENT);
    assert_string_equal(r.event, "JOB_STATUS_CHANGE");
    assert_span(r.value, "{\"event\": \"no\"}");
    assert_false(r.has_id);
    r = scanned("{\"event\":\"STOP\"}");
    assert_string_equal(r.event, "STOP");
    assert_null(r.value.at);
    r = scanned("{\"QMP\": {\"version\": {}}}");
    assert_int_equal(r.kind, MESSAGE_GREETING);
    r = scanned("{}");
    assert_int_equal(r.kind, MESSAGE_OTHER);
}

/* Whatever is cut off or changed, nothing beyond the text is read: the sanitizers watch. */
static void a_broken_reply_is_never_read_beyond_its_end(void **state)
{
    static const char text[] = "{\"return\": [\"\\\"\", -1, {}], \"id\": \"p\\\\\", "
                               "\"event\": \"E\\u0041\"}";
    static const char bytes[] = "{}[]\",:\\ 1\0";
    struct message_reply r;
    char changed[sizeof(text)];
    size_t taken = 0;

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 1; n++)
        assert_false(message_scan_reply(placed(text, n), n, &r));
    for (size_t at = 0; at < sizeof(text) - 1; at++) {
        for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
            memcpy(changed, text, sizeof(text));
            changed[at] = bytes[i];
            taken += message_scan_reply(placed(changed, sizeof(text) - 1), sizeof(text) - 1, &r);
            if (r.has_id)
                assert_true(r.id.len <= sizeof(text));
        }
    }
    assert_true(taken > 0);
    assert_true(message_scan_reply(placed(text, sizeof(text) - 1), sizeof(text) - 1, &r));
    assert_string_equal(r.event, "EA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_gets_our_id),
        cmocka_unit_test(only_whitespace_between_tokens_is_dropped),
        cmocka_unit_test(a_reply_gets_the_clients_id),
        cmocka_unit_test(a_reply_loses_the_id_that_the_client_did_not_give),
        cmocka_unit_test(a_reply_without_id_gets_one_where_qemu_puts_it),
        cmocka_unit_test(a_reply_is_one_line),
        cmocka_unit_test(a_clients_id_comes_back_as_strict_json),
        cmocka_unit_test(a_reply_is_taken_apart),
        cmocka_unit_test(a_broken_reply_is_never_read_beyond_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, drop_placed);
}
