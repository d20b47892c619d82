/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * runner_internal: what runner.c (steps and their ends) and runner_verify.c share.
 */
#ifndef PROXY_RUNNER_INTERNAL_H
#define PROXY_RUNNER_INTERNAL_H

#include "proxy/runner.h"

/* Queries that a "chain" expectation needs. */
#define RUNNER_QUERIES 3

enum runner_phase { RUNNER_IDLE, RUNNER_ACTING, RUNNER_VERIFYING, RUNNER_POLLING, RUNNER_ENDED };

struct runner {
    struct event_base *base;
    const struct runner_env *env;
    void *arg;
    json_t *plan;
    json_t *list;               /* the steps being run: the plan's, or those that undo it */
    size_t at;
    bool undoing, committed, cancelled;
    bool forward;               /* a step was done that cannot be taken back */
    enum runner_phase phase;
    bool accepted;              /* the step's action was not refused */
    unsigned tries;
    struct err err;             /* why it is being undone */
    struct err refusal;         /* of the step's action */
    json_t *replies;            /* answers of a verification that asks several queries */
    unsigned outstanding;
    unsigned poll_ms;
    long long deadline;         /* of the verification, microseconds; 0: none */
    struct event *turn;         /* takes the next step from the loop, or asks again */
    struct event *watchdog;     /* an answer does not come */
};

/* Sends the current step's command. */
void runner_command(struct runner *runner, const json_t *step);
runner_deed_cb runner_deed_done;

/* Begins the verification of the current step; it ends in one of the two below. */
void runner_begin_verify(struct runner *runner);
/* Asks again. */
void runner_verify(struct runner *runner);

void runner_step_done(struct runner *runner);
/* Clears err. */
void runner_fail(struct runner *runner, struct err *err);

/* Moves what QEMU said when it refused the action to err, in place of what err says. */
void runner_take_refusal(struct runner *runner, struct err *err);

const json_t *runner_current(const struct runner *runner);
/* The next turn of the runner comes from the loop, after that time. */
void runner_later(struct runner *runner, unsigned ms);
/* QEMU owes an answer. */
void runner_watch(struct runner *runner);

#endif
