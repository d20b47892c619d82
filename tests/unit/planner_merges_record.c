/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a plan of planner_merges.h looks at, and writes down. */
#include "tests/unit/planner_merges.h"

#include "policy/state.h"

void merges_check_chains(struct merges_model *model, const json_t *expect)
{
    json_t *disk, *link;
    size_t i, k;

    json_array_foreach(json_object_get(expect, "disks"), i, disk) {
        const char *device = state_str(disk, "device"), *key = NULL, *at;
        json_t *own;

        json_array_foreach(model->world->vm, k, own)
            if (strcmp(device ? device : state_str(disk, "qdev"),
                       state_str(own, device ? "device" : "qdev")) == 0)
                key = state_str(own, "key");
        assert_non_null(key);
        at = state_str(model->actives, key);
        json_array_foreach(json_object_get(disk, "chain"), k, link) {
            assert_non_null(at);
            assert_string_equal(merges_file(model, state_str(link, "node")), at);
            assert_string_equal(state_str(link, "driver"),
                                state_str(merges_layer(model->world->state, at, NULL), "format"));
            at = merges_below(model, at);
        }
        assert_null(at);
        json_object_set_new(model->checked, key, json_true());
    }
}

void merges_check_header(struct merges_model *model, const json_t *args)
{
    const char *real = state_str(args, "file"), *below = merges_below(model, real);

    assert_string_equal(merges_named(model, state_str(args, "backing")), below);
    assert_string_equal(state_str(args, "backing-format"),
                        state_str(merges_layer(model->world->state, below, NULL), "format"));
    json_object_set_new(model->checked, real, json_true());
}

/* What the record says is so already, and somebody has looked. */
static void merges_assert_checked(const struct merges_model *model)
{
    const char *key = state_str(model->ended, "key"), *header = state_str(model->ended, "header");

    if (key && !json_object_get(model->checked, key))
        fail_msg("nobody has looked at the chain of %s", key);
    if (header && !json_object_get(model->checked, header))
        fail_msg("nobody has looked at the header of '%s'", header);
}

void merges_settle(struct merges_model *model)
{
    merges_assert_checked(model);
    json_decref(model->ended);
    model->ended = NULL;
    model->early = NULL;
    merges_check_record(model);
}

/* The record says what the jobs that have caught up will leave: it can be taken back until they have. */
static void merges_write_early(struct merges_model *model, const json_t *step)
{
    const json_t *undo = json_array_get(json_object_get(step, "undo"), 0);

    if (model->ended || model->early)
        fail_msg("the record goes on before the one before it is settled");
    assert_true(json_is_true(json_object_get(step, "until-settled")));
    assert_string_equal(state_str(undo, "step"), "state-return");
    assert_json(json_object_get(json_object_get(undo, "args"), "state"), model->record);
    model->early = step;
}

void merges_write(struct merges_model *model, const json_t *step)
{
    const json_t *state = json_object_get(json_object_get(step, "args"), "state");

    if (json_object_size(model->side) > 0)
        fail_msg("a branch is open still when the record is written");
    assert_int_equal(state == NULL, json_object_get(step, "commit-point") != NULL);
    if (!state && (json_object_size(model->jobs) > 0 || model->ended || model->stopped || model->early))
        fail_msg("the end comes before all is done");
    if (state && !json_object_get(step, "settled"))
        merges_write_early(model, step);
    else
        merges_assert_checked(model);
    model->record = state ? state : json_object_get(model->plan, "after");
    if (model->early)
        merges_check_record(model);
    else
        merges_settle(model);
}
