/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * program: which QEMU would start now from a program's name?
 *
 * Model: the file under a name may be another than the one that runs, after an upgrade.  When it is the
 * very file that the running process was started from (/proc/PID/exe), it is that version.  Otherwise
 * (a script that starts QEMU cannot be told from outside either) it is asked with --version, and for its
 * machines, in a time that is bounded: a program that says nothing useful is no error, as the second QEMU
 * is looked at before it loads anything.
 *
 * Rules: blocks; for the worker's thread.
 */
#ifndef PROXY_PROGRAM_H
#define PROXY_PROGRAM_H

#include <jansson.h>

/* args: { file: as on the command line, pid: of the running QEMU, machines: ask for them in any case }.
 * new: { same: true when it is the file that runs, version?: text, machines?: text }. */
json_t *program_look(const json_t *args);

#endif
