/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/settings.h"

#include <string.h>

/* The one parameter that is not shown while it is not set (migration/options.c, query_migrate_parameters). */
#define SETTINGS_HIDDEN "block-bitmap-mapping"

json_t *settings_of(const struct world *world)
{
    return json_pack("{s:O*, s:O*}", "capabilities", world->capabilities, "parameters",
                     world->parameters);
}

/* new: the members of want that are others in have. */
static json_t *settings_differing(const json_t *want, const json_t *have)
{
    json_t *out = json_object(), *value;
    const char *key;

    json_object_foreach((json_t *)want, key, value) {
        const json_t *now = json_object_get(have, key);

        if ((now || strcmp(key, SETTINGS_HIDDEN) == 0) && !json_equal(now, value))
            json_object_set(out, key, value);
    }
    return out;
}

json_t *settings_commands(const json_t *want, const json_t *have)
{
    json_t *capabilities = settings_differing(json_object_get(want, "capabilities"),
                                              json_object_get(have, "capabilities"));
    json_t *parameters = settings_differing(json_object_get(want, "parameters"),
                                            json_object_get(have, "parameters"));
    json_t *list = json_array(), *commands = json_array(), *value;
    const char *key;

    json_object_foreach(capabilities, key, value)
        json_array_append_new(list, json_pack("{s:s, s:O}", "capability", key, "state", value));
    /* All at once: QEMU judges them together. */
    if (json_array_size(list) > 0)
        json_array_append_new(commands, json_pack("{s:s, s:{s:O}}", "execute",
                                                  "migrate-set-capabilities", "arguments",
                                                  "capabilities", list));
    if (json_object_size(parameters) > 0)
        json_array_append_new(commands, json_pack("{s:s, s:O}", "execute", "migrate-set-parameters",
                                                  "arguments", parameters));
    json_decref(capabilities);
    json_decref(parameters);
    json_decref(list);
    return commands;
}
