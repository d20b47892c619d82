/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * background: -daemonize.
 *
 * Model: the process that the user started waits until QEMU answers, and ends with status 0, or
 * with 1 and QEMU's messages when it does not come to that.  The one behind it has qemu.log in the
 * state folder for its output and QEMU's, so that nobody waits for the end of a pipe.
 */
#ifndef PROXY_BACKGROUND_H
#define PROXY_BACKGROUND_H

/* Returns in the background process only.  To be called before there are threads. */
void background_fork(void);

/* Output goes to qemu.log in the folder from now on; nothing without background_fork(). */
void background_redirect(int dirfd);

/* Lets the waiting process end: 0, or 1 with the log on its standard error.  Once. */
void background_release(int status);

#endif
