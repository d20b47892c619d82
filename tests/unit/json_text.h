/* SPDX-License-Identifier: GPL-2.0-or-later */
/* json_text: JSON in tests, written with single quotes for double ones. */
#ifndef TESTS_UNIT_JSON_TEXT_H
#define TESTS_UNIT_JSON_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/alloc.h"

/* new. */
static inline json_t *json_text(const char *text)
{
    char *copy = alloc_copy(text);
    json_error_t error;
    json_t *out;

    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    out = json_loads(copy, JSON_DECODE_ANY, &error);
    if (!out)
        fail_msg("%s: %s", text, error.text);
    free(copy);
    return out;
}

static inline void assert_json(const json_t *have, const json_t *want)
{
    char *left, *right;

    if (json_equal(have, want))
        return;
    left = json_dumps(have, JSON_SORT_KEYS | JSON_ENCODE_ANY);
    right = json_dumps(want, JSON_SORT_KEYS | JSON_ENCODE_ANY);
    print_error("%s\nis not\n%s\n", left, right);
    free(left);
    free(right);
    fail();
}

static inline void assert_json_is(const json_t *have, const char *text)
{
    json_t *want = json_text(text);

    assert_json(have, want);
    json_decref(want);
}

#endif
