/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim_clock.h"

#include <errno.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

/* 2026-01-01; any moment will do. */
#define SIM_CLOCK_START 1767225600LL

/* How far a turn moves the clock while something happens, and when nothing has for so many turns. */
#define SIM_CLOCK_STEP_US 100
#define SIM_CLOCK_IDLE_TURNS 12
#define SIM_CLOCK_IDLE_US 20000

static long long sim_clock_us;
static unsigned sim_clock_idle;

void sim_clock_reset(void)
{
    sim_clock_us = 0;
    sim_clock_idle = 0;
}

void sim_clock_busy(void)
{
    sim_clock_idle = 0;
}

long long sim_clock_now(void)
{
    return sim_clock_us;
}

void sim_clock_turn(struct event_base *base)
{
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    sim_clock_us += sim_clock_idle < SIM_CLOCK_IDLE_TURNS ? SIM_CLOCK_STEP_US : SIM_CLOCK_IDLE_US;
    sim_clock_idle++;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    (void)id;
    ts->tv_sec = (time_t)(SIM_CLOCK_START + sim_clock_us / 1000000);
    ts->tv_nsec = (long)(sim_clock_us % 1000000) * 1000;
    return 0;
}

int gettimeofday(struct timeval *tv, void *zone)
{
    struct timespec ts;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

/* libevent would set one at each turn. */
int timerfd_create(int id, int flags)
{
    (void)id;
    (void)flags;
    errno = ENOSYS;
    return -1;
}
