/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/request.h"

#include <string.h>

#include "policy/name.h"
#include "policy/state.h"

enum request_type { REQUEST_NAME, REQUEST_STR, REQUEST_BOOL, REQUEST_STRS, REQUEST_ENUM, REQUEST_JOB };

struct request_member {
    const char *command, *name;
    enum request_type type;
    bool required;
    const char *values;         /* REQUEST_ENUM: words between '|' */
};

#define CREATE "snapshot-create"
#define REVERT "snapshot-revert"
#define DELETE "snapshot-delete"
#define QUERY "query-snapshots"

static const struct request_member request_members[] = {
    { CREATE, "name", REQUEST_NAME, true, NULL },
    { CREATE, "description", REQUEST_STR, false, NULL },
    { CREATE, "disks", REQUEST_STRS, false, NULL },
    { CREATE, "memory", REQUEST_ENUM, false, "|stream|vmstate|none|" },
    { CREATE, "live", REQUEST_BOOL, false, NULL },
    { CREATE, "job-id", REQUEST_JOB, false, NULL },
    { CREATE, "dry-run", REQUEST_BOOL, false, NULL },
    { REVERT, "name", REQUEST_NAME, true, NULL },
    { REVERT, "state", REQUEST_ENUM, false, "|as-saved|running|paused|prelaunch|" },
    { REVERT, "method", REQUEST_ENUM, false, "|auto|in-place|respawn|standby|replace|" },
    { REVERT, "discard", REQUEST_BOOL, false, NULL },
    { REVERT, "save-as", REQUEST_NAME, false, NULL },
    { REVERT, "job-id", REQUEST_JOB, false, NULL },
    { REVERT, "dry-run", REQUEST_BOOL, false, NULL },
    { DELETE, "name", REQUEST_NAME, true, NULL },
    { DELETE, "children", REQUEST_ENUM, false, "|keep|include|only|" },
    { DELETE, "direction", REQUEST_ENUM, false, "|auto|commit|stream|" },
    { DELETE, "metadata-only", REQUEST_BOOL, false, NULL },
    { DELETE, "job-id", REQUEST_JOB, false, NULL },
    { DELETE, "dry-run", REQUEST_BOOL, false, NULL },
    { QUERY, "name", REQUEST_NAME, false, NULL },
    { QUERY, "verify", REQUEST_BOOL, false, NULL },
    { NULL, NULL, REQUEST_STR, false, NULL },
};

static bool request_wrong_type(const char *name, const char *expected, struct err *err)
{
    err_set(err, NULL, "Invalid parameter type for '%s', expected: %s", name, expected);
    return false;
}

static bool request_check_enum(const struct request_member *member, const char *value,
                               struct err *err)
{
    const char *at = member->values;
    size_t len = strcspn(value, "|");

    for (; at && value[len] == '\0' && at[1]; at = strchr(at + 1, '|'))
        if (strncmp(at + 1, value, len) == 0 && at[1 + len] == '|' && len > 0)
            return true;
    err_set(err, NULL, "Parameter '%s' does not accept value '%.80s'", member->name, value);
    return false;
}

/* As QEMU's id_wellformed(): a letter, then letters, digits, '-', '.', '_'. */
static bool request_check_job(const char *id, struct err *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static const char all[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";

    if (id[0] && strchr(letters, id[0]) && strspn(id, all) == strlen(id) && strlen(id) < 128 &&
        strncmp(id, "qsnap-", 6) != 0)
        return true;
    err_set(err, NULL, "Invalid job ID '%.80s'", id);
    return false;
}

static bool request_check_list(const char *name, const json_t *value, struct err *err)
{
    json_t *item;
    size_t i;

    if (!json_is_array(value))
        return request_wrong_type(name, "array", err);
    json_array_foreach((json_t *)value, i, item)
        if (!json_is_string(item))
            return request_wrong_type(name, "string", err);
    return true;
}

static bool request_check_member(const struct request_member *member, const json_t *value,
                                 struct err *err)
{
    const char *text = json_string_value(value);

    if (member->type == REQUEST_BOOL)
        return json_is_boolean(value) || request_wrong_type(member->name, "boolean", err);
    if (member->type == REQUEST_STRS)
        return request_check_list(member->name, value, err);
    if (!text || strlen(text) != json_string_length(value))
        return request_wrong_type(member->name, "string", err);
    switch (member->type) {
    case REQUEST_NAME:
        return name_check(text, err);
    case REQUEST_ENUM:
        return request_check_enum(member, text, err);
    case REQUEST_JOB:
        return request_check_job(text, err);
    default:
        return true;
    }
}

static const struct request_member *request_find(const char *command, const char *name)
{
    const struct request_member *member;

    for (member = request_members; member->name; member++)
        if (strcmp(member->command, command) == 0 && strcmp(member->name, name) == 0)
            return member;
    return NULL;
}

bool request_check(const char *command, const json_t *arguments, struct err *err)
{
    const struct request_member *member;
    const char *name;
    json_t *value;

    for (member = request_members; member->name; member++) {
        if (strcmp(member->command, command) != 0)
            continue;
        value = json_object_get(arguments, member->name);
        if (!value && member->required) {
            err_set(err, NULL, "Parameter '%s' is missing", member->name);
            return false;
        }
        if (value && !request_check_member(member, value, err))
            return false;
    }
    json_object_foreach((json_t *)arguments, name, value) {
        if (!request_find(command, name)) {
            err_set(err, NULL, "Parameter '%.200s' is unexpected", name);
            return false;
        }
    }
    return true;
}

enum request_delete request_delete_whose(const json_t *arguments)
{
    bool ours = json_object_get(arguments, "name");
    bool theirs = json_object_get(arguments, "tag") || json_object_get(arguments, "devices");

    if (ours && theirs)
        return REQUEST_DELETE_BOTH;
    return ours ? REQUEST_DELETE_OURS : REQUEST_DELETE_QEMU;
}
