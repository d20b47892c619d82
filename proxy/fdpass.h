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

/* How much to receive at a time: what is there, at most len, or one byte when descriptors are among it.
 * The kernel joins what was sent before them to what they came with; QEMU reads byte by byte and keeps
 * it apart.  What arrives behind this look is left to the next one.  data[len] is overwritten. */
size_t fdpass_step(int sock, char *data, size_t len);

/* Like recv(); *n_fds says how many of fds[FDPASS_MAX] came, which the caller then owns. */
ssize_t fdpass_recv(int sock, char *data, size_t len, int *fds, size_t *n_fds);

#endif
