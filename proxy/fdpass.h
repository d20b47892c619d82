/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fdpass: descriptors that travel over a unix socket with the bytes of a message (SCM_RIGHTS).
 *
 * Received descriptors are close-on-exec; at most FDPASS_MAX are taken from one message, as many as
 * QEMU takes (io/channel-socket.c); more are closed by the kernel.
 */
#ifndef PROXY_FDPASS_H
#define PROXY_FDPASS_H

#include <stddef.h>
#include <sys/types.h>

#define FDPASS_MAX 16

/* Like send(); the descriptors go with the first byte.  -1: errno. */
ssize_t fdpass_send(int sock, const char *data, size_t len, const int *fds, size_t n_fds);

/* Like recv(); *n_fds says how many of fds[FDPASS_MAX] came, which the caller then owns. */
ssize_t fdpass_recv(int sock, char *data, size_t len, int *fds, size_t *n_fds);

#endif
