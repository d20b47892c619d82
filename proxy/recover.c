/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/recover.h"

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
#include "proxy/log.h"
#include "proxy/operation.h"

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

/* What the files say that a record names. */
static void recover_look(struct daemon *daemon, const json_t *state, struct world *world)
{
    json_t *paths, *found = NULL;
    struct err err = ERR_INIT;

    collect_static(daemon, world);
    paths = collect_paths(world, state);
    if (!deed_inspect(paths, &found, &err))
        err_clear(&err);
    world->files = json_incref(json_object_get(found, "files"));
    json_decref(paths);
    json_decref(found);
}

/* Do all disks' chains in that record have the headers that it says?  Whether a file was touched since
 * is not asked: that says nothing of which record is the right one. */
static bool recover_fits(void *arg, const json_t *record)
{
    const struct world *world = arg;
    struct err err = ERR_INIT;
    const char *key;
    json_t *disk, *id;
    bool ok = true;
    size_t i;

    json_object_foreach(json_object_get(record, "disks"), key, disk) {
        json_t *chain = state_chain(record, state_str(disk, "active"), false);

        json_array_foreach(chain, i, id)
            ok = ok && layers_check_header(world, record, json_string_value(id), &err);
        json_decref(chain);
    }
    if (err.set)
        log_info("recovery: %s", err.desc);
    err_clear(&err);
    return ok;
}

/* Are the images there that the disks stood on before?  As long as a file system is not mounted
 * nothing can be told of what lies beside them. */
static bool recover_there(const struct world *world, const json_t *before, const json_t *adopted,
                          struct err *err)
{
    const char *key;
    json_t *disk, *id;
    size_t i;

    json_object_foreach(json_object_get(adopted, "disks"), key, disk) {
        json_t *chain = state_chain(adopted, state_str(disk, "active"), true);

        json_array_foreach(chain, i, id) {
            const json_t *layer = state_layer(adopted, json_string_value(id));
            const char *real = state_str(layer, "real");
            bool old = state_layer(before, json_string_value(id)) ||
                       json_object_get(layer, "base") || json_object_get(layer, "foreign");

            if (!old || err->set || world_file(world, real))
                continue;
            err_set(err, REASON_IMAGE_CHANGED, "The image '%s' is missing", real);
            err_name(err, "file", real);
        }
        json_decref(chain);
    }
    return !err->set;
}

/* Where there is no room for it the record is kept, and the journal with it: the next start decides as
 * this one did. */
static void recover_write(struct daemon *daemon, const json_t *state)
{
    struct err err = ERR_INIT;

    if (!store_write(daemon->store, state, &err)) {
        log_warn("%s", err.desc);
        store_keep(daemon->store, state);
    }
    err_clear(&err);
}

static bool recover_create(struct daemon *daemon, const json_t *plan, struct err *err)
{
    json_t *adopted = planner_adopted(plan, daemon->store->state);
    struct world world;
    bool ok;

    recover_look(daemon, adopted, &world);
    ok = recover_there(&world, daemon->store->state, adopted, err);
    if (!ok) {
        log_warn("snapshot-create of '%s' was interrupted: that is settled when its images are there",
                 state_str(plan, "name"));
    } else if (json_is_true(json_object_get(plan, "adopt")) && recover_fits(&world, adopted)) {
        log_warn("snapshot-create of '%s' was interrupted: its overlays are kept",
                 state_str(plan, "name"));
        recover_write(daemon, adopted);
    } else {
        log_warn("snapshot-create of '%s' was interrupted: it is taken back",
                 state_str(plan, "name"));
        recover_deeds(plan, "file-remove", true);
    }
    json_decref(world.files);
    json_decref(adopted);
    return ok;
}

static void recover_revert(struct daemon *daemon, const json_t *plan, bool committed)
{
    log_warn("snapshot-revert to '%s' was interrupted: it is %s", state_str(plan, "name"),
             committed ? "finished" : "taken back");
    if (!committed) {
        recover_deeds(plan, "file-remove", true);
        return;
    }
    recover_write(daemon, json_object_get(plan, "after"));
    recover_deeds(plan, "files-remove", false);
}

static bool recover_delete(struct daemon *daemon, const json_t *plan, struct err *err)
{
    const json_t *fitting;
    json_t *args, *result = NULL;
    struct err warn = ERR_INIT;
    struct world world;

    recover_look(daemon, daemon->store->state, &world);
    fitting = fitting_record(&world, plan, daemon->store->state, recover_fits, &world);
    json_decref(world.files);
    if (!fitting) {
        err_set(err, REASON_CHAIN_MISMATCH, "The images are not as any record of the interrupted delete "
                "of '%s' says (the log tells which): put back what is missing",
                state_str(plan, "name"));
        return false;
    }
    log_warn("snapshot-delete of '%s' was interrupted: delete it again to finish",
             state_str(plan, "name"));
    if (fitting != daemon->store->state)
        recover_write(daemon, fitting);
    args = json_pack("{s:o}", "files", planner_unneeded(plan, daemon->store->state));
    if (!deeds_find("files-remove")(args, &result, &warn))
        log_warn("%s", warn.desc);
    err_clear(&warn);
    json_decref(args);
    return true;
}

