/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

json_t *plan_new(const char *operation, const char *name)
{
    json_t *plan = json_pack("{s:s, s:s, s:[]}", "operation", operation, "name", name, "steps");

    if (!plan)
        abort();
    return plan;
}

void plan_set_running(json_t *plan, const char *status)
{
    json_object_set_new(plan, "running", json_boolean(strcmp(status, "running") == 0));
}

bool plan_has_step(const json_t *plan, const char *name)
{
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        if (strcmp(json_string_value(json_object_get(step, "step")), name) == 0)
            return true;
    return false;
}

json_t *plan_add(json_t *plan, json_t *step)
{
    json_array_append_new(json_object_get(plan, "steps"), step);
    return step;
}

static json_t *step_new(const char *step, const char *on, const char *target)
{
    json_t *object = json_pack("{s:s, s:s, s:s*}", "step", step, "on", on, "target", target);

    if (!object)
        abort();
    return object;
}

json_t *step_command(const char *step, const char *on, const char *target, const char *execute,
                     json_t *arguments, json_t *expect)
{
    json_t *object = step_new(step, on, target);
    json_t *command = json_pack("{s:s}", "execute", execute);

    assert(expect);
    if (arguments)
        json_object_set_new(command, "arguments", arguments);
    json_object_set_new(object, "command", command);
    json_object_set_new(object, "expect", expect);
    step_timeout(object, PLAN_TIMEOUT_MS);
    return object;
}

json_t *step_wait(const char *step, const char *on, const char *target, json_t *expect)
{
    json_t *object = step_new(step, on, target);

    assert(expect);
    json_object_set_new(object, "expect", expect);
    step_timeout(object, PLAN_TIMEOUT_MS);
    return object;
}

json_t *step_deed(const char *step, const char *target, json_t *args)
{
    json_t *object = step_new(step, "host", target);

    assert(args);
    json_object_set_new(object, "args", args);
    return object;
}

static void step_append(json_t *step, const char *member, json_t *other)
{
    json_t *list = json_object_get(step, member);

    if (!list) {
        list = json_array();
        json_object_set_new(step, member, list);
    }
    json_array_append_new(list, other);
}

void step_undo(json_t *step, json_t *undo)
{
    step_append(step, "undo", undo);
}

void step_undo_until_settled(json_t *step, json_t *undo)
{
    step_undo(step, undo);
    json_object_set_new(step, "until-settled", json_true());
}

void step_settled(json_t *step)
{
    json_object_set_new(step, "settled", json_true());
}

void step_rescue(json_t *step, json_t *rescue)
{
    step_append(step, "rescue", step_lenient(rescue));
}

void step_commit_point(json_t *step)
{
    json_object_set_new(step, "commit-point", json_true());
}

void step_main(json_t *step, const char *what)
{
    json_object_set_new(step, "main", json_string(what));
}

void step_restart(json_t *step)
{
    json_object_set_new(step, "restart", json_true());
}

json_t *step_lenient(json_t *step)
{
    json_object_set_new(step, "lenient", json_true());
    return step;
}

json_t *step_tolerated(json_t *step)
{
    json_object_set_new(step, "tolerated", json_true());
    return step;
}

void step_timeout(json_t *step, json_int_t ms)
{
    json_object_set_new(step, "timeout", json_integer(ms));
}

void step_fd(json_t *step, const char *path, const char *flags)
{
    json_object_set_new(step, "fd", json_pack("{s:s, s:s}", "path", path, "flags", flags));
}

void step_needs(json_t *step, json_t *needs)
{
    assert(needs);
    json_object_set_new(step, "needs", needs);
}

void step_advice(json_t *step, const char *text)
{
    json_object_set_new(step, "advice", json_string(text));
}

void step_patience(json_t *step, json_int_t ms)
{
    json_object_set_new(step, "patience", json_integer(ms));
}

void step_stall(json_t *step, json_int_t after_ms, json_t *command, json_t *undo)
{
    json_t *stall = json_pack("{s:I, s:o, s:[o]}", "after", after_ms, "command", command, "undo", undo);

    if (!stall)
        abort();
    json_object_set_new(step, "stall", stall);
}

json_t *expect_status(const char *first, const char *second)
{
    return json_pack("{s:s, s:[s, s*]}", "is", "status", "in", first, second);
}

json_t *expect_node(const char *name, bool present)
{
    return json_pack("{s:s, s:s, s:b}", "is", "node", "name", name, "present", present);
}

json_t *expect_job(const char *id, const char *status)
{
    return json_pack("{s:s, s:s, s:[s]}", "is", "job", "id", id, "in", status);
}

json_t *plan_describe(const json_t *plan)
{
    json_t *out = json_array();
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(plan, "steps"), i, step) {
        json_t *row = json_pack("{s:O, s:b}", "step", json_object_get(step, "step"), "undo",
                                json_array_size(json_object_get(step, "undo")) > 0);
        json_t *execute = json_object_get(json_object_get(step, "command"), "execute");

        if (execute)
            json_object_set(row, "command", execute);
        if (json_object_get(step, "target"))
            json_object_set(row, "target", json_object_get(step, "target"));
        if (json_object_get(step, "bytes"))
            json_object_set(row, "bytes", json_object_get(step, "bytes"));
        if (json_object_get(step, "commit-point"))
            json_object_set(row, "commit-point", json_true());
        json_array_append_new(out, row);
    }
    return out;
}
