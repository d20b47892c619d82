/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of planner_world.h that makes plans, and looks at what all of them have to be. */
#include "tests/unit/planner_world.h"

#include <stdio.h>

#undef expect_check             /* cmocka has a macro of that name */
#include "policy/expect.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "tests/unit/planner_merges.h"

/* ---- single steps ---- */

static void step_check(const json_t *step, bool lenient_fits)
{
    const char *name = state_str(step, "step"), *on = state_str(step, "on");
    const json_t *command = json_object_get(step, "command");
    const json_t *expect = json_object_get(step, "expect");
    struct err err = ERR_INIT;
    json_t *null = json_null();

    assert_non_null(name);
    assert_non_null(on);
    if (!lenient_fits && json_object_get(step, "lenient"))
        fail_msg("%s is lenient before the commit point", name);
    if (strcmp(on, "host") == 0) {
        assert_true(json_is_object(json_object_get(step, "args")));
        assert_null(command);
        assert_null(expect);
        return;
    }
    assert_true(strcmp(on, "qemu") == 0 || strcmp(on, "next") == 0);
    assert_null(json_object_get(step, "args"));
    assert_true(json_is_object(expect));
    assert_true(json_is_integer(json_object_get(step, "timeout")));
    if (command)
        assert_non_null(state_str(command, "execute"));
    /* no answer is right, but the plan must not be what is wrong */
    if (expect_check(expect, null, &err) == EXPECT_NO &&
        strcmp(err.reason, REASON_BAD_PLAN) == 0)
        fail_msg("%s: %s", name, err.desc);
    err_clear(&err);
}

/* One commit point, before it nothing lenient, no undo inside of undo. */
static void steps_check(const json_t *plan)
{
    const json_t *steps = json_object_get(plan, "steps");
    bool committed = false;
    json_t *step, *undo;
    size_t i, k;

    json_array_foreach(steps, i, step) {
        step_check(step, committed);
        json_array_foreach(json_object_get(step, "undo"), k, undo) {
            step_check(undo, true);
            assert_null(json_object_get(undo, "undo"));
            assert_null(json_object_get(undo, "commit-point"));
        }
        if (!json_object_get(step, "commit-point"))
            continue;
        assert_false(committed);
        committed = true;
    }
    assert_true(committed);
}

/* ---- what is written ---- */

/* id of the record's layer with that file, or NULL. */
static const char *layer_at(const json_t *state, const char *path)
{
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(state, "layers"), id, layer)
        if (strcmp(state_str(layer, "real"), path) == 0)
            return id;
    return NULL;
}

static bool memory_at(const json_t *state, const char *path)
{
    json_t *snapshot;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        const char *file = state_str(json_object_get(snapshot, "memory"), "file");

        if (file && strcmp(file, path) == 0)
            return true;
    }
    return false;
}

/* A file that is made, or taken back: nobody has it before. */
static void assert_new_file(const json_t *state, const char *path)
{
    assert_non_null(path);
    if (layer_at(state, path) || memory_at(state, path))
        fail_msg("'%s' is there already", path);
}

/* Does the plan make that file itself, for as long as it is carried out? */
static bool makes_itself(const json_t *plan, const char *path)
{
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        if (strcmp(state_str(step, "step"), "memory-create") == 0 &&
            strcmp(state_str(json_object_get(step, "args"), "file"), path) == 0)
            return true;
    return false;
}

/* A file that goes in the end: nobody has it after. */
static void assert_old_file(const json_t *state, const json_t *plan, const char *path)
{
    const json_t *layer = state_layer(state, layer_at(state, path));
    const json_t *after = json_object_get(plan, "after");

    if (layer_at(after, path) || memory_at(after, path))
        fail_msg("'%s' is removed, and still on record", path);
    if (!layer && !memory_at(state, path) && !makes_itself(plan, path))
        fail_msg("'%s' is removed, and was not on record", path);
    if (json_is_true(json_object_get(layer, "base")) ||
        json_is_true(json_object_get(layer, "foreign")))
        fail_msg("'%s' is removed, and is not ours", path);
}

/* What block-commit writes into: no layer that a snapshot other than the plan's own names. */
static void assert_merge_target(const struct planner_world *world, const json_t *plan,
                                const char *node)
{
    const struct graph_node *image = graph_node_find(world->w.graph, node);
    const char *id;

    if (!image && strcmp(state_str(plan, "operation"), "snapshot-delete") == 0)
        return; /* opened by the plan: planner_merges.c looks at it */
    assert_non_null(image);
    id = layer_at(world->state, graph_child_find(image, "file")->file);
    if (!id)
        return; /* of a disk that was not on record */
    if (state_layer_named(world->state, id, state_str(plan, "name")))
        fail_msg("a merge writes into %s, which a snapshot names", id);
    assert_false(json_is_true(json_object_get(state_layer(world->state, id), "foreign")));
}

