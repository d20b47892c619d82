/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * runner: carries out a plan (policy/plan.h), step by step, or takes it back.
 *
 * Model: forward through the list of steps.  Each step acts once (a command to a QEMU, or a deed on
 * the host) and is then verified in QEMU's own answer, as often as needed.  When a step fails before
 * the commit point, the undo lists of the steps so far are run in reverse order; behind it, the
 * step is tried again.  There are four ends:
 *
 *   DONE     every step is verified
 *   UNDONE   everything is as it was
 *   STUCK    neither way can be gone: the journal stays, somebody has to look
 *   LOST     the QEMU that the plan works on has ended: the journal stays for the next start
 *
 * Rules:  1. The journal is on disk before the first action, and again when the commit point is
 *            reached, before the next one.
 *         2. A refused action did nothing: its undo does not run.  A lost answer is not a refusal:
 *            verification decides.
 *         3. A failed fsync is not tried again by itself: behind the commit point it is the end (STUCK).
 *         4. A step that waits for a job which the guest outruns acts once more (policy/plan.h, stall).
 *            Before that the journal says so; taken back, what was done then is undone first.
 *         5. finished() is called once, from the event loop; the runner may be freed from there.
 */
#ifndef PROXY_RUNNER_H
#define PROXY_RUNNER_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "proxy/link.h"
#include "qmp/err.h"

struct runner;

enum runner_end { RUNNER_DONE, RUNNER_UNDONE, RUNNER_STUCK, RUNNER_LOST, RUNNER__COUNT };

/* To be called exactly once, from the event loop, when a deed has ended. */
typedef void runner_deed_cb(struct runner *runner, bool ok, struct err *err);

struct runner_env {
    /* The link to "qemu" or "next"; NULL when there is none. */
    struct link *(*link)(void *arg, const char *on);
    /* Starts a deed; done is called later, never from inside. */
    void (*deed)(void *arg, struct runner *runner, const json_t *step, runner_deed_cb *done);
    bool (*journal)(void *arg, const json_t *journal, struct err *err);
    void (*progress)(void *arg, json_int_t current, json_int_t total);
    void (*finished)(void *arg, enum runner_end end, struct err *err);
};

/* For how long the guest was stopped by steps: from the answer to `stop` until `cont` is verified.  An
 * operation has one for all its plans, since one may stop the guest and a later one let it go on.
 * Starts as { 0 }. */
struct runner_standstill {
    long long since;            /* the clock when it was stopped, microseconds; 0: it was not */
    long long sum;              /* of the times that are over */
    bool ended;                 /* there was one */
};

/* Milliseconds; -1 when the guest was not stopped, or has not gone on. */
json_int_t runner_standstill_ms(const struct runner_standstill *standstill);

/* Starts with the journal; finished() comes later.  plan, standstill and env are borrowed until the
 * end. */
struct runner *runner_new(struct event_base *base, json_t *plan,
                          struct runner_standstill *standstill, const struct runner_env *env,
                          void *arg);
void runner_free(struct runner *runner);

/* Before the commit point: take everything back.  False: it is too late for that. */
bool runner_cancel(struct runner *runner);

/* Writes the journal anew: the plan has changed in a way that a restart has to know. */
bool runner_write_journal(struct runner *runner, struct err *err);

/* A block job has ended: data of BLOCK_JOB_COMPLETED or BLOCK_JOB_CANCELLED, borrowed.  For steps that
 * wait for the end of a job which QEMU dismisses by itself. */
void runner_job_ended(struct runner *runner, const json_t *data, bool cancelled);

bool runner_committed(const struct runner *runner);

/* borrowed: the steps that it was at, those of the plan or those that take it back; *at: the one that it ended at. */
const json_t *runner_steps(const struct runner *runner, size_t *at);

/* Microseconds of a clock that only goes forward. */
long long runner_now(void);

#endif
