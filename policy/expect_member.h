/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * expect_member: reading expectations and answers, for expect.c and expect_block.c only.
 *
 * Rules: a fault of the plan and a fault of QEMU's answer get different reasons.  Each of these
 * sets *why when it says no, and the caller returns EXPECT_NO at once.
 */
#ifndef POLICY_EXPECT_MEMBER_H
#define POLICY_EXPECT_MEMBER_H

#include <string.h>

#include "policy/expect.h"
#include "policy/reason.h"

static inline enum expect_verdict expect_member_bad_plan(struct err *why, const char *key)
{
    err_set(why, REASON_BAD_PLAN, "The plan's expectation lacks a usable \"%s\"", key);
    return EXPECT_NO;
}

static inline enum expect_verdict expect_member_bad_answer(struct err *why, const char *what)
{
    err_set(why, REASON_UNEXPECTED_ANSWER, "QEMU's answer lacks a usable %s", what);
    return EXPECT_NO;
}

/* Absent is fine; of another type is not.  true and false are one type here. */
static inline bool expect_member_optional(const json_t *expect, const char *key, json_type type,
                                          struct err *why)
{
    const json_t *value = json_object_get(expect, key);

    if (!value || json_typeof(value) == type || (type == JSON_TRUE && json_is_boolean(value)))
        return true;
    expect_member_bad_plan(why, key);
    return false;
}

static inline bool expect_member_required(const json_t *expect, const char *key, json_type type,
                                          struct err *why)
{
    if (json_object_get(expect, key))
        return expect_member_optional(expect, key, type, why);
    expect_member_bad_plan(why, key);
    return false;
}

static inline const char *expect_member_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

#endif
