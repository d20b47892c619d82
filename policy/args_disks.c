/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/args_disks.h"

#include "policy/args_drive.h"
#include "policy/args_nodes.h"

#include <stdlib.h>
#include <string.h>

static int disk_order(const void *a, const void *b)
{
    const struct args_disk *one = a;
    const struct args_disk *two = b;

    return (one->arg > two->arg) - (one->arg < two->arg);
}

bool args_disks_find(const struct args *args, struct args_disks *out, struct err *err)
{
    struct args_nodes nodes = { .v = NULL };
    bool ok = args_drive_find(args, out, err) && args_nodes_find(args, &nodes, err);

    if (ok) {
        args_nodes_disks(&nodes, out);
        if (out->n)
            qsort(out->v, out->n, sizeof(*out->v), disk_order);
    } else {
        args_disks_clear(out);
    }
    args_nodes_clear(&nodes);
    return ok;
}

void args_disks_clear(struct args_disks *disks)
{
    for (size_t i = 0; i < disks->n; i++) {
        free(disks->v[i].key);
        free(disks->v[i].id);
        free(disks->v[i].node_name);
        free(disks->v[i].path);
        free(disks->v[i].format);
    }
    free(disks->v);
    *disks = (struct args_disks)ARGS_DISKS_INIT;
}

const struct args_disk *args_disks_get(const struct args_disks *disks, const char *key)
{
    for (size_t i = 0; i < disks->n; i++) {
        if (strcmp(disks->v[i].key, key) == 0)
            return &disks->v[i];
    }
    return NULL;
}
