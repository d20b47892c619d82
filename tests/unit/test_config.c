/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config: what stays on record of the commands that change the configuration. */
#include "tests/unit/args_words.h"
#include "tests/unit/json_text.h"

#include "policy/config.h"
#include "policy/state.h"

static void add(json_t *state, const struct args *args, const char *command)
{
    json_t *data = json_text(command);

    config_add(state, args, data);
    json_decref(data);
}

static void node_that_came_and_went_leaves_no_trace(void **state)
{
    struct err err = ERR_INIT;
    struct args *args = words_parse("-m 64 -drive file=/i/a.qcow2,if=none,id=d0,node-name=top0", &err);
    json_t *record = state_new();
    const json_t *config = json_object_get(record, "config");

    (void)state;
    assert_non_null(args);
    add(record, args, "{'execute': 'blockdev-add', 'arguments': {'node-name': 'mine'}}");
    add(record, args, "{'execute': 'blockdev-add', 'arguments': {'node-name': 'other'}}");
    add(record, args, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'mine'}}");
    assert_json_is(config, "[{'execute': 'blockdev-add', 'arguments': {'node-name': 'other'}}]");
    /* The overlay of a snapshot, whose blockdev-add is on record as a layer. */
    add(record, args, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'merged'}}");
    assert_int_equal(json_array_size(config), 1);
    /* The next process would have that one. */
    add(record, args, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'top0'}}");
    assert_int_equal(json_array_size(config), 2);
    /* Others have named this one. */
    add(record, args, "{'execute': 'device_add', 'arguments': {'drive': 'other'}}");
    add(record, args, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'other'}}");
    assert_int_equal(json_array_size(config), 4);
    /* Attached, nobody knows what it began with. */
    add(record, NULL, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'x'}}");
    assert_int_equal(json_array_size(config), 5);
    json_decref(record);
    args_free(args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_that_came_and_went_leaves_no_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
