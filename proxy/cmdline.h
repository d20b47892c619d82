/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmdline: the command line that the VM runs with, parsed.
 *
 * Model: it is the one that the proxy was given, until a revert starts a snapshot's: then the record says which
 * ("args" of the state, until the next start of the VM).  Each one that was needed stays parsed until the end.
 *
 * Ownership: what is returned is borrowed until daemon_free().
 */
#ifndef PROXY_CMDLINE_H
#define PROXY_CMDLINE_H

#include "proxy/daemon.h"

struct cmdline;

/* NULL when attached. */
const struct args *cmdline_args(struct daemon *daemon);
const struct args_disks *cmdline_disks(struct daemon *daemon);

void cmdline_free(struct cmdline *list);

#endif
