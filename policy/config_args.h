/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config_args: what clients changed of the VM's configuration over QMP, said as a command line.
 *
 * Model: a process that loads a snapshot's memory must have the devices of the snapshot from its
 * start.  So a recorded command becomes an option behind the user's own, and the rewriting of
 * images and the late binding (args_rewrite.h) treat it like any other:
 *
 *     blockdev-add, netdev_add, object-add     -blockdev, -netdev, -object with the same JSON
 *     device_add                               -device
 *     chardev-add, chardev-change              -chardev (config_chardev.h)
 *     blockdev-del ... device_del              the user's option of that id is left out
 *
 * What only sets something at run time (block_set_io_throttle, hostfwd_add) is said to the new
 * process over QMP, before the guest goes on.  All else has no such form and is refused by name.
 *
 * -device takes JSON from 6.2 on, device_add checks the types of its members from 9.2 on
 * (qdev-monitor.c, qmp_device_add: before, they went through QemuOpts as text).  So an older QEMU is
 * told what it has taken, as text.
 */
#ifndef POLICY_CONFIG_ARGS_H
#define POLICY_CONFIG_ARGS_H

#include <jansson.h>

#include "policy/args.h"

enum config_deed { CONFIG_ADD, CONFIG_REMOVE, CONFIG_CHANGE };

struct config_row {
    const char *command;
    enum config_deed deed;
    const char *option;         /* name of the command line's option */
    const char *member;         /* which names the thing: "id" or "node-name" */
};

/* borrowed forever; NULL: the command has no form on the command line. */
const struct config_row *config_row_find(const char *command);

/* borrowed forever: the row of the command that adds what this one removes or changes. */
const struct config_row *config_row_adder(const struct config_row *row);

/* The option (by its name, "device") of that id: its position, or args_count(). */
size_t config_option_find(const struct args *args, const char *option, const char *id);

/* Is the command one that is said to the new process over QMP? */
bool config_is_late(const json_t *command);

/* new: args with the commands of `config` carried out.  typed: QEMU is 9.2 or newer.  lenient: what
 * cannot be said is left out; otherwise it is refused with "configuration-changed", by command and id. */
struct args *config_args(const struct args *args, const json_t *config, bool typed, bool lenient,
                         struct err *err);

/* Appends the commands that are said over QMP to late (see args_rewrite.h). */
void config_late(const json_t *config, json_t *late);

#endif
