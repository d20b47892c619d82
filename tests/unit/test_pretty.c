/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "qmp/pretty.h"

static void check(const char *text, const char *want)
{
    size_t len;
    char *got = pretty_message(text, strlen(text), &len);

    assert_int_equal(len, strlen(want));
    assert_memory_equal(got, want, len);
    free(got);
}

static void each_member_has_a_line(void **state)
{
    (void)state;
    check("{\"return\": {\"a\": 1, \"b\": [true, null]}, \"id\": \"x\"}\r\n",
          "{\r\n    \"return\": {\r\n        \"a\": 1,\r\n        \"b\": [\r\n            true,\r\n"
          "            null\r\n        ]\r\n    },\r\n    \"id\": \"x\"\r\n}\r\n");
}

static void empty_objects_take_two_lines(void **state)
{
    (void)state;
    check("{\"return\": {}, \"id\": []}",
          "{\r\n    \"return\": {\r\n    },\r\n    \"id\": [\r\n    ]\r\n}\r\n");
}

static void strings_stay_as_they_are(void **state)
{
    (void)state;
    check("{\"a\": \"{[,: \\\" \\\\\"}", "{\r\n    \"a\": \"{[,: \\\" \\\\\"\r\n}\r\n");
}

static void broken_text_ends(void **state)
{
    (void)state;
    check("}]", "\r\n}\r\n]\r\n");
    check("\"ab\\", "\"ab\\\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_member_has_a_line),
        cmocka_unit_test(empty_objects_take_two_lines),
        cmocka_unit_test(strings_stay_as_they_are),
        cmocka_unit_test(broken_text_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
