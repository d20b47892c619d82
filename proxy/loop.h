/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * loop: the event loop.
 *
 * Rule: this is the first that a program asks of libevent, which gets the memory functions of
 * qmp/alloc.h by it: its buffers and events are never lacking, and what evbuffer_add() and the like
 * return need not be looked at.
 */
#ifndef PROXY_LOOP_H
#define PROXY_LOOP_H

#include <event2/event.h>

/* new: with timers that are exact to less than a millisecond. */
struct event_base *loop_new(void);

#endif
