/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * operation: snapshot-create, -revert, -delete and query-snapshots, from the command to the answer.
 *
 * Model: at most one operation at a time.  It asks for the world (collect.h), makes a plan
 * (policy/planner.h), and carries it out (runner.h); it is a job meanwhile (jobs.h).  With save-as a
 * revert has two stages: first a snapshot-create that leaves the guest stopped, then the revert; when
 * the second fails, the guest goes on and the new snapshot is deleted again.
 *
 * An operation that could neither be finished nor taken back is stuck: its journal stays, and
 * query-snapshots says so.  Each new one first tries once more to settle that, and is refused, with the
 * cause, when it cannot be.
 */
#ifndef PROXY_OPERATION_H
#define PROXY_OPERATION_H

#include "proxy/daemon.h"

struct operation;

/* Is the command ours: a synthetic one, or about one of our jobs? */
bool operation_takes(struct daemon *daemon, const struct message *message);

/* Answers the slot, now or later. */
void operation_command(struct daemon *daemon, struct slot *slot, const struct message *message);

/* Settles what an earlier proxy left (recover.h); new operations wait. */
void operation_recover(struct daemon *daemon, json_t *journal);

/* An operation is stuck (text: why), or is not any more (NULL). */
void operation_set_stuck(struct daemon *daemon, const char *text);
/* Sets the error of a command that is refused for that. */
void operation_refuse_stuck(const struct daemon *daemon, struct err *err);

/* Sets the error for a command that conflicts with the running operation. */
void operation_refuse(const struct operation *operation, const char *command, struct err *err);

/* The client of the slot has gone.  True: the slot was an operation's, and is freed. */
bool operation_abandon(struct daemon *daemon, struct slot *slot);

/* Tells the operation that runs of an event of the VM. */
void operation_event(struct daemon *daemon, const struct message_reply *reply);
/* Does the event only tell of an operation's own steps? */
bool operation_hides_event(struct daemon *daemon, const struct message_reply *reply);

/* What the running operation is called, "snapshot-create", or NULL. */
const char *operation_kind(const struct daemon *daemon);

/* Takes it back if that is still possible (the proxy is to end). */
void operation_cancel(struct daemon *daemon);

/* QEMU has ended (status as of waitpid(), -1: unknown): does the operation start another one in its place? */
bool operation_outlives(struct daemon *daemon, int status);
/* It answers (again): an operation that could not tell whether it had ended goes on. */
void operation_answers(struct daemon *daemon);

/* QEMU has ended: nothing more will happen. */
void operation_free(struct daemon *daemon);

#endif
