/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * process: one QEMU process, started by this proxy or found running.
 *
 * Model: a process is known by its pid and its start time (/proc/PID/stat), so that a pid that was
 * given to somebody else is never signalled; its end is seen through a pidfd, child or not.
 * The proxy's end is not QEMU's: nothing here kills QEMU when the proxy dies.
 */
#ifndef PROXY_PROCESS_H
#define PROXY_PROCESS_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "qmp/err.h"

struct process;

/* status: what waitpid() said; -1 for a process that is not our child.  Called once, from the loop;
 * the process may be freed from here. */
typedef void process_exited_cb(void *arg, int status);

/* So many descriptors are needed: raises the soft limit of this process as far as it may, but not
 * that of the processes it spawns. */
void process_allow_files(size_t n);

/* new: a process that is not argv[0] (looked up in PATH) yet, but waits for process_run(): so that it can
 * be on record before it is.  Until then it ends when this proxy does, and by process_free().  The n
 * descriptors fds, and no other of ours, are inherited under their own numbers. */
struct process *process_new(struct event_base *base, char *const argv[], const int *fds, size_t n,
                            process_exited_cb *exited, void *arg, struct err *err);
/* bound: it is to end (SIGTERM) when this proxy does, as nobody would find it.  Fails when the program cannot be
 * executed: then the process has ended, without exited(). */
bool process_run(struct process *process, bool bound, struct err *err);

/* NULL, without an error, when no such process lives any more; with one when that cannot be told. */
struct process *process_adopt(struct event_base *base, pid_t pid, unsigned long long start_time,
                              process_exited_cb *exited, void *arg, struct err *err);

/* SIGKILL to a process that an earlier proxy started, if it still lives; returns when it is gone, or
 * after some seconds. */
void process_end_stale(pid_t pid, unsigned long long start_time);

/* Waits some seconds for its end; true when it has ended. */
bool process_wait_end(const struct process *process);
/* The same without waiting. */
bool process_has_ended(const struct process *process);

/* Does not end a process that runs. */
void process_free(struct process *process);

pid_t process_pid(const struct process *process);
unsigned long long process_start_time(const struct process *process);
void process_signal(struct process *process, int sig);

/* The callback and its argument change hands (the second QEMU becomes the first). */
void process_set_owner(struct process *process, process_exited_cb *exited, void *arg);

/* Field 22 of /proc/PID/stat, 0 when there is no such process, or a dead one. */
unsigned long long process_read_start_time(pid_t pid);
/* What it returns when that cannot be told: no process has it. */
#define PROCESS_START_UNKNOWN (~0ULL)

#endif
