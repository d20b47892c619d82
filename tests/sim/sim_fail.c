/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim_fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

sim_fail_fn *sim_fail_hook;

void sim_fail(const char *fmt, ...)
{
    char text[4096];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (sim_fail_hook)
        sim_fail_hook(text);
    fprintf(stderr, "%s\n", text);
    abort();
}

void sim_fail_check(bool ok, const char *what)
{
    if (!ok)
        sim_fail("the simulation itself failed: %s", what);
}
