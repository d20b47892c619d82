/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options: the proxy's own command line.
 */
#ifndef PROXY_OPTIONS_H
#define PROXY_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "qmp/err.h"

struct options {
    const char **listen;        /* -l, as given */
    size_t n_listen;
    const char *name;           /* -n, or NULL */
    const char *state_dir;      /* -d, or NULL */
    const char *connect;        /* -c, or NULL */
    int qemu_argc;              /* behind --; 0 with -c */
    char **qemu_argv;
    unsigned converge_timeout;  /* seconds; 0: at once */
    size_t max_clients, max_request, max_unread, max_memory;    /* client.h; bytes */
    bool help, version;
};

/* All strings are borrowed from argv. */
bool options_parse(int argc, char *argv[], struct options *out, struct err *err);
void options_clear(struct options *options);

extern const char options_usage[];

#endif
