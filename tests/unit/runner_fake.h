/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * runner_fake: a runner between a fake QEMU (fake_qemu.h) and a fake host.
 *
 * Model: deeds and journals go into one log with QEMU's commands, "command NAME", "deed NAME",
 * "journal" and "journal committed", in the order in which they happen.  files is the host: deeds
 * that make or remove a file do so there; those about processes end a QEMU or put the next one in
 * the place of the first.  One deed can fail.
 *
 * This file's event_add() stands before libevent's: what waits for seconds waits for
 * runner_fake_short_ms here, so that a silent QEMU does not cost half a minute.
 */
#ifndef TESTS_UNIT_RUNNER_FAKE_H
#define TESTS_UNIT_RUNNER_FAKE_H

#include "tests/unit/fake_qemu.h"

#include "proxy/runner.h"

extern unsigned runner_fake_short_ms;   /* 100 */

struct runner_fake {
    struct event_base *base;
    struct fake_qemu *qemu, *next;      /* next may be NULL */
    bool started, switched;             /* next was; next stands for "qemu" */
    json_t *log;
    json_t *files;                      /* { path: true } */
    size_t deeds;                       /* so far */
    size_t deed_fails_at;               /* its number; -1: none */
    unsigned deed_fails_times;
    bool deed_unsynced;                 /* that was an fsync */
    unsigned deed_ms;                   /* that each takes */
    int journal_fails_at;               /* its number; -1: none */
    int journals;
    json_t *journal;                    /* the last one that was written; NULL: none was */
    json_t *progress;                   /* [[current, total], ...], as it was reported */
    struct runner_standstill standstill;
    /* once it has ended */
    bool ended;
    enum runner_end end;
    struct err err;
    /* private */
    struct runner *runner;
    struct event *deed_event;
    const json_t *step;
    runner_deed_cb *done;
    size_t seen, seen_next;
};

struct runner_fake *runner_fake_new(json_t *vm);
void runner_fake_free(struct runner_fake *fake);

/* Runs the plan to its end (steals it).  Every timeout in it becomes runner_fake_short_ms.
 * Another may follow. */
void runner_fake_run(struct runner_fake *fake, json_t *plan);

/* The same, and cancels when the log has that line. */
void runner_fake_run_cancel(struct runner_fake *fake, json_t *plan, const char *line);

/* Has the log that line by now? */
bool runner_fake_has(struct runner_fake *fake, const char *line);

/* The log, lines parted by ", ", must be that. */
void assert_log(struct runner_fake *fake, const char *want);

#endif
