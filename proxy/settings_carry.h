/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * settings_carry: gives the second QEMU the settings that clients made in the first (policy/settings.h).
 *
 * Model: it is asked for its own, told what differs, and asked again.  That ends well when there is
 * nothing left to tell it, badly when there is, when it is silent, or when it has gone.
 */
#ifndef PROXY_SETTINGS_CARRY_H
#define PROXY_SETTINGS_CARRY_H

#include <event2/event.h>
#include <jansson.h>

#include "proxy/vm.h"

struct settings_carry;

/* new: want is borrowed; the link lives as long as this does.  done is called once, never from in here, and
 * it is freed from there, or before. */
struct settings_carry *settings_carry_new(struct event_base *base, struct link *link,
                                          const json_t *want, vm_done_cb *done, void *arg);
void settings_carry_free(struct settings_carry *carry);

#endif