static bool recover_settle(struct daemon *daemon, const json_t *journal, struct err *err)
{
    const json_t *plan = json_object_get(journal, "plan");
    const char *operation = state_str(plan, "operation");
    bool committed = planner_journal_committed(journal, daemon->store->state);

    if (!operation || !state_str(plan, "name"))
        return true;
    if (strcmp(operation, "snapshot-revert") == 0) {
        recover_revert(daemon, plan, committed);
        return true;
    }
    if (committed) {
        recover_deeds(plan, "files-remove", false);
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
    if (ok && journal)
        recover_close(daemon);
    json_decref(journal);
    if (ok)
        store_sweep_memory(daemon->store);
    return ok;
}

/* Has nobody written to the disks since? */
static bool recover_stood_still(const json_t *present, struct err *err)
{
    json_t *before = json_object_get(present, "prints"), *now = NULL, *print;
    json_t *args = json_pack("{s:[]}", "files");
    const char *path;

    json_object_foreach(before, path, print)
        json_array_append_new(json_object_get(args, "files"), json_string(path));
    if (deeds_find("present-print")(args, &now, err))
        json_object_foreach(before, path, print)
            if (!err->set && !json_equal(print, json_object_get(now, path)))
                err_set(err, REASON_IMAGE_CHANGED, "'%s' was written to since", path);
    json_decref(args);
    json_decref(now);
    return !err->set;
}

/* Is what was kept whole, and still the present state?  Else the VM starts as after a power cut. */
static bool recover_is_whole(const json_t *present)
{
    const json_t *memory = json_object_get(present, "memory");
    json_t *result = NULL;
    struct err err = ERR_INIT;
    bool whole = !memory || (recover_stood_still(present, &err) &&
                             deeds_find("memory-check")(memory, &result, &err));

    if (!whole)
        log_warn("the guest cannot be brought back as it was: %s", err.desc);
    err_clear(&err);
    json_decref(result);
    return whole;
}

/* Is what was kept lost when it is not brought back: is there memory, and no snapshot that has it? */
static bool recover_only_there(const struct daemon *daemon, const json_t *present)
{
    json_t *file = json_object_get(json_object_get(present, "memory"), "file"), *snapshot;
    bool only = file != NULL;
    size_t i;

    json_array_foreach(json_object_get(daemon->store->state, "snapshots"), i, snapshot)
        if (json_equal(file, json_object_get(json_object_get(snapshot, "memory"), "file")))
            only = false;
    return only;
}

bool recover_present(struct daemon *daemon, bool *begun, struct err *err)
{
    json_t *journal, *args;
    const json_t *present;
    struct world world;

    *begun = false;
    if (!store_read_journal(daemon->store, &journal, err))
        return false;
    present = planner_journal_present(journal, daemon->store->state);
    if (present && recover_is_whole(present)) {
        collect_static(daemon, &world);
        args = planner_args(&world);
        *begun = json_equal(args, json_object_get(present, "args"));
        json_decref(args);
        if (*begun)
            operation_recover(daemon, journal);
        else if (recover_only_there(daemon, present))
            err_set(err, REASON_WRONG_STATE, "An interrupted revert has kept this VM's memory, of another "
                    "command line: start with that one, or remove '%s' to boot the VM anew",
                    state_str(json_object_get(present, "memory"), "file"));
    }
    json_decref(journal);
    return !err->set;
}

bool recover_wants_next(struct daemon *daemon)
{
    struct err err = ERR_INIT;
    json_t *journal = NULL;
    bool wants = store_read_journal(daemon->store, &journal, &err) && journal &&
                 planner_journal_committed(journal, daemon->store->state);

    err_clear(&err);
    json_decref(journal);
    return wants;
}

/* Is main the QEMU that a respawn was to end?  Nothing else tells a first one, whose second has ended,
 * from a second one that has taken over. */
static bool recover_is_first(const struct daemon *daemon, const json_t *journal)
{
    const json_t *plan = json_object_get(journal, "plan");
    json_int_t pid = json_integer_value(json_object_get(plan, "pid"));
    const char *method = state_str(plan, "method");

    return method && strcmp(method, "respawn") == 0 && pid != 0 && pid == vm_pid(daemon->vm);
}

/* new: the journal that is to be settled, or NULL.  If it cannot be read the daemon is stuck. */
static json_t *recover_read_journal(struct daemon *daemon)
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
    if (journal && daemon->found_next == WORLD_NEXT_NONE && recover_is_first(daemon, journal))
        daemon->found_next = WORLD_NEXT_GONE;
    return journal;
}

json_t *recover_take_journal(struct daemon *daemon)
{
    /* What this proxy had found at its start is long settled. */
    daemon->found_next = vm_next(daemon->vm) ? WORLD_NEXT_ALIVE : WORLD_NEXT_NONE;
    return recover_read_journal(daemon);
}

void recover_hot(struct daemon *daemon)
{
    json_t *journal = daemon->operation ? NULL : recover_read_journal(daemon);

    if (journal)
        operation_recover(daemon, journal);
    json_decref(journal);
}
