/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config: what is on record of the commands by which clients changed the VM's configuration.
 *
 * Model: a list of commands, in order.  What was added and removed again leaves no trace: the VM is
 * as it was.  What was there from the start and was removed leaves the command that removed it.
 *
 * Devices come and go with the guest: device_del only asks for it, and the device is there until the
 * guest lets go.  So device_del is not recorded; which devices there are is asked of QEMU when a
 * snapshot is made (world.h, devices), and config_now() says what made them: without those that have
 * gone, with a device_del for each device of the command line that has, and with the places (address on the
 * bus, number) that QEMU has chosen, since the next process would choose the first free ones.  For the
 * same reason devices of the command line are told their places once one of them has gone.
 *
 * Rules: pure.  What the guest carries in its own state (balloon, set_link), or what is of an image
 * and not of the VM (block_resize), is no configuration.
 */
#ifndef POLICY_CONFIG_H
#define POLICY_CONFIG_H

#include <jansson.h>

#include "policy/args.h"

/* Adds a command ({ execute, arguments? }, borrowed) that QEMU has carried out to the record.  args:
 * the user's command line, or NULL. */
void config_add(json_t *state, const struct args *args, const json_t *command);

/* Stands for the event DEVICE_DELETED, with its data as arguments.  It takes out of the record what need not
 * be remembered; of a device without an id nobody knows which one it was. */
#define CONFIG_GONE "DEVICE_DELETED"

/* new: what has made the VM what it is now.  args: the user's command line; devices: id -> true, of
 * all that have an id, or NULL when that is not known; places: id -> { property: value }. */
json_t *config_now(const json_t *config, const struct args *args, const json_t *devices,
                   const json_t *places);

/* new: each device of the command line that has an id, as a device_add; NULL: all are there. */
json_t *config_given(const struct args *args, const json_t *devices);

/* Stands for what pins a device of the command line to its place; arguments: { id, property... }. */
#define CONFIG_PLACE "device-place"

/* NULL-terminated: the properties that tell a device's place. */
extern const char *const config_places[];

/* borrowed: the id of the device that the command has added, or NULL. */
const char *config_device(const json_t *command);

/* borrowed: the node-name in a command of that kind; NULL: it is another command. */
const char *config_node(const json_t *command, const char *execute);

/* Does this line for the human monitor change the configuration? */
bool config_human(const char *line);

#endif
