/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "policy/disks.h"
#include "policy/info.h"
#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_inplace.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/answer.h"
#include "proxy/deeds_internal.h"
#include "proxy/log.h"
#include "proxy/observer.h"
#include "proxy/operation_internal.h"
#include "proxy/recover.h"
#include "qmp/alloc.h"

static void operation_destroy(struct operation *op)
{
    if (op->collect)
        collect_cancel(op->collect);
    settings_carry_free(op->carry);
    runner_free(op->runner);
    world_clear(&op->world);
    event_free(op->start);
    event_free(op->deed_timer);
    json_decref(op->request);
    json_decref(op->plan);
    json_decref(op->journal);
    err_clear(&op->failure);
    free(op->kind);
    free(op->job_id);
    free(op);
}

struct job *operation_job(const struct operation *op)
{
    return op->job_id ? jobs_find(op->daemon->jobs, op->job_id) : NULL;
}

/* Over: the slot is answered, the job concluded.  err NULL: it went well.  result is stolen. */
void operation_finish(struct operation *op, json_t *result, struct err *err)
{
    struct daemon *daemon = op->daemon;
    struct job *job = operation_job(op);
    json_int_t standstill = runner_standstill_ms(&op->standstill);

    daemon->operation = NULL;
    if (err)
        log_info("%s: %s", op->kind, err->desc);
    if (standstill >= 0)
        log_info("%s: the guest stood still for %lld ms", op->kind, (long long)standstill);
    if (job)
        job_conclude(job, err ? err->desc : NULL);
    if (op->slot && err)
        answer_error(op->slot, err);
    else if (op->slot)
        answer_return(op->slot, json_incref(result));
    if (err)
        err_clear(err);
    json_decref(result);
    operation_destroy(op);
    observer_resume(daemon->observer);
    if (daemon->quitting && vm_has_process(daemon->vm))
        vm_signal(daemon->vm, SIGTERM);
    else if (daemon->quitting)
        daemon_quit(daemon, 0);
}

/* borrowed: the names that a delete took away. */
static json_t *operation_deleted(const struct operation *op)
{
    return json_object_get(op->plan, "deleted");
}

/* new: SnapshotResult. */
json_t *operation_result(const struct operation *op)
{
    const json_t *state = op->daemon->store->state;
    const char *name = state_str(op->request, "name");
    const json_t *snapshot = state_snapshot(state, name);
    json_int_t standstill = runner_standstill_ms(&op->standstill);
    json_t *result = json_object();

    if (op->dry_run) {
        json_object_set_new(result, "plan", plan_describe(op->plan));
    } else if (snapshot) {
        json_object_set_new(result, "snapshot", info_snapshot(state, snapshot, NULL, json_array()));
    }
    if (json_object_get(op->plan, "method"))
        json_object_set(result, "method", json_object_get(op->plan, "method"));
    if (json_object_get(op->plan, "reasons"))
        json_object_set(result, "reasons", json_object_get(op->plan, "reasons"));
    if (strcmp(op->kind, "snapshot-delete") == 0 && !op->dry_run)
        json_object_set(result, "deleted", operation_deleted(op));
    if (standstill >= 0)
        json_object_set_new(result, "standstill", json_integer(standstill));
    return result;
}

void operation_announce(struct operation *op, const char *kind)
{
    const char *name = state_str(op->plan, "name");
    json_t *deleted;
    size_t i;

    if (strcmp(kind, "snapshot-create") == 0)
        daemon_event(op->daemon, "SNAPSHOT_CREATED", json_pack("{s:s}", "name", name));
    else if (strcmp(kind, "snapshot-delete") == 0)
        json_array_foreach(operation_deleted(op), i, deleted)
            daemon_event(op->daemon, "SNAPSHOT_DELETED", json_pack("{s:O}", "name", deleted));
    else
        daemon_event(op->daemon, "SNAPSHOT_REVERTED",
                     json_pack("{s:s, s:O, s:O, s:b}", "name", name, "method",
                               json_object_get(op->plan, "method"), "run-state",
                               json_object_get(op->plan, "run-state"), "respawned",
                               strcmp(state_str(op->plan, "method"), "in-place") != 0));
}

