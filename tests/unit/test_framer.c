/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the framer makes of bytes.  Every case runs with the bytes whole, one by one, and cut at
 * random places: the frames must not depend on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "qmp/alloc.h"
#include "qmp/framer.h"

#define CUTS 20         /* random cuttings of each case */
#define SHOWN_MAX 65536

/* All frames of a stream as text: messages in <>, errors in (). */
struct shown {
    char text[SHOWN_MAX];
    size_t len;
};

static uint32_t random_state = 1;

static size_t random_below(size_t n)
{
    random_state = random_state * 1103515245 + 12345;
    return (random_state >> 8) % n;
}

static void show(struct shown *shown, const char *open, const char *text, size_t len,
                 const char *close)
{
    int n = snprintf(shown->text + shown->len, SHOWN_MAX - shown->len, "%s%.*s%s", open, (int)len,
                     text, close);

    shown->len += (size_t)n;
    assert_true(shown->len < SHOWN_MAX);
}

static void feed_piece(struct framer *framer, const char *data, size_t len, struct shown *shown)
{
    size_t idle = 0;

    while (len) {
        struct frame frame;
        size_t used = framer_feed(framer, data, len, &frame);

        assert_true(used <= len);
        idle = used ? 0 : idle + 1;
        assert_true(idle < 2);
        data += used;
        len -= used;
        switch (frame.kind) {
        case FRAME_NONE:
            assert_int_equal(len, 0);
            break;
        case FRAME_MESSAGE:
            show(shown, "<", frame.text.at, frame.text.len, ">");
            break;
        case FRAME_ERROR:
            assert_string_equal(frame.err.class_name, "GenericError");
            show(shown, "(", frame.err.desc, strlen(frame.err.desc), ")");
            break;
        case FRAME_TOO_LARGE:
            show(shown, "(large: ", frame.err.desc, strlen(frame.err.desc), ")");
            break;
        }
    }
}

/* A piece is copied to a place of its own size, so that reading beyond it is noticed. */
static void feed_copy(struct framer *framer, const char *data, size_t len, struct shown *shown)
{
    char *copy = alloc_bytes(len ? len : 1);

    memcpy(copy, data, len);
    feed_piece(framer, copy, len, shown);
    free(copy);
}

/* piece 0 cuts at random places. */
static void run(const char *data, size_t len, size_t max_bytes, size_t piece, struct shown *shown)
{
    struct framer *framer = framer_new(max_bytes);

    shown->len = 0;
    shown->text[0] = '\0';
    for (size_t at = 0, n; at < len; at += n) {
        n = piece ? piece : 1 + random_below(12);
        if (n > len - at)
            n = len - at;
        feed_copy(framer, data + at, n, shown);
    }
    framer_free(framer);
}

static void expect_limited(const char *data, size_t len, size_t max_bytes, const char *frames)
{
    static struct shown shown;

    run(data, len, max_bytes, len + 1, &shown);
    assert_string_equal(shown.text, frames);
    run(data, len, max_bytes, 1, &shown);
    assert_string_equal(shown.text, frames);
    for (int i = 0; i < CUTS; i++) {
        run(data, len, max_bytes, 0, &shown);
        assert_string_equal(shown.text, frames);
    }
}

#define EXPECT(data, frames) expect_limited(data, sizeof(data) - 1, 0, frames)
#define STRAY(text) "(JSON parse error, stray '" text "')"

static void messages_end_by_structure_and_not_by_newline(void **state)
{
    (void)state;
    EXPECT("{\"execute\":\"stop\"}", "<{\"execute\":\"stop\"}>");
    EXPECT("{\"a\":1}{\"b\":[{}]}", "<{\"a\":1}><{\"b\":[{}]}>");
    EXPECT("{\"a\":\n1}\r\n\t {}\r\n", "<{\"a\": 1}><{}>");
    EXPECT("{", "");
    EXPECT("\r\n\n", "");
    EXPECT("[1,[2],{\"x\":3}] [", "<[1,[2],{\"x\":3}]>");
}

static void brackets_in_strings_do_not_count(void **state)
{
    (void)state;
    EXPECT("{\"a\":\"}]{[\"}", "<{\"a\":\"}]{[\"}>");
    EXPECT("{\"a\":\"\\\"}\"}", "<{\"a\":\"\\\"}\"}>");
    EXPECT("{\"a\":\"\\\\\"}", "<{\"a\":\"\\\\\"}>");
    EXPECT("{'a':'}\"'}", "<{'a':'}\"'}>");
    EXPECT("{'a':'\\'}'}", "<{'a':'\\'}'}>");
}

