/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_clock: time that passes only when the test says so.
 *
 * Model: clock_gettime() and gettimeofday() of this program stand before the C library's, for libevent
 * as well.  A turn handles what is ready, without waiting, and then moves the clock on a little: what
 * waits for half a minute waits for as many turns, and the same seed sees the same times.
 */
#ifndef TESTS_SIM_CLOCK_H
#define TESTS_SIM_CLOCK_H

#include <event2/event.h>

void sim_clock_reset(void);
/* One turn of the loop; the longer nothing happened, the further the clock moves. */
void sim_clock_turn(struct event_base *base);
/* Something happens: time passes slowly from here on. */
void sim_clock_busy(void);
/* Microseconds since sim_clock_reset(). */
long long sim_clock_now(void);

#endif
