/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The stages of an operation: ask for the world, plan, carry out, and what comes next. */
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "policy/planner.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/answer.h"
#include "proxy/deeds.h"
#include "proxy/log.h"
#include "proxy/observer.h"
#include "proxy/operation_internal.h"
#include "proxy/recover.h"
#include "qmp/alloc.h"

/* How long commands of clients may take to end before an operation begins, and how often that is
 * looked at. */
#define OPERATION_PATIENCE_S 20
#define OPERATION_PAUSE_US 1000

void operation_enter(struct operation *op, enum operation_stage stage)
{
    struct timeval now = { 0 };

    op->stage = stage;
    runner_free(op->runner);
    op->runner = NULL;
    world_clear(&op->world);
    json_decref(op->plan);
    op->plan = NULL;
    event_add(op->start, &now);
}

void operation_begin(struct operation *op)
{
    op->patience = 0;
    operation_enter(op, state_str(op->request, "save-as") ? STAGE_SAVE_AS : STAGE_MAIN);
}

/* ---- the ends of a stage ---- */

/* What an earlier operation had left is settled: now this one. */
static void operation_settled(struct operation *op)
{
    struct err err = ERR_INIT;

    op->settles = false;
    op->next = WORLD_NEXT_NONE;
    json_decref(op->journal);
    op->journal = NULL;
    if (op->daemon->quitting) {
        err_set(&err, REASON_CANCELLED, "The operation was cancelled");
        operation_finish(op, NULL, &err);
        return;
    }
    operation_begin(op);
}

static void operation_stage_done(struct operation *op)
{
    if (op->stage != STAGE_GO_ON &&
        (op->stage != STAGE_RECOVER || json_object_get(op->plan, "after")))
        operation_announce(op, state_str(op->plan, "operation"));
    if (op->settles) {
        operation_settled(op);
        return;
    }
    switch (op->stage) {
    case STAGE_SAVE_AS:
        operation_enter(op, STAGE_MAIN);
        break;
    case STAGE_GO_ON:
        operation_enter(op, STAGE_UNSAVE);
        break;
    case STAGE_UNSAVE:
        operation_finish(op, NULL, &op->failure);
        break;
    default:
        if (op->failure.set)
            operation_finish(op, NULL, &op->failure);
        else
            operation_finish(op, operation_result(op), NULL);
    }
}

/* It can neither be finished nor taken back now.  err says why, and is what the client is told. */
static void operation_stick(struct operation *op, struct err *err)
{
    operation_set_stuck(op->daemon, err->set ? err->desc : "unknown");
    op->daemon->torn = operation_tears(op);
    if (op->settles)
        operation_refuse_stuck(op->daemon, err);
}

static void operation_stage_failed(struct operation *op, struct err *err)
{
    if (op->stage == STAGE_RECOVER)
        operation_stick(op, err);
    if (op->stage == STAGE_MAIN && operation_saved_first(op)) {
        enum operation_stage next = operation_goes_on(op) ? STAGE_GO_ON : STAGE_UNSAVE;

        err_move(&op->failure, err);
        operation_enter(op, next);
        return;
    }
    if (op->failure.set) {
        /* The guest goes on, but the snapshot that was made first stays. */
        log_error("%s", err->desc);
        err_clear(err);
        operation_finish(op, NULL, &op->failure);
        return;
    }
    operation_finish(op, NULL, err);
}

/* A delete that is taken back keeps the merges that were on record already: what they have emptied goes
 * as it does behind an interruption.  False: there is nothing to tidy. */
static bool operation_tidy(struct operation *op, struct err *why)
{
    if (op->stage == STAGE_RECOVER || !json_is_true(json_object_get(op->plan, "moved")))
        return false;
    if (!op->failure.set)
        err_move(&op->failure, why);
    err_clear(why);
    op->journal = json_pack("{s:b, s:O}", "committed", 0, "plan", op->plan);
    operation_enter(op, STAGE_RECOVER);
    return true;
}

/* The second QEMU was found alive, and has died before it could take over.  False: it is not that. */
static bool operation_again(struct operation *op, struct err *why)
{
    if (op->stage != STAGE_RECOVER || op->next != WORLD_NEXT_ALIVE)
        return false;
    op->next = WORLD_NEXT_GONE;
    err_clear(why);
    operation_enter(op, STAGE_RECOVER);
    return true;
}

static void operation_stuck(struct operation *op, struct err *err)
{
    operation_stick(op, err);
    err->reason = REASON_STUCK;
    operation_finish(op, NULL, err);
}

static void operation_finished(void *arg, enum runner_end end, struct err *err)
{
    struct operation *op = arg;
    struct err mine = ERR_INIT;

    if (end == RUNNER_LOST && operation_relaunch(op))
        return;
    if (err->set)
        err_move(&mine, err);
    if (end != RUNNER_DONE)
        operation_release_clients(op);
    switch (end) {
    case RUNNER_DONE:
        if (json_is_true(json_object_get(op->plan, "again"))) {
            operation_enter(op, STAGE_RECOVER);
            return;
        }
        /* The journal is how a later proxy finds a second QEMU that no other file names. */
        if (!vm_settle(op->daemon->vm, &mine)) {
            operation_stuck(op, &mine);
            return;
        }
        /* Until the revert has one of its own it says that the guest was running. */
        if (op->stage != STAGE_SAVE_AS)
            operation_close_journal(op);
        operation_stage_done(op);
        return;
    case RUNNER_UNDONE:
        if (operation_again(op, &mine) || operation_tidy(op, &mine))
            return;
        /* Until that stage has one of its own it says that the guest was running. */
        if (!operation_goes_on(op))
            operation_close_journal(op);
        operation_stage_failed(op, &mine);
        return;
    case RUNNER_STUCK:
        operation_stuck(op, &mine);
        return;
    default:
        /* Clients are still there when it is connected to again, and come first. */
        op->daemon->torn = operation_tears(op);
        operation_lost(op, &mine);
    }
}

