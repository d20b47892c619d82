/* SPDX-License-Identifier: GPL-2.0-or-later */
/* settings: what a process has to be told so that it has another one's. */
#include "tests/unit/json_text.h"

#include "policy/settings.h"

static void what_differs_is_told(void **state)
{
    static const struct {
        const char *want, *have, *commands;
    } rows[] = {
        { "{'capabilities': {'events': false}, 'parameters': {'max-bandwidth': 1}}",
          "{'capabilities': {'events': false}, 'parameters': {'max-bandwidth': 1}}", "[]" },
        /* either way, and all of one kind at once */
        { "{'capabilities': {'a': true, 'b': false, 'c': true}, 'parameters': {}}",
          "{'capabilities': {'a': false, 'b': true, 'c': true}, 'parameters': {'x': 1}}",
          "[{'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': ["
          " {'capability': 'a', 'state': true}, {'capability': 'b', 'state': false}]}}]" },
        { "{'capabilities': {'a': true}, 'parameters': {'x': 1, 'y': 'text', 'z': 3}}",
          "{'capabilities': {'a': true}, 'parameters': {'x': 2, 'y': '', 'z': 3}}",
          "[{'execute': 'migrate-set-parameters', 'arguments': {'x': 1, 'y': 'text'}}]" },
        { "{'capabilities': {'a': true}, 'parameters': {'x': 1}}",
          "{'capabilities': {'a': false}, 'parameters': {'x': 2}}",
          "[{'execute': 'migrate-set-capabilities', 'arguments': {'capabilities': ["
          " {'capability': 'a', 'state': true}]}},"
          " {'execute': 'migrate-set-parameters', 'arguments': {'x': 1}}]" },
        /* another version has no such thing, and has others */
        { "{'capabilities': {'old': true}, 'parameters': {'old': 1}}",
          "{'capabilities': {'new': true}, 'parameters': {'new': 1}}", "[]" },
        /* this one is not shown until it is set */
        { "{'parameters': {'block-bitmap-mapping': []}}", "{'parameters': {}}",
          "[{'execute': 'migrate-set-parameters', 'arguments': {'block-bitmap-mapping': []}}]" },
        { "{}", "{'capabilities': {'a': true}, 'parameters': {'x': 1}}", "[]" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *want = json_text(rows[i].want), *have = json_text(rows[i].have);
        json_t *commands = settings_commands(want, have);

        assert_json_is(commands, rows[i].commands);
        json_decref(want);
        json_decref(have);
        json_decref(commands);
    }
}

static void settings_are_those_of_the_world(void **state)
{
    struct world world = { .capabilities = json_text("{'events': true}"),
                           .parameters = json_text("{'max-bandwidth': 5}") };
    json_t *settings = settings_of(&world);

    (void)state;
    assert_json_is(settings, "{'capabilities': {'events': true}, 'parameters': {'max-bandwidth': 5}}");
    json_decref(settings);
    world_clear(&world);
    settings = settings_of(&world);
    assert_json_is(settings, "{}");
    json_decref(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_differs_is_told),
        cmocka_unit_test(settings_are_those_of_the_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
