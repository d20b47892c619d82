/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * collect_places: asks QEMU where the devices are that clients have added (policy/config.h).
 */
#ifndef PROXY_COLLECT_PLACES_H
#define PROXY_COLLECT_PLACES_H

#include <jansson.h>
#include <stddef.h>

#include "proxy/link.h"

/* Sends the questions; how many.  For each, answered(arg) is called once, never inside the call, when
 * what it brought is in out (id -> { property: value }; borrowed until the last one). */
size_t collect_places(struct link *link, const json_t *config, json_t *out,
                      void (*answered)(void *arg), void *arg);

#endif