static void scalars_at_the_top_are_messages(void **state)
{
    (void)state;
    EXPECT("\"x\"", "<\"x\">");
    EXPECT("'x'", "<'x'>");
    EXPECT("42", "");
    EXPECT("42\n", "<42>");
    EXPECT("null{}", "<null><{}>");
    EXPECT("foo bar baz\n", "<foo><bar><baz>");
    EXPECT(",:", "<,><:>");
}

static void numbers_end_as_in_json(void **state)
{
    (void)state;
    EXPECT("-0.5e+10 1E5 0 -1\n", "<-0.5e+10><1E5><0><-1>");
    EXPECT("[01]", STRAY("01") "<]>");
    EXPECT("+1\n", STRAY("+"));
    EXPECT(".5\n", STRAY("."));
    EXPECT("1.\n", STRAY("1.\n"));
    EXPECT("1e\n", STRAY("1e\n"));
    EXPECT("-x\n", STRAY("-x"));
    EXPECT("0e1\n", "<0><e><1>");
}

static void closing_brackets_only_count(void **state)
{
    (void)state;
    EXPECT("}", "<}>");
    EXPECT("]]", "<]><]>");
    EXPECT("{\"execute\":\"query-name\"]{}", "<{\"execute\":\"query-name\"]><{}>");
    EXPECT("[{]}", "<[{]}>");
    EXPECT("{foo bar}", "<{foo bar}>");
}

static void an_open_brace_swallows_the_next_command(void **state)
{
    (void)state;
    EXPECT("{{\"execute\":\"stop\"}", "");
    EXPECT("{{\"execute\":\"stop\"}}", "<{{\"execute\":\"stop\"}}>");
}

static void an_error_skips_to_the_next_structure(void **state)
{
    (void)state;
    EXPECT("{\"id\":01}", STRAY("01") "<}>");
    EXPECT("Foo \"x\" bar\t{}", STRAY("F") "<{}>");
    EXPECT("%d[]", STRAY("%") "<[]>");
    EXPECT("/* */,{}", STRAY("/") "<,><{}>");
    EXPECT("{\"execute\":\"qu\n\"}\n{}", STRAY("\"qu\n") "<}><{}>");
    EXPECT("\"a\tb\"\n{}", STRAY("\"a\t") "<{}>");
}

static void control_characters_and_ff_reset(void **state)
{
    (void)state;
    EXPECT("\xff{}", STRAY("\xef\xbf\xbd") "<{}>");
    EXPECT("\xfe\xff{}", STRAY("\xef\xbf\xbd") STRAY("\xef\xbf\xbd") "<{}>");
    EXPECT("{\"execute\":\"qu\xff{}", STRAY("\"qu\xef\xbf\xbd") "<{}>");
    EXPECT("[[[\x01[]", STRAY("\x01") "<[]>");
    EXPECT("\0{}", STRAY("") "<{}>");
    EXPECT("\"a\0{}", STRAY("\"a") "<{}>");
    EXPECT("12\xff{}", "<12>" STRAY("\xef\xbf\xbd") "<{}>");
    EXPECT("\x0b\x0c{}", STRAY("\x0b") STRAY("\x0c") "<{}>");
}

static void a_byte_order_mark_is_an_error(void **state)
{
    (void)state;
    EXPECT("\xef\xbb\xbf{}", STRAY("\xef\xbf\xbd") "<{}>");
}

static void errors_show_what_is_no_utf8_as_replacement_characters(void **state)
{
    (void)state;
    EXPECT("\"\xc3\xa9\xc3\n", STRAY("\"\xc3\xa9\xef\xbf\xbd\n"));
    EXPECT("\"\xed\xa0\x80\x80\n", STRAY("\"\xef\xbf\xbd\xef\xbf\xbd\n"));
    EXPECT("\"\xf0\x9f\x98\x80\n", STRAY("\"\xf0\x9f\x98\x80\n"));
}

static void a_long_stray_token_is_cut_at_a_character(void **state)
{
    static struct shown shown;
    char data[4001];

    (void)state;
    data[0] = '"';
    for (size_t i = 1; i + 1 < sizeof(data); i += 2)
        memcpy(data + i, "\xc3\xa9", 2);
    data[3999] = 'x';
    data[4000] = '\n';
    run(data, sizeof(data), 0, 100, &shown);
    assert_true(shown.len > 900 && shown.len < ERR_DESC_MAX + 2);
    assert_int_equal(shown.text[shown.len - 3] & 0xc0, 0x80);
    assert_string_equal(shown.text + shown.len - 2, "')");
}

