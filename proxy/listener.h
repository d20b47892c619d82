/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * listener: where clients connect.
 */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include "policy/address.h"
#include "policy/args.h"
#include "proxy/daemon.h"

/* Listens there (-l), or does what a monitor of QEMU's arguments would have done. */
bool listener_add_text(struct daemon *daemon, const char *text, struct err *err);
bool listener_add_monitor(struct daemon *daemon, const struct args_monitor *monitor,
                          struct err *err);

/* Listens on what a service manager passed: LISTEN_FDS and LISTEN_PID as in sd_listen_fds(3). */
bool listener_add_activated(struct daemon *daemon, struct err *err);

/* A client has gone: whoever was connected to (reconnect=) is connected to again. */
void listener_client_gone(struct daemon *daemon, const struct client *client);

/* Closes all, and removes the paths of their sockets. */
void listener_close_all(struct daemon *daemon);

#endif
