/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * intercept: the few answers of QEMU that the proxy has an interest in.
 *
 * query-commands and query-qmp-schema get our commands added, and are asked for once a process; query-jobs and query-block-jobs show
 * our operations as jobs and leave out those that only serve their steps; commands that change the
 * configuration are recorded when QEMU has accepted them; the answer to a client's own snapshot is held
 * until that is recorded (observer.h); leftovers.h is told of what concerns it.
 * Everything else passes as it is.
 */
#ifndef PROXY_INTERCEPT_H
#define PROXY_INTERCEPT_H

#include "proxy/daemon.h"

struct intercept;

/* Answers a command whose answer is known from before; false: it is for QEMU. */
bool intercept_answer(struct daemon *daemon, struct slot *slot, const struct message *message);

/* new, or NULL: the answer is of no interest.  renamed says that the message has other names than the
 * client's (leftovers.h). */
struct intercept *intercept_new(struct daemon *daemon, const struct message *message, bool renamed);
void intercept_free(struct intercept *intercept);

/* Looks at the answer and frees the intercept.  True: the slot has been answered. */
bool intercept_reply(struct intercept *intercept, struct slot *slot, enum link_answer answer,
                     struct span text, const struct message_reply *reply);

/* An event of QEMU: has a device gone that a client had added? */
void intercept_event(struct daemon *daemon, const struct message_reply *reply);

#endif
