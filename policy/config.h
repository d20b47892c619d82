/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config: what is on record of the commands by which clients changed the VM's configuration.
 *
 * Model: a list of commands, in order.  What was opened and closed again, and is named nowhere else,
 * leaves no trace: the VM is as it was.
 */
#ifndef POLICY_CONFIG_H
#define POLICY_CONFIG_H

#include <jansson.h>

#include "policy/args.h"

/* Adds a command ({ execute, arguments? }, borrowed) that QEMU has carried out to the record.  args:
 * the user's command line, or NULL. */
void config_add(json_t *state, const struct args *args, const json_t *command);

/* borrowed: the node-name in a command of that kind; NULL: it is another command. */
const char *config_node(const json_t *command, const char *execute);

#endif
