/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * address: where somebody listens, in QEMU's notation.
 *
 * unix:PATH, a bare path, tcp:HOST:PORT (HOST may stand in [] for IPv6; none means loopback) or
 * fd:N (an inherited listening socket), then options after commas: role=, mode= (octal), group=,
 * insecure=on; server, wait, nodelay and their like are QEMU's and are accepted without effect.
 */
#ifndef POLICY_ADDRESS_H
#define POLICY_ADDRESS_H

#include <stdbool.h>

#include "qmp/err.h"

enum address_kind { ADDRESS_UNIX, ADDRESS_TCP, ADDRESS_FD, ADDRESS__COUNT };

struct address {
    enum address_kind kind;
    char *path;             /* UNIX */
    char *host, *port;      /* TCP */
    int fd;                 /* FD */
    char *group;            /* or NULL */
    int mode;               /* -1: default */
    bool insecure;
    bool abstract, tight;   /* UNIX: a name in the abstract namespace; tight: not filled with NULs */
};

/* The strings of *out are new: address_clear().  Refuses with a sentence that names the part. */
bool address_parse(const char *text, struct address *out, struct err *err);
void address_clear(struct address *address);

/* Is the TCP host one of loopback's names?  A name that would have to be looked up is not. */
bool address_is_loopback(const struct address *address);

#endif
