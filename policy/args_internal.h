/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_internal: the inside of struct args, for args.c and args_monitor.c only.
 */
#ifndef POLICY_ARGS_INTERNAL_H
#define POLICY_ARGS_INTERNAL_H

#include "policy/args.h"

struct args {
    char *binary;
    struct arg *v;
    size_t n;
    bool had_monitor;       /* as parsed: an option that switches QEMU's default monitor off */
    char *name, *machine;   /* made by the getters, so that what they return can be borrowed */
};

#endif
