/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/reserved.h"

#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"

struct reserved_row {
    const char *command;
    const char *member;         /* that gives a name, beside those that do so in all of them */
};

static const struct reserved_row reserved_rows[] = {
    { "block-commit", NULL },
    { "block-stream", NULL },
    { "blockdev-add", "node-name" },
    { "blockdev-backup", NULL },
    { "blockdev-create", NULL },
    { "blockdev-mirror", NULL },
    { "blockdev-snapshot-sync", NULL },
    { "drive-backup", NULL },
    { "drive-mirror", "node-name" },
    { "getfd", "fdname" },
    { "human-monitor-command", NULL },
    { "snapshot-delete", NULL },
    { "snapshot-load", NULL },
    { "snapshot-save", NULL },
    { "transaction", NULL },
    { "x-blockdev-amend", NULL },
};

static const char *const reserved_members[] = { "job-id", "filter-node-name", "snapshot-node-name" };

static const struct reserved_row *reserved_find(const char *command)
{
    for (size_t i = 0; i < sizeof(reserved_rows) / sizeof(reserved_rows[0]); i++)
        if (strcmp(reserved_rows[i].command, command) == 0)
            return &reserved_rows[i];
    return NULL;
}

bool reserved_concerned(const char *command)
{
    return reserved_find(command) != NULL;
}

static bool reserved_gives(const struct reserved_row *row, const char *member)
{
    if (row->member && strcmp(row->member, member) == 0)
        return true;
    for (size_t i = 0; i < sizeof(reserved_members) / sizeof(reserved_members[0]); i++)
        if (strcmp(reserved_members[i], member) == 0)
            return true;
    return false;
}

static bool reserved_is(const char *name)
{
    return name && strncmp(name, RESERVED_PREFIX, sizeof(RESERVED_PREFIX) - 1) == 0;
}

/* borrowed: a name of ours that is given in there, however deep: a node's options may hold those of others,
 * and a transaction holds commands. */
static const char *reserved_given(const struct reserved_row *row, const json_t *value)
{
    const char *key, *found = NULL;
    json_t *inner;
    size_t i;

    json_array_foreach((json_t *)value, i, inner)
        found = found ? found : reserved_given(row, inner);
    json_object_foreach((json_t *)value, key, inner) {
        if (found)
            break;
        found = reserved_gives(row, key) && reserved_is(json_string_value(inner))
                    ? json_string_value(inner) : reserved_given(row, inner);
    }
    return found;
}

/* The human monitor's drive_add and its like take options as they stand on a command line. */
static const char *reserved_in_line(const char *line)
{
    return line ? strstr(line, "node-name=" RESERVED_PREFIX) : NULL;
}

bool reserved_check(const char *command, const json_t *arguments, struct err *err)
{
    const struct reserved_row *row = reserved_find(command);
    const char *found = NULL;

    if (row && strcmp(command, "human-monitor-command") == 0)
        found = reserved_in_line(state_str(arguments, "command-line"));
    else if (row && json_is_string(arguments))
        found = strstr(json_string_value(arguments), RESERVED_PREFIX);
    else if (row)
        found = reserved_given(row, arguments);
    if (!found)
        return true;
    err_set(err, REASON_BAD_NAME, "'%.80s': names that begin with '" RESERVED_PREFIX "' are kept for what "
            "snapshot operations make: choose another one", found);
    err_name(err, "name", found);
    return false;
}
