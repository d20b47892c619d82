/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * operation_internal: what operation.c (stages), operation_deeds.c (what steps do in the loop) and
 * operation_command.c (what clients ask) share.
 */
#ifndef PROXY_OPERATION_INTERNAL_H
#define PROXY_OPERATION_INTERNAL_H

#include "policy/world.h"
#include "proxy/collect.h"
#include "proxy/jobs.h"
#include "proxy/operation.h"
#include "proxy/runner.h"
#include "proxy/settings_carry.h"

enum operation_stage {
    STAGE_MAIN,
    STAGE_SAVE_AS,      /* before a revert: keep the present state */
    STAGE_GO_ON,        /* the revert failed: let the guest run ... */
    STAGE_UNSAVE,       /* ... and delete the snapshot again */
    STAGE_RECOVER,      /* settle a journal: nothing else, or before the operation itself */
    STAGE__COUNT
};

struct operation {
    struct daemon *daemon;
    unsigned long serial;       /* of all operations of this process; a new one when it begins anew */
    char *kind;                 /* the command's name */
    json_t *request;
    struct slot *slot;          /* to be answered, or NULL */
    char *job_id;               /* our job's, once there is one */
    bool dry_run;
    enum operation_stage stage;
    bool was_running;           /* the guest, before save-as stopped it */
    bool observed;              /* the record was brought up to date (observer.h) */
    struct collect *collect;
    struct world world;
    json_t *plan;
    struct runner *runner;
    struct runner_standstill standstill;    /* over all stages */
    json_t *journal;            /* STAGE_RECOVER: what is to be settled */
    enum world_next next;       /* the same: the second QEMU, as this recovery has found it */
    bool settles;               /* and then the operation begins */
    struct err failure;         /* of the stage that made the later ones necessary */
    struct event *start;        /* begins a stage from the loop */
    bool waits_for_end;         /* of a QEMU whose connection has ended (operation_relaunch.c) */
    long long patience;         /* until when it waits for commands of clients (runner_now()); 0: not yet */
    /* A deed that runs. */
    const json_t *step;
    runner_deed_cb *deed_done;
    struct event *deed_timer;
    long long deed_deadline;
    struct settings_carry *carry;
};

/* The operation's job; NULL before it is one, and after it was dismissed. */
struct job *operation_job(const struct operation *op);
/* Begins a stage from the loop. */
void operation_enter(struct operation *op, enum operation_stage stage);
/* Begins the operation itself. */
void operation_begin(struct operation *op);
/* Plans the stage from the world. */
bool operation_plan(struct operation *op, struct err *err);
void operation_start_cb(evutil_socket_t fd, short what, void *arg);
/* Tells the clients that the stage's plan is done. */
void operation_announce(struct operation *op, const char *kind);
/* Which QEMU the plan is for: a restart may find another one. */
void operation_note_process(struct operation *op);
/* May a revert in place that is stuck before its commit point have left memory that is not that of the disks? */
bool operation_tears(const struct operation *op);
/* Is there a snapshot of this revert's save-as? */
bool operation_saved_first(const struct operation *op);
/* Has the guest to go on, in a stage of its own, once this one has failed? */
bool operation_goes_on(const struct operation *op);
/* Writes the stage's journal (struct runner_env.journal). */
bool operation_journal(void *arg, const json_t *journal, struct err *err);
/* The stage is over, and leaves nothing to settle. */
void operation_close_journal(struct operation *op);
/* new: SnapshotResult. */
json_t *operation_result(const struct operation *op);
/* The end: answers, concludes the job, frees the operation.  Steals result, clears err; err is NULL
 * when all went well. */
void operation_finish(struct operation *op, json_t *result, struct err *err);

/* What the worker's callbacks get: the operation may be gone when they come. */
struct operation_box {
    struct daemon *daemon;
    unsigned long serial;
};

struct operation_box *operation_box_new(struct operation *op);
/* Frees it; NULL: the operation is gone. */
struct operation *operation_box_open(struct operation_box *box);

/* The timer of deeds that wait for something. */
void operation_deed_timer_cb(evutil_socket_t fd, short what, void *arg);

/* Commands of clients that wait go to the QEMU that is main. */
void operation_release_clients(struct operation *op);

/* Starts a deed of the runner's (struct runner_env.deed). */
void operation_deed(void *arg, struct runner *runner, const json_t *step, runner_deed_cb *done);

/* What is under way for the operation finds nobody when it is done. */
void operation_renew(struct operation *op);
/* The QEMU that the plan works on is lost: does the operation go on with another one? */
bool operation_relaunch(struct operation *op);
/* It does not: its end.  When the second QEMU is lost as well there is nothing left to wait for.  Clears err. */
void operation_lost(struct operation *op, struct err *err);

/* What a deed of operation_deed() does in the worker, and its end. */
void operation_deed_in_worker(struct operation *op, worker_fn *fn, const json_t *args);
void operation_deed_finish(struct operation *op, bool ok, struct err *err);
/* The current step's deed unlinks files: first it is asked what is in use. */
void operation_remove(struct operation *op);

/* Starts the operation; the slot is answered when it is done, or planned (with a job-id). */
void operation_start(struct daemon *daemon, const char *kind, json_t *request, struct slot *slot);

#endif
