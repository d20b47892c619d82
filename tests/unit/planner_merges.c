/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The steps of planner_merges.h. */
#include "tests/unit/planner_merges.h"

#include <stdio.h>

#include "policy/state.h"

#define SIDE "qsnap-side-"

static bool step_is(const json_t *step, const char *name)
{
    return strcmp(state_str(step, "step"), name) == 0;
}

const char *merges_file(const struct merges_model *model, const char *node)
{
    const char *real = state_str(model->nodes, node);

    if (!real)
        fail_msg("there is no node '%s'", node);
    return real;
}

/* borrowed: the key of the disk that has the file as its active one, or that is called so. */
static const char *merges_disk(const struct merges_model *model, const char *device)
{
    json_t *disk;
    size_t i;

    json_array_foreach(model->world->vm, i, disk) {
        const char *key = state_str(disk, "key"), *active = state_str(model->actives, key);
        const char *node = state_str(model->nodes, device);

        if (active && (strcmp(state_str(disk, "device"), device) == 0 ||
                       (node && strcmp(node, active) == 0)))
            return key;
    }
    return NULL;
}

static void merges_assert_ours(const struct merges_model *model, const char *real, bool base_too)
{
    const json_t *layer = merges_layer(model->world->state, real, NULL);

    if (json_object_get(layer, "foreign") || (base_too && json_object_get(layer, "base")))
        fail_msg("'%s' is not ours", real);
}

/* ---- jobs ---- */

static void merges_start(struct merges_model *model, const json_t *args, json_t *job)
{
    const char *id = state_str(args, "job-id");

    assert_null(json_object_get(model->jobs, id));
    json_object_set_new(model->jobs, id, job);
}

static void merges_commit(struct merges_model *model, const json_t *step)
{
    const json_t *args = step_arguments(step);
    const char *key = merges_disk(model, state_str(args, "device"));
    const char *top_node = state_str(args, "top-node");
    const char *active = key ? state_str(model->actives, key)
                             : merges_file(model, state_str(args, "device"));
    const char *top = top_node ? merges_file(model, top_node) : active, *above = NULL;
    const char *base = merges_file(model, state_str(args, "base-node"));

    assert_string_equal(merges_below(model, top), base);
    merges_assert_ours(model, base, false);
    for (const char *at = active; top_node && at && strcmp(at, top) != 0; at = merges_below(model, at))
        above = at;
    assert_int_equal(above != NULL, top_node != NULL);
    if (above)
        assert_string_equal(merges_named(model, state_str(args, "backing-file")), base);
    assert_true(json_is_false(json_object_get(args, "auto-finalize")));
    assert_true(json_is_false(json_object_get(args, "auto-dismiss")));
    merges_add_data(model, base, top, true);
    merges_start(model, args,
                 json_pack("{s:s?, s:s?, s:s, s:s, s:s, s:b, s:b}", "key", key, "header", above,
                           "below", base, "target", base, "emptied", top, "active", key && !above, "pending",
                           above != NULL));
}

static void merges_stream(struct merges_model *model, const json_t *step)
{
    const json_t *args = step_arguments(step);
    const char *child = merges_file(model, state_str(args, "device"));
    const char *base = merges_file(model, state_str(args, "base-node"));
    const char *parent = merges_below(model, child), *key = NULL, *at, *other;
    json_t *active;

    merges_assert_ours(model, parent, true);
    merges_assert_ours(model, child, true);
    assert_string_equal(merges_below(model, parent), base);
    assert_string_equal(merges_named(model, state_str(args, "backing-file")), base);
    assert_true(json_is_false(json_object_get(args, "auto-finalize")));
    /* QEMU does not survive to be asked for its nodes while an ended one is listed. */
    assert_null(json_object_get(args, "auto-dismiss"));
    json_object_foreach(model->actives, other, active)
        for (at = json_string_value(active); at; at = merges_below(model, at))
            if (strcmp(at, child) == 0)
                key = other;
    merges_add_data(model, child, parent, false);
    merges_start(model, args,
                 json_pack("{s:s?, s:s, s:s, s:s, s:s, s:b, s:b, s:b}", "key", key, "header", child,
                           "below", base, "target", child, "emptied", parent, "active", 0,
                           "pending", 1, "stream", 1));
}

/* A merge that moves says how much, and can be cancelled. */
static void merges_assert_moves(const json_t *step)
{
    assert_true(json_is_integer(json_object_get(step, "bytes")));
    assert_true(json_is_true(json_object_get(step, "moves")));
    assert_int_equal(json_integer_value(json_object_get(step, "timeout")), 0);
    assert_string_equal(state_str(json_array_get(json_object_get(step, "undo"), 0), "step"),
                        "cancel-commit");
}

