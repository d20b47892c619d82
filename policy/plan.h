/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * plan: an operation as a list of steps, as data.
 *
 * Model: { operation, name, method?, running, steps: [step], after: state }.  A step is one of
 *
 *   a command   { step, on: "qemu"|"next", command: {execute, arguments?}, expect, ... }
 *   a deed      { step, on: "host", args: {...}, ... }   named in proxy/deeds.c, verifies itself
 *   a wait      { step, on: "qemu"|"next", expect, ... }
 *
 * and may carry: target (text for people), bytes (that it moves), fd ({path, flags: "read"|"write"}:
 * a file whose descriptor goes with the command), undo (a list of steps that take it back),
 * commit-point (true on one step of a plan: from its success on the plan is finished, before it
 * everything is taken back), timeout (milliseconds that the verification may take; 0: for ever;
 * QEMU may leave a question unanswered for as long, but not for more than PLAN_TIMEOUT_MS),
 * no-return (once it is done, or perhaps done, the plan goes forward until a step that is settled),
 * tolerated (as lenient, but when it has been tried as often as others are),
 * until-settled (its undo is dropped by the next step that is settled: what it prepared has come about),
 * rescue (in an undo: the steps, lenient, that let the guest go on when this one fails, which then is not
 * tried again: the end is "stuck"),
 * can-return (behind the commit point: when it is refused, everything can still be taken back),
 * lenient (a failure is reported, but does not fail the plan: only behind the commit point, and in
 * what is undone), main ("ends": from here on there is no "qemu", which is not the end of the plan,
 * until a step with "begins"), restart (up to the one with "begins", a step that fails is tried again
 * from here: what the second QEMU had been given is gone with it), moves (it moves data: its progress
 * counts), stall ({after: ms, command, undo: [step]}: see step_stall(); stalled is true once that
 * command may have gone out), needs (see step_needs()), patience (milliseconds that QEMU may owe an
 * answer), advice (text: what a user can do when QEMU refuses).  A plan may say main-gone: it begins
 * without a "qemu"; pid and start are
 * those of the QEMU that it was made for; resumed: the guest was let go on, behind the commit point; args: the command line that the
 * VM was started with; made: { path: print } of the overlays when they were made; relaunched: see planner.h.
 *
 * A command is sent once.  Whatever its answer, what counts is the expectation, which is checked in
 * QEMU's own answer to a query (expect.h), as often as needed.
 */
#ifndef POLICY_PLAN_H
#define POLICY_PLAN_H

#include <jansson.h>
#include <stdbool.h>

#define PLAN_TIMEOUT_MS 30000

/* new; nothing is stolen. */
json_t *plan_new(const char *operation, const char *name);

/* Records whether the guest ran when the plan was made: if so, it runs when all is over. */
void plan_set_running(json_t *plan, const char *status);

/* Is there a step of that name? */
bool plan_has_step(const json_t *plan, const char *name);

/* Appends a step (steals it); returns it borrowed. */
json_t *plan_add(json_t *plan, json_t *step);

/* new: steps.  arguments, expect and args are stolen; arguments may be NULL. */
json_t *step_command(const char *step, const char *on, const char *target, const char *execute,
                     json_t *arguments, json_t *expect);
json_t *step_wait(const char *step, const char *on, const char *target, json_t *expect);
json_t *step_deed(const char *step, const char *target, json_t *args);

/* Appends a step to another's undo list (steals undo). */
void step_undo(json_t *step, json_t *undo);
/* The same, and it is dropped by the next step that is settled. */
void step_undo_until_settled(json_t *step, json_t *undo);
void step_settled(json_t *step);
/* Appends a step to the rescue list of another, which is an undo (steals rescue). */
void step_rescue(json_t *step, json_t *rescue);
void step_commit_point(json_t *step);
json_t *step_lenient(json_t *step); /* returns step */
json_t *step_tolerated(json_t *step); /* returns step */
void step_timeout(json_t *step, json_int_t ms);
void step_fd(json_t *step, const char *path, const char *flags);
void step_main(json_t *step, const char *what); /* "ends" or "begins" */
void step_restart(json_t *step);

/* For a command that QEMU does not survive when things are otherwise than they should be: it goes out only
 * where this expectation holds (of the same query as the step's own), and not at all where the step's own
 * holds already, which is as good as done.  needs is stolen. */
void step_needs(json_t *step, json_t *needs);

void step_advice(json_t *step, const char *text);

/* QEMU may be silent for that long. */
void step_patience(json_t *step, json_int_t ms);

/* For a step that waits for a job (expect_job()) which may never get there, since the guest makes new
 * work for it: when the least that ever remained of it has not become less for after_ms (0: as soon as
 * there is something to wait for), the command goes out, once, to where the step's own went; then the
 * step waits on.  undo is what takes that back, right before the step's own undo.  command (an object
 * {execute, arguments?}) and undo (a step) are stolen. */
void step_stall(json_t *step, json_int_t after_ms, json_t *command, json_t *undo);

/* new: expectations. */
json_t *expect_status(const char *first, const char *second);
json_t *expect_node(const char *name, bool present);
json_t *expect_job(const char *id, const char *status);

/* new: the list of SnapshotStep that dry-run returns. */
json_t *plan_describe(const json_t *plan);

#endif
