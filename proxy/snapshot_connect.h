/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * snapshot_connect: connecting with a deadline, for qmp-snapshot.
 *
 * Model: a deadline is a moment of the monotonic clock in milliseconds.  The descriptor that comes
 * back never blocks; whoever uses it waits with snapshot_connect_wait().
 *
 * Rules: looking a host name up is the one thing that the deadline does not bound (getaddrinfo).
 */
#ifndef PROXY_SNAPSHOT_CONNECT_H
#define PROXY_SNAPSHOT_CONNECT_H

#include <stdbool.h>
#include <stdint.h>

#include "qmp/err.h"

#define SNAPSHOT_CONNECT_FOREVER INT64_MAX

/* The present moment. */
int64_t snapshot_connect_now(void);

/* Waits until fd is ready for poll()'s events; false when the deadline passes first. */
bool snapshot_connect_wait(int fd, short events, int64_t deadline);

/* *new*: a connected descriptor, or -1 with *err set.  The address is what policy/address.h takes,
 * fd:N excepted. */
int snapshot_connect(const char *text, int64_t deadline, struct err *err);

#endif