/* Both files of every merge that is going on, and no others. */
static void merges_sync(struct merges_model *model, const json_t *args)
{
    static const char *const both[] = { "target", "emptied" };
    const json_t *files = json_object_get(args, "files");
    json_t *job, *file;
    const char *id;
    size_t i, k, found = 0;

    json_object_foreach(model->jobs, id, job)
        for (k = 0; k < 2; k++)
            json_array_foreach(files, i, file)
                found += json_equal(json_object_get(job, both[k]), file);
    assert_int_equal(found, json_array_size(files));
    assert_int_equal(found, 2 * json_object_size(model->jobs));
}

static void merges_flush(struct merges_model *model, const char *line)
{
    char node[200];
    const char *id;
    json_t *job;

    assert_int_equal(sscanf(line, "qemu-io %199s reopen", node), 1);
    json_object_foreach(model->jobs, id, job)
        if (strcmp(state_str(job, "target"), merges_file(model, node)) == 0)
            json_object_set_new(job, "flushed", json_true());
}

static void merges_dismiss(struct merges_model *model, const json_t *step)
{
    const char *id = state_str(step_arguments(step), "id");
    json_t *job = json_object_get(model->jobs, id);

    assert_true(json_is_true(json_object_get(job, "ended")));
    model->ended = json_incref(job);
    json_object_del(model->jobs, id);
}

static json_t *merges_job(const struct merges_model *model, const json_t *step)
{
    json_t *job = json_object_get(model->jobs, state_str(step_arguments(step), "id"));

    assert_non_null(job);
    return job;
}

static void merges_need_stopped(const struct merges_model *model, const json_t *job)
{
    bool running = strcmp(world_status(&model->world->w), "running") == 0;

    if (json_is_true(json_object_get(job, "active")) && running && !model->stopped)
        fail_msg("the guest runs while its disk changes files");
}

/* It has caught up with the guest, has flushed what it wrote, and can still be cancelled. */
static void merges_complete(struct merges_model *model, const json_t *step)
{
    json_t *job = merges_job(model, step);

    assert_false(json_is_true(json_object_get(job, "pending")));
    assert_null(json_object_get(step, "no-return"));
    merges_need_stopped(model, job);
    json_object_set_new(job, "pending", json_true());
    json_object_set_new(job, "flushed", json_true());
}

static void merges_end(struct merges_model *model, const json_t *step)
{
    json_t *job = merges_job(model, step);

    assert_null(model->ended);
    assert_true(json_is_true(json_object_get(job, "pending")));
    assert_true(json_is_true(json_object_get(step, "no-return")));
    if (!json_object_get(job, "flushed"))
        fail_msg("%s is ended before its data is flushed", state_str(step_arguments(step), "id"));
    if (json_is_true(json_object_get(job, "active"))) {
        const char *key = state_str(job, "key");
        const json_t *disk = state_disk(model->record, key);

        merges_need_stopped(model, job);
        /* A record that comes behind it may find no room. */
        assert_string_equal(state_str(state_layer(model->record, state_str(disk, "active")), "real"),
                            state_str(job, "target"));
        json_object_set(model->actives, key, json_object_get(job, "target"));
    }
    if (state_str(job, "header"))
        merges_rest_on(model, state_str(job, "header"), state_str(job, "below"));
    json_object_set_new(job, "ended", json_true());
    json_object_clear(model->checked);
    if (json_object_get(job, "stream"))
        merges_dismiss(model, step);
}

/* ---- side branches ---- */

static void merges_open(struct merges_model *model, const json_t *step)
{
    const json_t *args = step_arguments(step), *undo = json_object_get(step, "undo");
    const char *node = state_str(args, "node-name"), *below = state_str(args, "backing");
    const char *real = merges_named(model, state_str(json_object_get(args, "file"), "filename"));

    assert_int_equal(strncmp(node, SIDE, strlen(SIDE)), 0);
    assert_non_null(below);
    assert_null(json_object_get(model->nodes, node));
    assert_string_equal(merges_file(model, below), merges_below(model, real));
    if (!json_is_true(json_object_get(args, "read-only")))
        merges_assert_ours(model, real, true);
    assert_string_equal(state_str(json_array_get(undo, 0), "step"), "blockdev-del");
    json_object_set_new(model->nodes, node, json_string(real));
    json_object_set_new(model->side, node, json_string(below));
}

