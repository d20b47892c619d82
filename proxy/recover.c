/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/recover.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/planner_layers.h"
#include "policy/state.h"
#include "proxy/collect.h"
#include "proxy/deeds.h"
#include "proxy/log.h"

/* Runs the deeds of that name in the plan's steps, or in the undo lists of them. */
static void recover_deeds(const json_t *plan, const char *name, bool undo)
{
    json_t *step, *one;
    size_t i, k;

    json_array_foreach(json_object_get(plan, "steps"), i, step) {
        json_t *list = undo ? json_incref(json_object_get(step, "undo")) : json_pack("[O]", step);

        json_array_foreach(list, k, one) {
            struct err err = ERR_INIT;
            json_t *result = NULL;

            if (strcmp(state_str(one, "step"), name) == 0 &&
                !deeds_find(name)(json_object_get(one, "args"), &result, &err))
                log_warn("%s", err.desc);
            err_clear(&err);
            json_decref(result);
        }
        json_decref(list);
    }
}

/* Do all disks' chains in that record have the headers that it says? */
static bool recover_fits(struct daemon *daemon, const json_t *state)
{
    json_t *paths, *found = NULL;
    struct world world;
    struct err err = ERR_INIT;
    const char *key;
    json_t *disk;
    bool ok;

    collect_static(daemon, &world);
    paths = collect_paths(&world, state);
    ok = deed_inspect(paths, &found, &err);
    world.files = json_object_get(found, "files");
    json_object_foreach(json_object_get(state, "disks"), key, disk)
        ok = ok && layers_check_headers(&world, state, state_str(disk, "active"), &err);
    if (err.set)
        log_info("recovery: %s", err.desc);
    err_clear(&err);
    json_decref(paths);
    json_decref(found);
    return ok;
}

/* new: the record of a create without its snapshot: the overlays stay, as layers without a name. */
static json_t *recover_adopted(const json_t *plan, const json_t *state)
{
    json_t *adopted = json_deep_copy(json_object_get(plan, "after"));

    state_snapshot_remove(adopted, state_str(plan, "name"));
    json_object_set(adopted, "current", json_object_get(state, "current"));
    return adopted;
}

static bool recover_create(struct daemon *daemon, const json_t *plan, struct err *err)
{
    json_t *adopted = recover_adopted(plan, daemon->store->state);
    bool ok = true;

    if (json_is_true(json_object_get(plan, "adopt")) && recover_fits(daemon, adopted)) {
        log_warn("snapshot-create of '%s' was interrupted: its overlays are kept",
                 state_str(plan, "name"));
        ok = store_write(daemon->store, adopted, err);
    } else {
        log_warn("snapshot-create of '%s' was interrupted: it is taken back",
                 state_str(plan, "name"));
        recover_deeds(plan, "file-remove", true);
    }
    json_decref(adopted);
    return ok;
}

static bool recover_revert(struct daemon *daemon, const json_t *plan, bool committed,
                           struct err *err)
{
    log_warn("snapshot-revert to '%s' was interrupted: it is %s", state_str(plan, "name"),
             committed ? "finished" : "taken back");
    if (!committed) {
        recover_deeds(plan, "file-remove", true);
        return true;
    }
    if (!store_write(daemon->store, json_object_get(plan, "after"), err))
        return false;
    recover_deeds(plan, "files-remove", false);
    return true;
}

static bool recover_delete(struct daemon *daemon, const json_t *plan, struct err *err)
{
    json_t *step;
    size_t i;

    log_warn("snapshot-delete of '%s' was interrupted: delete it again to finish",
             state_str(plan, "name"));
    if (recover_fits(daemon, daemon->store->state))
        return true;
    /* A merge was ended and not recorded any more: one of the records that would have followed. */
    json_array_foreach(json_object_get(plan, "steps"), i, step) {
        const json_t *state = json_object_get(json_object_get(step, "args"), "state");

        if (state && recover_fits(daemon, state))
            return store_write(daemon->store, state, err);
    }
    return true; /* the start refuses, and says which image does not fit */
}

static bool recover_settle(struct daemon *daemon, const json_t *journal, struct err *err)
{
    const json_t *plan = json_object_get(journal, "plan");
    const char *operation = state_str(plan, "operation");
    bool committed = json_is_true(json_object_get(journal, "committed")) ||
                     json_equal(json_object_get(plan, "after"), daemon->store->state);

    if (!operation || !state_str(plan, "name"))
        return true;
    if (strcmp(operation, "snapshot-revert") == 0)
        return recover_revert(daemon, plan, committed, err);
    if (committed) {
        recover_deeds(plan, "files-remove", false);
        return true;
    }
    return strcmp(operation, "snapshot-create") == 0 ? recover_create(daemon, plan, err)
                                                     : recover_delete(daemon, plan, err);
}

bool recover_cold(struct daemon *daemon, struct err *err)
{
    json_t *journal;
    bool ok;

    if (!store_read_journal(daemon->store, &journal, err))
        return false;
    ok = !journal || (recover_settle(daemon, journal, err) &&
                      store_remove_journal(daemon->store, err));
    json_decref(journal);
    if (ok)
        store_sweep_memory(daemon->store);
    return ok;
}

/* Was the guest stopped by a step of the plan? */
static bool recover_has_stop(const json_t *plan)
{
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        if (strcmp(state_str(step, "step"), "stop") == 0)
            return true;
    return false;
}

static void recover_cont_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                            const struct message_reply *reply)
{
    (void)arg;
    (void)text;
    (void)len;
    (void)reply;
    log_warn("the guest %s", answer == ANSWER_RETURN ? "goes on" : "could not be continued");
}

void recover_hot(struct daemon *daemon)
{
    struct err err = ERR_INIT;
    json_t *journal = NULL;
    const json_t *plan;

    if (!daemon->adopted)
        return;
    if (!store_read_journal(daemon->store, &journal, &err)) {
        daemon->stuck = strdup(err.desc);
        err_clear(&err);
        return;
    }
    if (!journal)
        return;
    plan = json_object_get(journal, "plan");
    daemon->stuck = strdup("an operation was interrupted when its proxy ended; it is settled when "
                           "QEMU is started the next time");
    if (recover_has_stop(plan))
        link_send_command(vm_main(daemon->vm), "cont", NULL, -1, recover_cont_cb, daemon);
    json_decref(journal);
}
