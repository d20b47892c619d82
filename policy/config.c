/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/config.h"

#include <stdlib.h>
#include <string.h>

#include "policy/state.h"

const char *config_node(const json_t *command, const char *execute)
{
    const char *name = state_str(command, "execute");

    return name && strcmp(name, execute) == 0
               ? state_str(json_object_get(command, "arguments"), "node-name") : NULL;
}

/* Did the command open that node? */
static bool config_opens(const json_t *command, const char *node)
{
    const char *opened = config_node(command, "blockdev-add");

    return opened && strcmp(opened, node) == 0;
}

/* Does the command line, or a command other than the one that opened it, name the node?  Any text with
 * the name in it counts. */
static bool config_mentions(const json_t *config, const struct args *args, const char *node)
{
    char **argv = args ? args_render(args) : NULL;
    bool found = false;
    json_t *command;
    size_t i;

    for (i = 0; argv && argv[i]; i++)
        found = found || strstr(argv[i], node);
    args_strv_free(argv);
    json_array_foreach((json_t *)config, i, command) {
        char *text = json_dumps(command, 0);

        found = found || !text || (!config_opens(command, node) && strstr(text, node));
        free(text);
    }
    return found;
}

void config_add(json_t *state, const struct args *args, const json_t *command)
{
    json_t *config = json_object_get(state, "config");
    const char *closed = config_node(command, "blockdev-del");

    if (!closed || !args || config_mentions(config, args, closed)) {
        json_array_append(config, (json_t *)command);
        return;
    }
    for (size_t i = json_array_size(config); i-- > 0;)
        if (config_opens(json_array_get(config, i), closed))
            json_array_remove(config, i);
}
