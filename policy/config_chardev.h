/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * config_chardev: the backend of chardev-add (QAPI ChardevBackend) as the keys of -chardev, which takes
 * no JSON.
 *
 * Rules: a member without a key, a backend or an address that -chardev cannot say: none.  Defaults
 * that differ are written out: over QMP a socket listens, and waits for nobody
 * (qapi/char.json; chardev/char-socket.c).
 */
#ifndef POLICY_CONFIG_CHARDEV_H
#define POLICY_CONFIG_CHARDEV_H

#include <jansson.h>

#include "policy/qemuopts.h"

/* new; arguments: of chardev-add or chardev-change.  NULL: *why (static) says why not. */
struct qemuopts *config_chardev(const json_t *arguments, const char **why);

#endif
