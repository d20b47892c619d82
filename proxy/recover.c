/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/recover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/fitting.h"
#include "policy/planner.h"
#include "policy/planner_layers.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/collect.h"
#include "proxy/deeds.h"
#include "proxy/in_use.h"
#include "proxy/log.h"
#include "proxy/operation.h"
#include "proxy/process.h"
#include "proxy/recover_internal.h"
#include "proxy/recover_look.h"
#include "qmp/alloc.h"

/* Unlinks what the arguments of such a deed name; no QEMU of ours is there to be asked. */
static void recover_unlink(const struct daemon *daemon, const char *name, const json_t *args)
{
    json_t *mine = json_copy((json_t *)args), *result = NULL;
    struct err err = ERR_INIT;

    json_object_set_new(mine, "known", in_use_new(daemon->store->state));
    if (!deeds_find(name)(mine, &result, &err))
        log_warn("%s", err.desc);
    err_clear(&err);
    json_decref(result);
    json_decref(mine);
}

void recover_undo_files(const struct daemon *daemon, const json_t *plan)
{
    json_t *step, *one;
    size_t i, k;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        json_array_foreach(json_object_get(step, "undo"), k, one)
            if (strcmp(state_str(one, "step"), "file-remove") == 0)
                recover_unlink(daemon, "file-remove", json_object_get(one, "args"));
}

/* Removes what the plan was to remove and the record does not need. */
static void recover_remove(const struct daemon *daemon, const json_t *plan)
{
    json_t *args;

    if (daemon->store->unwritten)
        return;
    args = json_pack("{s:o}", "files", planner_unneeded(plan, daemon->store->state));

    recover_unlink(daemon, "files-remove", args);
    json_decref(args);
}

/* Of an interrupted delete. */
struct recover_disks {
    const struct world *world;
    const json_t *plan, *state;
};

/* Have the chains of the disks that the plan concerns in that record the headers that it says?  Whether a file was
 * touched since is not asked: that says nothing of which record is the right one. */
static bool recover_fits(void *arg, const json_t *record)
{
    const struct recover_disks *disks = arg;
    struct err err = ERR_INIT;
    const char *key;
    json_t *disk, *id;
    bool ok = true;
    size_t i;

    json_object_foreach(json_object_get(record, "disks"), key, disk) {
        json_t *chain = state_chain(record, state_str(disk, "active"), false);

        if (fitting_concerns(disks->plan, disks->state, key))
            json_array_foreach(chain, i, id)
                ok = ok && layers_check_header(disks->world, record, json_string_value(id), &err);
        json_decref(chain);
    }
    if (err.set)
        log_info("recovery: %s", err.desc);
    err_clear(&err);
    return ok;
}

/* Is what the journal says to be committed so?  Its undo may have removed the overlays when the journal could not
 * be written any more.  False with err: their images are not there either, so that nothing can be told. */
static bool recover_still_committed(struct daemon *daemon, const json_t *after, bool *committed,
                                    struct err *err)
{
    struct world world;
    bool ok = recover_look_at(daemon, after, &world, err);

    if (ok && !recover_look_overlays(&world, daemon->store->state, after)) {
        *committed = false;
        ok = recover_look_images(&world, daemon->store->state, after, err);
    }
    json_decref(world.files);
    return ok;
}

/* What a revert has made is removed.  As long as a file system is not mounted it is not gone. */
static bool recover_take_back(struct daemon *daemon, const json_t *plan, struct err *err)
{
    struct world world;
    json_t *step, *undo;
    size_t i, k;
    bool ok = recover_look_at(daemon, daemon->store->state, &world, err);

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        json_array_foreach(json_object_get(step, "undo"), k, undo)
            if (ok && strcmp(state_str(undo, "step"), "file-remove") == 0)
                ok = recover_look_beside(&world, daemon->store->state,
                                         state_str(json_object_get(undo, "args"), "file"), err);
    if (ok)
        recover_undo_files(daemon, plan);
    json_decref(world.files);
    return ok;
}

/* The record may be newer than the journal, where that could not be removed. */
static bool recover_revert(struct daemon *daemon, const json_t *plan, bool committed,
                           struct err *err)
{
    const json_t *after = json_object_get(plan, "after");
    /* A record that is written already knows more than a journal that is older. */
    bool written = state_is_after(daemon->store->state, after), told = true;

    if (committed && !written)
        told = recover_still_committed(daemon, after, &committed, err);
    if (told && !committed)
        told = recover_take_back(daemon, plan, err);
    if (told)
        log_warn("snapshot-revert to '%s' was interrupted: it is %s", state_str(plan, "name"),
                 committed ? "finished" : "taken back");
    else
        err_prefix(err, "snapshot-revert to '%s' was interrupted, and that cannot be settled yet",
                   state_str(plan, "name"));
    if (!told || !committed)
        return told;
    if (!written)
        store_write_or_keep(daemon->store, after);
    recover_remove(daemon, plan);
    return true;
}

/* The record follows the images: before it is written, they are on the disk. */
static bool recover_record(struct daemon *daemon, const json_t *fitting, struct err *err)
{
    json_t *steps = fitting_steps(fitting, daemon->store->state), *step, *result = NULL;
    size_t i;

    json_array_foreach(steps, i, step)
        if (!err->set)
            deeds_find(state_str(step, "step"))(json_object_get(step, "args"), &result, err);
    json_decref(steps);
    if (!err->set)
        store_write_or_keep(daemon->store, fitting);
    return !err->set;
}

