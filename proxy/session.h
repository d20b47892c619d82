/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session: what a client says, and who answers it.
 *
 * Each client negotiates for itself, with QEMU's words (monitor/qmp.c, monitor/qmp-cmds-control.c).
 * A command is ours (answered by operation.h), conflicts with the operation that runs (refused), or
 * goes to QEMU as it is, but for the id.
 */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include "proxy/daemon.h"

extern const struct client_ops session_client_ops;

/* A new connection (client_new); greeted at once, or when QEMU is ready.  One too many is told so. */
struct client *session_start(struct daemon *daemon, int fd, int fd_out, bool pretty);

/* QEMU is ready: greets those who wait for it. */
void session_greet_all(struct daemon *daemon);

/* An event of QEMU on its way to the clients. */
void session_event(struct daemon *daemon, const char *text, size_t len,
                   const struct message_reply *reply);

/* Sends a command of a client to QEMU; its answer answers the slot.  message's text is used. */
void session_forward(struct daemon *daemon, struct slot *slot, const struct message *message);

#endif