/* Who listens on a foreign QEMU's monitor may be somebody who has started it, or stands before it. */
static bool operation_is_qemu(const struct operation *op, long pid)
{
    struct world world = { .files = op->world.files, .open = deed_open_files(pid) };
    const struct graph *graph = op->world.graph;
    bool any = false;

    for (size_t i = 0; world.open && graph && i < graph->n_disks; i++)
        any = any || (graph->disks[i].n_chain > 0 && world_file(&world, graph->disks[i].chain[0].file) &&
                      disks_is_open(&world, graph->disks[i].chain[0].file));
    json_decref(world.open);
    return any;
}

void operation_note_process(struct operation *op)
{
    unsigned long long start;
    long pid;

    vm_who(op->daemon->vm, &pid, &start);
    if (!op->daemon->args && !operation_is_qemu(op, pid))
        pid = 0;
    json_object_set_new(op->plan, "pid", json_integer(pid));
    json_object_set_new(op->plan, "start", json_integer((json_int_t)start));
    if (plan_has_step(op->plan, "process-start"))
        json_object_set_new(op->plan, "args", planner_args(op->world.given));
}

bool operation_tears(const struct operation *op)
{
    const json_t *plan = op->stage == STAGE_RECOVER ? json_object_get(op->journal, "plan") : op->plan;
    const char *method = state_str(plan, "method");
    bool committed = op->stage == STAGE_RECOVER
                         ? planner_journal_committed(op->journal, op->daemon->store->state)
                         : runner_committed(op->runner);
    const json_t *steps;
    size_t at;

    if (!method || strcmp(method, "in-place") != 0 || committed)
        return false;
    if (!op->runner)
        return true; /* nothing could be told of it */
    steps = runner_steps(op->runner, &at);
    return in_place_tears(steps, at);
}

static unsigned long operation_serial(void)
{
    static unsigned long count;

    return ++count;
}

void operation_renew(struct operation *op)
{
    op->serial = operation_serial();
    op->deed_done = NULL;
    op->step = NULL;
    event_del(op->deed_timer);
}

bool operation_saved_first(const struct operation *op)
{
    const char *save_as = state_str(op->request, "save-as");

    return save_as && state_snapshot(op->daemon->store->state, save_as);
}

bool operation_goes_on(const struct operation *op)
{
    return op->stage == STAGE_MAIN && op->was_running && operation_saved_first(op);
}

void operation_close_journal(struct operation *op)
{
    struct err err = ERR_INIT;

    if (!store_remove_journal(op->daemon->store, &err))
        log_error("%s", err.desc);
    err_clear(&err);
}

bool operation_journal(void *arg, const json_t *journal, struct err *err)
{
    const struct operation *op = arg;
    bool ok;

    /* A recovery is made anew from the old journal when it is interrupted itself. */
    if (op->stage == STAGE_RECOVER)
        return true;
    ok = store_write_journal(op->daemon->store, journal, err);
    if (ok || op->stage != STAGE_GO_ON)
        return ok;
    /* That of the stage before stands, and says so as well: the guest need not wait for room. */
    log_warn("%s", err->desc);
    err_clear(err);
    return true;
}

static struct operation *operation_new(struct daemon *daemon, const char *kind, json_t *request)
{
    struct operation *op = alloc_zeroed(1, sizeof(*op));

    op->daemon = daemon;
    op->serial = operation_serial();
    op->kind = alloc_copy(kind);
    op->request = json_incref(request);
    op->start = event_new(daemon->base, -1, 0, operation_start_cb, op);
    op->deed_timer = event_new(daemon->base, -1, 0, operation_deed_timer_cb, op);
    if (!op->start || !op->deed_timer)
        abort();
    daemon->operation = op;
    return op;
}

