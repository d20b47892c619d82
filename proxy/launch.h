/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * launch: from the command line to a running VM.
 *
 * The arguments are taken apart, the state folder is opened, listeners stand before QEMU does; then
 * QEMU is found running (an earlier proxy was killed), or started on the VM's current layers.
 */
#ifndef PROXY_LAUNCH_H
#define PROXY_LAUNCH_H

#include "proxy/daemon.h"

/* False with err: nothing was started. */
bool launch_start(struct daemon *daemon, struct err *err);

/* The VM greets for the first time. */
void launch_ready(struct daemon *daemon);

/* The QEMU that was found running has turned out to be ending: starts it anew, or goes on with the second one of a
 * revert that was past its commit point. */
void launch_again(struct daemon *daemon);

/* A client has connected (QEMU may have waited for one). */
void launch_client_came(struct daemon *daemon);

/* -pidfile of QEMU's arguments: holds the pid of the process that is the VM now. */
void launch_write_pidfile(struct daemon *daemon);
void launch_remove_pidfile(struct daemon *daemon);

#endif