static bool recover_delete(struct daemon *daemon, const json_t *plan, struct err *err)
{
    const json_t *fitting = NULL, *state = daemon->store->state;
    struct world world;
    struct recover_disks disks = { .world = &world, .plan = plan, .state = state };

    if (recover_look_at(daemon, state, &world, err))
        fitting = fitting_record(&world, plan, state, recover_fits, &disks);
    json_decref(world.files);
    if (err->set)
        return false;
    if (!fitting) {
        err_set(err, REASON_CHAIN_MISMATCH, "The images are not as any record of the interrupted delete "
                "of '%s' says (the log tells which): put back what is missing",
                state_str(plan, "name"));
        return false;
    }
    log_warn("snapshot-delete of '%s' was interrupted: delete it again to finish",
             state_str(plan, "name"));
    if (fitting != state && !recover_record(daemon, fitting, err))
        return false;
    recover_remove(daemon, plan);
    return true;
}

static bool recover_settle(struct daemon *daemon, const json_t *journal, struct err *err)
{
    const json_t *plan = json_object_get(journal, "plan");
    const char *operation = state_str(plan, "operation");
    bool committed = planner_journal_committed(journal, daemon->store->state);

    if (!operation || !state_str(plan, "name"))
        return true;
    if (strcmp(operation, "snapshot-revert") == 0)
        return recover_revert(daemon, plan, committed, err);
    if (committed) {
        recover_remove(daemon, plan);
        return true;
    }
    return strcmp(operation, "snapshot-create") == 0 ? recover_create(daemon, plan, err)
                                                     : recover_delete(daemon, plan, err);
}

static void recover_close(struct daemon *daemon)
{
    struct err err = ERR_INIT;

    daemon->store->over = true;
    if (!daemon->store->unwritten && !store_remove_journal(daemon->store, &err))
        log_warn("%s", err.desc);
    err_clear(&err);
}

bool recover_cold(struct daemon *daemon, struct err *err)
{
    json_t *journal;
    bool ok;

    if (!store_read_journal(daemon->store, &journal, err))
        return false;
    ok = !journal || recover_settle(daemon, journal, err);
    /* As long as there is no record the journal says whose memory it is. */
    if (ok && !daemon->store->unwritten)
        store_sweep_memory(daemon->store);
    if (ok && journal)
        recover_close(daemon);
    json_decref(journal);
    return ok;
}

bool recover_wants_next(struct daemon *daemon, bool *wants, struct err *err)
{
    json_t *journal = NULL;

    *wants = false;
    if (!store_read_journal(daemon->store, &journal, err))
        return false;
    *wants = journal && !planner_is_relaunch(journal) &&
             planner_journal_committed(journal, daemon->store->state);
    json_decref(journal);
    return true;
}

/* Is main the QEMU that a respawn was to end?  Nothing else tells a first one, whose second has ended,
 * from a second one that has taken over. */
static bool recover_is_first(const struct daemon *daemon, const json_t *journal)
{
    const json_t *plan = json_object_get(journal, "plan");
    json_int_t pid = json_integer_value(json_object_get(plan, "pid"));
    json_int_t start = json_integer_value(json_object_get(plan, "start"));
    const char *method = state_str(plan, "method");
    unsigned long long start_now;
    long pid_now;

    vm_who(daemon->vm, &pid_now, &start_now);
    return method && strcmp(method, "respawn") == 0 && pid != 0 && pid == pid_now &&
           start == (json_int_t)start_now;
}

enum world_next recover_next(const struct daemon *daemon, const json_t *journal)
{
    return vm_next(daemon->vm)                  ? WORLD_NEXT_ALIVE
           : recover_is_first(daemon, journal) ? WORLD_NEXT_GONE
                                               : WORLD_NEXT_NONE;
}

bool recover_is_other(const struct daemon *daemon, const json_t *journal)
{
    const json_t *plan = json_object_get(journal, "plan");
    json_int_t was = json_integer_value(json_object_get(plan, "pid"));
    json_int_t began = json_integer_value(json_object_get(plan, "start"));

    return !daemon->args && was && began &&
           process_read_start_time((pid_t)was) != (unsigned long long)began;
}

json_t *recover_take_journal(struct daemon *daemon)
{
    struct err err = ERR_INIT;
    json_t *journal = NULL;

    /* It is settled, but for what could not be written (store_settle()). */
    if (daemon->store->unwritten)
        return NULL;
    /* Of an operation that is over, and could not be closed, only the journal is left. */
    if (daemon->store->over ? store_remove_journal(daemon->store, &err)
                            : store_read_journal(daemon->store, &journal, &err)) {
        operation_set_stuck(daemon, NULL);
        daemon->torn = false;
    } else {
        operation_set_stuck(daemon, err.desc);
        err_clear(&err);
    }
    return journal;
}

void recover_hot(struct daemon *daemon)
{
    json_t *journal;

    if (daemon->operation) {
        operation_answers(daemon);
        return;
    }
    journal = recover_take_journal(daemon);
    if (journal)
        operation_recover(daemon, journal);
    json_decref(journal);
}
