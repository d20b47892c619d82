/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * leftovers: what clients have in QEMU's monitor: names of descriptors, and sets of descriptors.
 *
 * Names (getfd).  QEMU keeps them per monitor (monitor/fds.c), and all clients share one.  A name
 * stays as the client gave it, unless another client that is connected has one like it: then it
 * goes to QEMU with a suffix, and comes back in errors without.  A client sees its own names, and
 * those of clients that have gone, since QEMU keeps a name when who gave it disconnects.
 *
 * Sets (add-fd).  They are one for all monitors.  Before 9.1 QEMU closes those that nothing uses
 * when its last client disconnects and the guest runs (monitor/qmp.c, monitor_fdsets_cleanup).  Our
 * own connection stays, so when the last client has gone that added one, it is made anew.
 */
#ifndef PROXY_LEFTOVERS_H
#define PROXY_LEFTOVERS_H

#include "proxy/daemon.h"

struct leftovers *leftovers_new(struct daemon *daemon);
void leftovers_free(struct leftovers *leftovers);

/* Another QEMU, which knows of nothing. */
void leftovers_forget(struct leftovers *leftovers);

void leftovers_client_gone(struct leftovers *leftovers, const struct client *client);

/* new: the arguments with the names that QEMU knows; NULL: they stay as they are. */
char *leftovers_rename(struct leftovers *leftovers, const struct client *client,
                       const struct message *message, size_t *len);

/* Is it of interest what becomes of the command? */
bool leftovers_concerned(const char *command);

/* What became of it.  arguments are those that QEMU got. */
void leftovers_done(struct leftovers *leftovers, const char *command, struct span arguments, bool ok);

/* new: an error of QEMU with the names as clients know them. */
char *leftovers_restore(const char *text, size_t len, size_t *out_len);

#endif
