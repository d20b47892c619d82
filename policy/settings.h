/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * settings: what clients have set in QEMU that belongs to the process, and neither to the guest nor to
 * the VM's configuration: the capabilities and parameters of migrations.
 *
 * Model: { capabilities: { name: bool }, parameters: object }, both as QEMU tells them.  A process that
 * takes another's place gets what differs.  What it has no name for, being of another version, cannot be
 * kept.
 *
 * Rules: pure.
 */
#ifndef POLICY_SETTINGS_H
#define POLICY_SETTINGS_H

#include <jansson.h>

#include "policy/world.h"

/* new: those of the VM as it is. */
json_t *settings_of(const struct world *world);

/* new: the commands ({ execute, arguments }) that make a process's settings what is wanted; empty when
 * they are. */
json_t *settings_commands(const json_t *want, const json_t *have);

#endif