static void step_check_writes(const struct planner_world *world, const json_t *plan,
                              const json_t *step)
{
    const json_t *args = json_object_get(step, "args"), *fd = json_object_get(step, "fd");
    const json_t *command = json_object_get(step, "command");
    const char *name = state_str(step, "step"), *execute = state_str(command, "execute");
    json_t *path;
    size_t i;

    if (strcmp(name, "overlay-create") == 0 || strcmp(name, "memory-create") == 0 ||
        strcmp(name, "file-remove") == 0 || strcmp(name, "memory-seal") == 0)
        assert_new_file(world->state, state_str(args, "file"));
    if (strcmp(name, "files-sync") == 0 || strcmp(name, "file-sync") == 0)
        return; /* changes nothing */
    json_array_foreach(json_object_get(args, "files"), i, path)
        assert_old_file(world->state, plan, json_string_value(path));
    if (fd && strcmp(state_str(fd, "flags"), "write") == 0)
        assert_new_file(world->state, state_str(fd, "path"));
    if (execute && strcmp(execute, "block-commit") == 0)
        assert_merge_target(world, plan,
                            state_str(json_object_get(command, "arguments"), "base-node"));
}

static void plan_check(const struct planner_world *world, const json_t *plan)
{
    const json_t *after = json_object_get(plan, "after");
    struct err err = ERR_INIT;
    json_t *step, *undo;
    size_t i, k;

    assert_non_null(state_str(plan, "operation"));
    assert_non_null(state_str(plan, "name"));
    steps_check(plan);
    if (!state_check(after, &err))
        fail_msg("%s", err.desc);
    assert_true(json_integer_value(json_object_get(after, "counter")) >=
                json_integer_value(json_object_get(world->state, "counter")));
    json_array_foreach(json_object_get(plan, "steps"), i, step) {
        step_check_writes(world, plan, step);
        json_array_foreach(json_object_get(step, "undo"), k, undo)
            step_check_writes(world, plan, undo);
    }
    merges_check(world, plan);
}

/* ---- making them ---- */

static json_t *world_run(struct planner_world *world, planner_fn *planner, const char *text,
                         struct err *err)
{
    json_t *request = json_text(text), *request_copy = json_deep_copy(request);
    json_t *state_copy = json_deep_copy(world->state);
    json_t *plan = planner(&world->w, world->state, request, err), *again;

    assert_int_equal(plan != NULL, !err->set);
    assert_json(world->state, state_copy);
    assert_json(request, request_copy);
    if (plan) {
        again = planner(&world->w, world->state, request, err);
        assert_json(again, plan);
        json_decref(again);
    }
    json_decref(state_copy);
    json_decref(request_copy);
    json_decref(request);
    return plan;
}

json_t *world_plan(struct planner_world *world, planner_fn *planner, const char *request)
{
    struct err err = ERR_INIT;
    json_t *plan = world_run(world, planner, request, &err);

    if (!plan)
        fail_msg("%s: %s (%s)", request, err.desc, err.reason);
    plan_check(world, plan);
    return plan;
}

const char *world_refuse(struct planner_world *world, planner_fn *planner, const char *request,
                         const char *reason)
{
    static char desc[ERR_DESC_MAX];
    struct err err = ERR_INIT;
    json_t *plan = world_run(world, planner, request, &err);

    if (plan)
        fail_msg("%s was not refused", request);
    if (!err.reason || strcmp(err.reason, reason) != 0)
        fail_msg("%s: %s (%s), not %s", request, err.desc, err.reason, reason);
    memcpy(desc, err.desc, sizeof(desc));
    err_clear(&err);
    return desc;
}

/* ---- looking at them ---- */

static void word_add(char *out, size_t size, const json_t *step)
{
    size_t at = strlen(out);

    snprintf(out + at, size - at, "%s%s%s%s%s", at ? " " : "", state_str(step, "step"),
             json_array_size(json_object_get(step, "undo")) > 0 ? "*" : "",
             json_is_true(json_object_get(step, "commit-point")) ? "!" : "",
             json_is_true(json_object_get(step, "lenient")) ? "?" : "");
}

void assert_steps(const json_t *plan, const char *names)
{
    char out[4096] = "";
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        word_add(out, sizeof(out), step);
    assert_string_equal(out, names);
}

void assert_undo(const json_t *plan, const char *at, const char *names)
{
    const json_t *steps = json_object_get(plan, "steps");
    char out[4096] = "";
    json_t *undo;
    size_t n = 0, k;

    while (strcmp(state_str(json_array_get(steps, n), "step"), at) != 0)
        assert_true(++n < json_array_size(steps));
    for (size_t i = n + 1; i-- > 0;)
        json_array_foreach(json_object_get(json_array_get(steps, i), "undo"), k, undo)
            word_add(out, sizeof(out), undo);
    assert_string_equal(out, names);
}

const json_t *plan_step(const json_t *plan, const char *name, size_t nth)
{
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        if (strcmp(state_str(step, "step"), name) == 0 && nth-- == 0)
            return step;
    fail_msg("there is no step %s", name);
    return NULL;
}

json_t *step_arguments(const json_t *step)
{
    return json_object_get(json_object_get(step, "command"), "arguments");
}