/* ---- what the runner needs ---- */

static struct link *operation_link(void *arg, const char *on)
{
    const struct operation *op = arg;

    return strcmp(on, "next") == 0 ? vm_next(op->daemon->vm) : vm_main(op->daemon->vm);
}

static void operation_progress(void *arg, json_int_t current, json_int_t total)
{
    struct job *job = operation_job(arg);

    if (job)
        job_progress(job, current, total);
}

static const struct runner_env operation_env = {
    .link = operation_link,
    .deed = operation_deed,
    .journal = operation_journal,
    .progress = operation_progress,
    .finished = operation_finished,
};

/* ---- from the world to the runner ---- */

/* It will be carried out: from now on it is a job. */
static bool operation_become_job(struct operation *op, struct err *err)
{
    const char *id = state_str(op->request, "job-id");
    struct job *job;

    if (op->job_id || op->stage == STAGE_RECOVER)
        return true;
    job = jobs_add(op->daemon->jobs, id, op->kind, err);
    if (!job)
        return false;
    op->job_id = alloc_copy(job_id(job));
    job_run(job);
    if (id) {
        if (op->slot)
            answer_return(op->slot, json_object());
        op->slot = NULL;
    }
    return true;
}

static void operation_preflight_cb(void *arg, bool ok, json_t *result, struct err *err)
{
    struct operation *op = operation_box_open(arg);
    struct err mine = ERR_INIT;

    (void)result;
    if (!op)
        return; /* it was given up meanwhile, and is freed */
    if (ok && op->dry_run) {
        operation_finish(op, operation_result(op), NULL);
        return;
    }
    if (ok && operation_become_job(op, &mine)) {
        op->runner = runner_new(op->daemon->base, op->plan, &op->standstill, &operation_env, op);
        return;
    }
    if (!ok)
        err_move(&mine, err);
    operation_stage_failed(op, &mine);
}

static void operation_collected(void *arg, bool ok, struct world *world, struct err *err)
{
    struct operation *op = arg;
    struct err mine = ERR_INIT;
    json_t *args;

    op->collect = NULL;
    if (ok)
        op->world = *world;
    else
        err_move(&mine, err);
    op->world.next = op->next;
    op->world.other = op->stage == STAGE_RECOVER && recover_is_other(op->daemon, op->journal);
    if (ok && op->stage != STAGE_RECOVER && !op->observed) {
        op->observed = true;
        if (observer_apply(op->daemon->observer, &op->world)) {
            operation_enter(op, op->stage); /* the record names other files now */
            return;
        }
    }
    if (!ok || !operation_plan(op, &mine)) {
        operation_stage_failed(op, &mine);
        return;
    }
    if (op->stage == STAGE_SAVE_AS || op->stage == STAGE_MAIN)
        op->was_running |= strcmp(world_status(&op->world), "running") == 0;
    if (op->stage == STAGE_MAIN && op->was_running)
        plan_set_running(op->plan, "running"); /* before it was stopped to be saved */
    if (op->stage != STAGE_RECOVER)
        operation_note_process(op);
    args = json_pack("{s:O, s:b}", "steps", json_object_get(op->plan, "steps"), "dry-run",
                     op->dry_run && op->stage != STAGE_RECOVER);
    worker_run(op->daemon->worker, deed_preflight, args, operation_preflight_cb,
               operation_box_new(op));
    json_decref(args);
}

/* What clients asked for before this came is done first: it may change what is relied on. */
static bool operation_waits(struct operation *op)
{
    struct timeval pause = { .tv_usec = OPERATION_PAUSE_US };
    struct link *link = vm_main(op->daemon->vm);
    struct err err = ERR_INIT;

    if (!observer_busy(op->daemon->observer) && (!link || !link_disturbed(link)))
        return false;
    if (!op->patience)
        op->patience = runner_now() + OPERATION_PATIENCE_S * 1000000LL;
    if (runner_now() <= op->patience) {
        event_add(op->start, &pause);
    } else {
        err_set(&err, REASON_BUSY, "A command that a client gave before does not end");
        operation_stage_failed(op, &err);
    }
    return true;
}

/* A recovery that goes by the journal alone: forward, or from no QEMU at all. */
static bool operation_asks_nothing(const struct operation *op, bool gone)
{
    return op->stage == STAGE_RECOVER &&
           (gone || (op->next != WORLD_NEXT_GONE &&
                     planner_journal_committed(op->journal, op->daemon->store->state)));
}

void operation_start_cb(evutil_socket_t fd, short what, void *arg)
{
    struct operation *op = arg;
    const json_t *snapshot;
    bool gone = !vm_main(op->daemon->vm) && op->next != WORLD_NEXT_ALIVE;

    (void)fd;
    (void)what;
    if (operation_waits(op))
        return;
    if (operation_asks_nothing(op, gone)) {
        struct world nothing = { .args = op->daemon->args, .next = op->next, .gone = gone };

        operation_collected(op, true, &nothing, NULL);
        return;
    }
    op->collect = collect_start(op->daemon, op->daemon->store->state, true, operation_collected,
                                op);
    snapshot = state_snapshot(op->daemon->store->state, state_str(op->request, "name"));
    if (snapshot && strcmp(op->kind, "snapshot-revert") == 0 &&
        (op->stage == STAGE_MAIN || op->stage == STAGE_SAVE_AS))
        collect_program(op->collect, snapshot);
}
