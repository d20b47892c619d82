/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * runner_internal: what runner.c (steps and their ends), runner_act.c (they act), runner_verify.c
 * (they are verified), runner_stall.c (the guest stands still) and runner_progress.c share.
 */
#ifndef PROXY_RUNNER_INTERNAL_H
#define PROXY_RUNNER_INTERNAL_H

#include "proxy/runner.h"

enum runner_phase {
    RUNNER_IDLE,
    RUNNER_ACTING,
    RUNNER_VERIFYING,
    RUNNER_POLLING,
    RUNNER_STALLING,            /* the stall's command is under way */
    RUNNER_ENDED
};

struct runner_part;

struct runner {
    struct event_base *base;
    const struct runner_env *env;
    void *arg;
    json_t *plan;
    json_t *list;               /* the steps being run: the plan's, or those that undo it */
    size_t at;
    bool undoing, committed, cancelled;
    bool rescuing;              /* it is stuck; the guest is let go on where that is possible */
    bool forward;               /* a step was done that cannot be taken back */
    bool without;               /* there is no "qemu" for now (plan.h, main) */
    unsigned rounds;            /* how often a list was taken up again (plan.h, restart) */
    enum runner_phase phase;
    bool probing;               /* may the step's command go out, must it? (step_needs()) */
    bool accepted;              /* the step's action was not refused */
    unsigned tries;
    struct err err;             /* why it is being undone */
    struct err refusal;         /* of the step's action */
    json_t *ended;              /* jobs that have, as query-jobs would list them */
    json_t *replies;            /* answers of a verification that asks several queries */
    unsigned outstanding;
    unsigned poll_ms;
    long long deadline;         /* of the verification, microseconds; 0: none */
    json_int_t least;           /* that the step's job ever had left; -1: it was not seen */
    long long least_since;
    struct runner_standstill *standstill;
    struct runner_part *parts;  /* of the progress */
    size_t n_parts;
    json_int_t reported;
    struct event *turn;         /* takes the next step from the loop, or asks again */
    struct event *watchdog;     /* an answer does not come */
};

/* Sends the current step's command; or, where it needs something, does so if that answer allows it. */
void runner_command(struct runner *runner, const json_t *step);
void runner_probed(struct runner *runner, const json_t *reply);
runner_deed_cb runner_deed_done;
/* The current step may have moved data, as far as is known. */
void runner_note_moved(struct runner *runner);

/* Begins the verification of the current step; it ends in one of the two below. */
void runner_begin_verify(struct runner *runner);
/* Asks again. */
void runner_verify(struct runner *runner);

/* May the plan be taken back yet, if somebody asks for it? */
bool runner_can_return(const struct runner *runner);

void runner_step_done(struct runner *runner);
/* Clears err. */
void runner_fail(struct runner *runner, struct err *err);

/* Moves what QEMU said when it refused the action to err, in place of what err says. */
void runner_take_refusal(struct runner *runner, struct err *err);

/* Says that QEMU refused the command of that name, why, and what may be done (NULL: nothing is known). */
void runner_set_refused(struct err *err, const char *name, const char *advice,
                        const struct message_reply *reply);

/* The verification has to wait: true when the runner does something else first, or has failed. */
bool runner_stall(struct runner *runner, const json_t *reply);
/* step's command (or a stall's) was answered well; step is verified. */
void runner_answered(struct runner *runner, const json_t *step);
void runner_verified(struct runner *runner, const json_t *step);

/* Before the first step. */
void runner_progress_start(struct runner *runner);
/* What a verification was answered. */
void runner_progress_reply(struct runner *runner, const json_t *expect, const json_t *reply);

const json_t *runner_current(const struct runner *runner);
/* The next turn of the runner comes from the loop, after that time. */
void runner_later(struct runner *runner, unsigned ms);
/* The verification asks again. */
void runner_poll_soon(struct runner *runner);
/* QEMU owes an answer. */
void runner_watch(struct runner *runner);

#endif
