/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sock: sockets that listen and sockets that connect.
 *
 * All are non-blocking and close-on-exec.  A unix socket has its mode before anybody can connect;
 * the default is 0600.  A path that a live process listens on is not taken away from it; a dead
 * socket is replaced, anything else at that path is refused.
 */
#ifndef PROXY_SOCK_H
#define PROXY_SOCK_H

#include "policy/address.h"
#include "qmp/err.h"

/* -1: err is set. */
int sock_listen(const struct address *address, struct err *err);
int sock_connect(const struct address *address, struct err *err);

/* A unix socket in an open folder, however long the folder's path is. */
int sock_listen_at(int dirfd, const char *name, struct err *err);
int sock_connect_at(int dirfd, const char *name, struct err *err);

#endif
