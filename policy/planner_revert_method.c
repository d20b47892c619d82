/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/planner_revert_method.h"

#include <string.h>

#include "policy/planner_inplace.h"
#include "policy/reason.h"
#include "policy/vmstate.h"

/* What speaks against a second process that can be told before it is planned. */
static bool respawn_possible(const struct revert *revert, struct err *why)
{
    if (!revert->world->args)
        err_set(why, REASON_METHOD_UNAVAILABLE, "it needs a new QEMU process, which an attached proxy "
                "cannot start: run QEMU as 'qmp-proxy -- qemu-system-x86_64 ...'");
    else if (vmstate_is(revert->memory) && strcmp(revert->target, "paused") == 0)
        err_set(why, REASON_METHOD_UNAVAILABLE, "a second QEMU that has loaded a vmstate shows as one "
                "that never ran until it is continued: give state: running");
    return !why->set;
}

static const struct method {
    const char *name;
    bool (*possible)(const struct revert *revert, struct err *why);
    const char *good;           /* why it is taken */
    bool named;                 /* only by name */
} methods[] = {
    { REVERT_IN_PLACE, in_place_possible, "the QEMU that runs can load its memory: no process is started, "
      "and all connections stay", false },
    { REVERT_RESPAWN, respawn_possible, "a second QEMU loads it while the first one runs on", false },
    { REVERT_REPLACE, respawn_possible, "it was asked for", true },
};

static void method_note(struct revert *revert, const char *name, const char *why)
{
    json_array_append_new(revert->reasons, json_sprintf("%s: %s", name, why));
}

/* What speaks against all methods that could have been taken. */
static void method_refuse(const struct revert *revert, const char *wanted, struct err *err)
{
    json_t *all = json_string(""), *reason, *longer;
    size_t i;

    json_array_foreach(revert->reasons, i, reason) {
        longer = json_sprintf("%s%s%s", json_string_value(all), i ? "; " : "",
                              json_string_value(reason));
        json_decref(all);
        all = longer;
    }
    err_set(err, REASON_METHOD_UNAVAILABLE, "Snapshot '%s' cannot be reverted to by %s: %s", revert->name,
            wanted ? "this method" : "any method", json_string_value(all));
    err_name(err, "snapshot", revert->name);
    if (wanted)
        err_name(err, "method", wanted);
    json_decref(all);
}

bool revert_choose_method(struct revert *revert, const json_t *request, struct err *err)
{
    const char *wanted = json_string_value(json_object_get(request, "method"));

    if (wanted && strcmp(wanted, "auto") == 0)
        wanted = NULL;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]) && !revert->method; i++) {
        struct err why = ERR_INIT;

        if (wanted ? strcmp(wanted, methods[i].name) != 0 : methods[i].named)
            continue;
        if (methods[i].possible(revert, &why))
            revert->method = methods[i].name;
        method_note(revert, methods[i].name, why.set ? why.desc : methods[i].good);
        err_clear(&why);
    }
    if (revert->method)
        return true;
    if (json_array_size(revert->reasons) == 0)
        method_note(revert, wanted, "it is not available yet: use in-place, respawn or replace, or leave it out");
    method_refuse(revert, wanted, err);
    return false;
}
