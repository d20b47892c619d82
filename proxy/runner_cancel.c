/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of the runner that says whether its plan may be taken back yet. */
#include "policy/plan.h"
#include "proxy/runner_internal.h"

bool runner_can_return(const struct runner *runner)
{
    /* Once that was taken QEMU does it, whether it is waited for or not. */
    bool ends = runner->accepted && json_is_true(json_object_get(runner_current(runner), "no-return"));

    return !runner->undoing && !runner->committed && !runner->forward && !ends;
}

bool runner_cancel(struct runner *runner)
{
    if (runner->phase == RUNNER_ENDED || (!runner->undoing && !runner_can_return(runner)) || runner->committed)
        return false;
    runner->cancelled = true;
    return true;
}

bool runner_committed(const struct runner *runner)
{
    return runner->committed;
}

const json_t *runner_steps(const struct runner *runner, size_t *at)
{
    *at = runner->at;
    return runner->list;
}
