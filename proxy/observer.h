/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * observer: keeps the record up with what clients do to the disks by themselves (policy/observe.h).
 *
 * Model: a look asks for the world (collect.h), compares, writes the record, lets those go on who wait
 * for it, and tells of the snapshots that came in.  Looked is after a client's snapshot command, whose
 * answer is held until then; after the end of a client's block job; before a query with `verify`; when
 * a QEMU was found running.  An operation looks for itself, in the world that it has asked for.
 *
 * Rules: a look and an operation never overlap.  Nobody waits longer than OBSERVER_PATIENCE_S.  A look
 * that fails is a warning in the log: QEMU's answer to the client is what it was.
 */
#ifndef PROXY_OBSERVER_H
#define PROXY_OBSERVER_H

#include "policy/world.h"
#include "proxy/daemon.h"

struct observer;

typedef void observer_cb(void *arg);

struct observer *observer_new(struct daemon *daemon);
void observer_free(struct observer *observer);

/* Looks; cb (may be NULL) is called when that is done or cannot be, never inside the call. */
void observer_look(struct observer *observer, observer_cb *cb, void *arg);

/* A client's snapshot command has been carried out: looks, then answers the slot with the line.
 * overlays: of observe_command(), stolen. */
void observer_hold(struct observer *observer, struct slot *slot, const char *line, size_t len,
                   json_t *overlays);

/* Is it looking? */
bool observer_busy(const struct observer *observer);

/* For an operation: brings the record up to date with the world.  True: it has changed. */
bool observer_apply(struct observer *observer, const struct world *world);

/* The operation has ended: what was put off begins. */
void observer_resume(struct observer *observer);

/* QEMU has gone: nobody waits any more. */
void observer_release(struct observer *observer);

/* An event of QEMU: is it the end of a client's block job? */
void observer_event(struct observer *observer, const struct message_reply *reply);

#endif
