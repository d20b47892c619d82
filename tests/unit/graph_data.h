/* SPDX-License-Identifier: GPL-2.0-or-later */
/* graph_data: what the tests of policy/graph share: the captured answers of real QEMUs. */
#ifndef TESTS_UNIT_GRAPH_DATA_H
#define TESTS_UNIT_GRAPH_DATA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/graph.h"

/* new: {"nodes", "blocks", "graph"} of tests/data/graph/NAME-QEMU.json. */
static inline json_t *graph_data_load(const char *name, const char *qemu)
{
    const char *srcdir = getenv("srcdir");
    json_error_t error;
    char path[512];
    json_t *out;
    int fd;

    snprintf(path, sizeof(path), "%s/tests/data/graph/%s-%s.json", srcdir ? srcdir : ".",
             name, qemu);
    fd = open(path, O_RDONLY | O_CLOEXEC);     /* a FILE asks for memory, and does not say so */
    out = json_loadfd(fd, 0, &error);
    close(fd);
    if (!out)
        fail_msg("%s: %s", path, error.text);
    return out;
}

/* new: the graph of such an object. */
static inline struct graph *graph_data_build(const json_t *answers, struct err *err)
{
    return graph_new(json_object_get(answers, "nodes"), json_object_get(answers, "blocks"),
                     json_object_get(answers, "graph"), err);
}

#endif