static void merges_close(struct merges_model *model, const json_t *step)
{
    const char *node = state_str(step_arguments(step), "node-name"), *other;
    json_t *below;

    if (strncmp(node, SIDE, strlen(SIDE)) != 0) {
        const char *real = merges_file(model, node), *at, *key;
        json_t *active;

        assert_ptr_equal(model->record, json_object_get(model->plan, "after"));
        json_object_foreach(model->actives, key, active)
            for (at = json_string_value(active); at; at = merges_below(model, at))
                if (strcmp(at, real) == 0)
                    fail_msg("node '%s' is taken away, and in use", node);
        return;
    }
    if (!json_object_get(model->side, node))
        fail_msg("'%s' is closed, and not open", node);
    json_object_del(model->side, node);
    json_object_foreach(model->side, other, below)
        if (strcmp(json_string_value(below), node) == 0)
            fail_msg("'%s' is closed, and '%s' stands on it", node, other);
    json_object_del(model->nodes, node);
}

/* A header is written by us only where QEMU has the file not open, and nothing is read otherwise. */
static void merges_rewrite(struct merges_model *model, const json_t *step)
{
    const json_t *args = json_object_get(step, "args");
    const char *real = state_str(args, "file"), *node;
    const char *copied = merges_below(model, real);
    json_t *file;

    json_object_foreach(model->nodes, node, file)
        if (strcmp(json_string_value(file), real) == 0)
            fail_msg("a header is rewritten, and '%s' has it open", node);
    if (!json_object_get(merges_layer(model->record, copied, NULL), "copied"))
        fail_msg("'%s' is passed over, and is no copy", copied);
    assert_true(json_is_integer(json_object_get(step, "bytes")));
    assert_true(json_is_true(json_object_get(step, "moves")));
    assert_true(json_is_true(json_object_get(step, "no-return")));
    merges_rest_on(model, real, merges_named(model, state_str(args, "backing")));
    json_object_clear(model->checked);
    model->ended = json_pack("{s:n, s:s}", "key", "header", real);
}

static void merges_step(struct merges_model *model, const json_t *step)
{
    const json_t *args = json_object_get(step, "args");

    if (step_is(step, "snapshot-mark")) {
        model->record = json_object_get(args, "state");
        merges_check_record(model);
    } else if (step_is(step, "block-commit") || step_is(step, "block-stream")) {
        merges_assert_moves(step);
        (step_is(step, "block-commit") ? merges_commit : merges_stream)(model, step);
    } else if (step_is(step, "flush")) {
        merges_flush(model, state_str(step_arguments(step), "command-line"));
    } else if (step_is(step, "job-complete")) {
        merges_complete(model, step);
    } else if (step_is(step, "job-finalize")) {
        merges_end(model, step);
    } else if (step_is(step, "job-dismiss")) {
        merges_dismiss(model, step);
    } else if (step_is(step, "blockdev-add")) {
        merges_open(model, step);
    } else if (step_is(step, "blockdev-del")) {
        merges_close(model, step);
    } else if (step_is(step, "header-rewrite")) {
        merges_rewrite(model, step);
    } else if (step_is(step, "header-check")) {
        merges_check_header(model, args);
    } else if (step_is(step, "check-disk") || step_is(step, "check-disks")) {
        merges_check_chains(model, json_object_get(step, "expect"));
        if (json_object_get(step, "settled"))
            merges_settle(model);
    } else if (step_is(step, "state-write")) {
        merges_write(model, step);
    } else if (step_is(step, "layers-freeze")) {
        json_decref(model->frozen);
        model->frozen = json_incref(json_object_get(args, "layers"));
    } else if (step_is(step, "stop") || step_is(step, "cont")) {
        if (model->early)
            fail_msg("the guest goes on before its disk is where the record says");
        model->stopped = step_is(step, "stop");
    } else if (step_is(step, "files-sync")) {
        merges_sync(model, args);
    } else if (!step_is(step, "files-remove") && !step_is(step, "file-sync")) {
        fail_msg("a delete has the step %s", state_str(step, "step"));
    }
    merges_check_contents(model);
}

void merges_check(const struct planner_world *world, const json_t *plan)
{
    struct merges_model model = { .world = world, .plan = plan };
    json_t *step;
    size_t i;

    if (strcmp(state_str(plan, "operation"), "snapshot-delete") != 0)
        return;
    merges_begin(&model);
    json_array_foreach(json_object_get(plan, "steps"), i, step)
        merges_step(&model, step);
    assert_int_equal(json_object_size(model.jobs) + json_object_size(model.side), 0);
    merges_check_end(&model);
    merges_clear(&model);
}
