/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A revert past its commit point has lost the second QEMU when the first was gone: it goes on with a third one
 * (policy/planner_relaunch.c), as a recovery of its own journal.  Clients wait meanwhile; who has asked for the revert
 * is answered when that is over.
 *
 * What was to take over may be the VM already.  Its end is heard of later than that of its connection, and a QEMU that
 * has only closed its monitor has not ended: until one of both is known the operation waits.
 */
#include <sys/wait.h>

#include "policy/planner.h"
#include "policy/state.h"
#include "proxy/log.h"
#include "proxy/operation_internal.h"
#include "proxy/recover.h"

static json_t *relaunch_plan(const struct operation *op)
{
    return op->stage == STAGE_RECOVER ? json_object_get(op->journal, "plan") : op->plan;
}

static bool relaunch_possible(const struct operation *op)
{
    bool committed = op->waits_for_end ||
                     (op->stage == STAGE_RECOVER
                          ? planner_journal_committed(op->journal, op->daemon->store->state)
                          : op->stage == STAGE_MAIN && op->runner && runner_committed(op->runner));

    return committed && !op->daemon->quitting &&
           planner_can_relaunch(relaunch_plan(op), op->daemon->store->state);
}

/* Nobody is left. */
static bool relaunch_begin(struct operation *op)
{
    json_t *plan = relaunch_plan(op), *journal;
    struct err err = ERR_INIT;

    planner_note_relaunch(plan);
    journal = json_pack("{s:i, s:b, s:O}", "format", STATE_FORMAT, "committed", 1, "plan", plan);
    if (!store_write_journal(op->daemon->store, journal, &err)) {
        log_error("%s", err.desc);
        err_clear(&err);
        json_decref(journal);
        return false;
    }
    log_warn("%s of '%s': the second QEMU has ended: starting another one", op->kind,
             state_str(op->request, "name"));
    json_decref(op->journal);
    op->journal = journal;
    op->waits_for_end = false;
    operation_renew(op);
    op->next = WORLD_NEXT_NONE;
    vm_make_room(op->daemon->vm);
    operation_enter(op, STAGE_RECOVER);
    return true;
}

bool operation_relaunch(struct operation *op)
{
    if (!relaunch_possible(op))
        return false;
    if (!vm_main(op->daemon->vm))
        return relaunch_begin(op);
    op->waits_for_end = true;
    operation_renew(op);
    runner_free(op->runner);
    op->runner = NULL;
    return true;
}

bool operation_outlives(struct daemon *daemon, int status)
{
    struct operation *op = daemon->operation;

    /* Where it was told to end, or did so by itself, that is wanted. */
    return op && (status < 0 || WIFSIGNALED(status)) && relaunch_possible(op) && relaunch_begin(op);
}

void operation_answers(struct daemon *daemon)
{
    struct operation *op = daemon->operation;
    json_t *journal;

    if (!op || !op->waits_for_end)
        return;
    journal = json_pack("{s:b, s:O}", "committed", 1, "plan", relaunch_plan(op));
    json_decref(op->journal);
    op->journal = journal;
    op->waits_for_end = false;
    operation_enter(op, STAGE_RECOVER);
}

void operation_lost(struct operation *op, struct err *err)
{
    struct daemon *daemon = op->daemon;

    operation_finish(op, NULL, err);
    if (!vm_main(daemon->vm))
        daemon_lost(daemon);
    else if (link_ready(vm_main(daemon->vm)))
        recover_hot(daemon); /* it had only lost its connection */
}