void operation_set_stuck(struct daemon *daemon, const char *text)
{
    free(daemon->stuck);
    daemon->stuck = text ? alloc_copy(text) : NULL;
}

void operation_refuse_stuck(const struct daemon *daemon, struct err *err)
{
    err_clear(err);
    err_set(err, REASON_STUCK, "An earlier operation could neither be finished nor taken back: %s",
            daemon->stuck);
}

/* Can a recovery be made from it? */
static bool operation_check_journal(struct daemon *daemon, const json_t *journal)
{
    const json_t *plan = json_object_get(journal, "plan");

    if (state_str(plan, "operation") && state_str(plan, "name"))
        return true;
    operation_set_stuck(daemon, "the journal of an interrupted operation is damaged");
    return false;
}

void operation_start(struct daemon *daemon, const char *kind, json_t *request, struct slot *slot)
{
    json_t *journal = daemon->stuck ? recover_take_journal(daemon) : NULL;
    struct operation *op;
    struct err err = ERR_INIT;

    if (daemon->stuck || (journal && !operation_check_journal(daemon, journal))) {
        operation_refuse_stuck(daemon, &err);
        answer_error(slot, &err);
        json_decref(journal);
        return;
    }
    op = operation_new(daemon, kind, request);
    op->slot = slot;
    op->dry_run = json_is_true(json_object_get(request, "dry-run"));
    op->journal = journal;
    op->settles = journal != NULL;
    if (!op->settles) {
        operation_begin(op);
        return;
    }
    op->next = recover_next(daemon, journal);
    operation_enter(op, STAGE_RECOVER);
}

void operation_recover(struct daemon *daemon, json_t *journal)
{
    const json_t *plan = json_object_get(journal, "plan");
    json_t *request;
    struct operation *op;

    if (!operation_check_journal(daemon, journal))
        return;
    log_warn("%s of '%s' was interrupted: settling it", state_str(plan, "operation"),
             state_str(plan, "name"));
    request = json_pack("{s:O}", "name", json_object_get(plan, "name"));
    op = operation_new(daemon, state_str(plan, "operation"), request);
    op->journal = json_incref(journal);
    op->next = recover_next(daemon, journal);
    json_decref(request);
    operation_enter(op, STAGE_RECOVER);
}

struct operation_box *operation_box_new(struct operation *op)
{
    struct operation_box *box = alloc_bytes(sizeof(*box));

    *box = (struct operation_box){ op->daemon, op->serial };
    return box;
}

struct operation *operation_box_open(struct operation_box *box)
{
    struct operation *op = box->daemon->operation;
    bool same = op && op->serial == box->serial;

    free(box);
    return same ? op : NULL;
}

void operation_refuse(const struct operation *op, const char *command, struct err *err)
{
    err_set(err, REASON_OPERATION_RUNNING, "'%.100s' has to wait: %s of '%s' is running", command,
            op->kind, state_str(op->request, "name"));
    err_name(err, "operation", op->kind);
    err_name(err, "snapshot", state_str(op->request, "name"));
}

bool operation_abandon(struct daemon *daemon, struct slot *slot)
{
    struct operation *op = daemon->operation;

    if (!op || op->slot != slot)
        return false;
    op->slot = NULL;
    slot_free(slot);
    return true;
}

const char *operation_kind(const struct daemon *daemon)
{
    return daemon->operation ? daemon->operation->kind : NULL;
}

void operation_cancel(struct daemon *daemon)
{
    if (daemon->operation && daemon->operation->runner)
        runner_cancel(daemon->operation->runner);
}

void operation_free(struct daemon *daemon)
{
    struct operation *op = daemon->operation;
    struct job *job = op ? operation_job(op) : NULL;

    daemon->operation = NULL;
    if (job && !job_is_concluded(job))
        job_conclude(job, "QEMU has ended");
    if (op)
        operation_destroy(op);
}
