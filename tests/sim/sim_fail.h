/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_fail: the end of a simulation that has gone wrong.
 *
 * Model: what is said goes to the function that the test has set (which does not return: it says which
 * seed it was, and ends), or to standard error, and the program aborts.
 */
#ifndef TESTS_SIM_FAIL_H
#define TESTS_SIM_FAIL_H

#include <stdbool.h>

typedef void sim_fail_fn(const char *what);

extern sim_fail_fn *sim_fail_hook;

void sim_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void sim_fail_check(bool ok, const char *what);

#endif