static void whitespace_is_not_collected(void **state)
{
    struct framer *framer = framer_new(0);
    static const char space[] = "        \r\n\t\t      ";
    struct frame frame;

    (void)state;
    EXPECT("{ \n\n \"a\"\t\t:  1\n}", "<{ \"a\" : 1 }>");
    framer_feed(framer, "[1", 2, &frame);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(framer_feed(framer, space, sizeof(space) - 1, &frame), sizeof(space) - 1);
        assert_int_equal(frame.kind, FRAME_NONE);
    }
    assert_in_range(framer_pending(framer), 2, 4);
    framer_free(framer);
}

static void nesting_is_limited_as_in_qemu(void **state)
{
    static char data[4096], expected[SHOWN_MAX];
    size_t len = 0;

    (void)state;
    memset(data, '[', 1024);
    memset(data + 1024, ']', 1024);
    snprintf(expected, sizeof(expected), "<%.*s>", 2048, data);
    expect_limited(data, 2048, 0, expected);

    /* One more: what follows is read as new input. */
    memset(data, '[', 1025);
    memset(data + 1025, ']', 1025);
    len = (size_t)sprintf(expected, "(JSON nesting depth limit exceeded)");
    for (int i = 0; i < 1025; i++)
        len += (size_t)sprintf(expected + len, "<]>");
    expect_limited(data, 2050, 0, expected);
}

static void tokens_are_limited_as_in_qemu(void **state)
{
    struct framer *framer = framer_new(0);
    char *data = alloc_bytes(FRAMER_MAX_TOKENS + 1);
    struct frame frame;

    (void)state;
    memset(data, ',', FRAMER_MAX_TOKENS + 1);
    data[0] = '[';
    assert_int_equal(framer_feed(framer, data, FRAMER_MAX_TOKENS, &frame), FRAMER_MAX_TOKENS);
    assert_int_equal(frame.kind, FRAME_NONE);
    assert_int_equal(framer_feed(framer, data + FRAMER_MAX_TOKENS, 1, &frame), 1);
    assert_int_equal(frame.kind, FRAME_ERROR);
    assert_string_equal(frame.err.desc, "JSON token count limit exceeded");
    assert_int_equal(framer_pending(framer), 0);

    data[FRAMER_MAX_TOKENS - 1] = ']';
    assert_int_equal(framer_feed(framer, data, FRAMER_MAX_TOKENS + 1, &frame), FRAMER_MAX_TOKENS);
    assert_int_equal(frame.kind, FRAME_MESSAGE);
    assert_int_equal(frame.text.len, FRAMER_MAX_TOKENS);
    free(data);
    framer_free(framer);
}

static void the_callers_limit_has_a_kind_of_its_own(void **state)
{
    (void)state;
    /* As with QEMU's: the bytes of all tokens and one more must fit. */
    expect_limited("[\"abcde\"]", 9, 10, "<[\"abcde\"]>");
    expect_limited("[\"abcdef\"]{}", 12, 10,
                   "(large: JSON token size limit exceeded)<{}>");
    expect_limited("[   1,    2,    3 ]", 19, 10, "<[ 1, 2, 3 ]>");
    expect_limited("\"0123456789ab\" {}", 17, 10,
                   "(large: JSON token size limit exceeded)<ab>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_end_by_structure_and_not_by_newline),
        cmocka_unit_test(brackets_in_strings_do_not_count),
        cmocka_unit_test(scalars_at_the_top_are_messages),
        cmocka_unit_test(numbers_end_as_in_json),
        cmocka_unit_test(closing_brackets_only_count),
        cmocka_unit_test(an_open_brace_swallows_the_next_command),
        cmocka_unit_test(an_error_skips_to_the_next_structure),
        cmocka_unit_test(control_characters_and_ff_reset),
        cmocka_unit_test(a_byte_order_mark_is_an_error),
        cmocka_unit_test(errors_show_what_is_no_utf8_as_replacement_characters),
        cmocka_unit_test(a_long_stray_token_is_cut_at_a_character),
        cmocka_unit_test(whitespace_is_not_collected),
        cmocka_unit_test(nesting_is_limited_as_in_qemu),
        cmocka_unit_test(tokens_are_limited_as_in_qemu),
        cmocka_unit_test(the_callers_limit_has_a_kind_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
