/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a command line opens: -drive and -blockdev in the forms that the proxy is given, and writes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/qemuopts.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_qemu.h"

static struct sim_disk *disk_add(struct sim_qemu *qemu, const char *device, const char *type)
{
    struct sim_disk *disk = &qemu->disks[qemu->n_disks];

    sim_fail_check(qemu->n_disks < SIM_DISKS_MAX, "too many disks");
    *disk = (struct sim_disk){ .device = strdup(device), .type = strdup(type) };
    return disk;
}

/* new: the node names that the option gives, the first image's first; null: it names none. */
static json_t *drive_names(const struct qemuopts *opts)
{
    json_t *names = json_array();
    char key[256] = "node-name";

    for (int depth = 0; depth < 12; depth++) {
        const char *name = qemuopts_get(opts, key);
        char longer[300];

        json_array_append_new(names, name ? json_string(name) : json_null());
        snprintf(longer, sizeof(longer), "backing.%s", key);
        snprintf(key, sizeof(key), "%.250s", longer);
    }
    return names;
}

static const char *open_drive(struct sim_qemu *qemu, const char *text)
{
    struct err err = ERR_INIT;
    struct qemuopts *opts = qemuopts_parse(text, NULL, &err);
    const char *path, *format, *error = NULL;
    bool virtio = strcmp(qemuopts_get(opts, "if"), "virtio") == 0;
    struct sim_disk *disk = disk_add(qemu, qemuopts_get(opts, "id"),
                                     virtio ? "virtio-blk-device" : "ide-hd");
    json_t *names = drive_names(opts);

    path = qemuopts_get(opts, "file");
    format = qemuopts_get(opts, "format");
    if (asprintf(&disk->qdev, virtio ? "/machine/peripheral-anon/device[%zu]/virtio-backend"
                                     : "/machine/unattached/device[%zu]", qemu->n_disks) < 0)
        abort();
    disk->root = sim_node_open(qemu, json_string_value(json_array_get(names, 0)),
                               format ? format : qemuopts_get(opts, "driver"),
                               path ? path : qemuopts_get(opts, "file.filename"), true, &error);
    qemu->n_disks++;
    if (disk->root)
        error = sim_node_open_backing(disk->root, names, 1);
    json_decref(names);
    qemuopts_free(opts);
    return error;
}

static const char *open_blockdev(struct sim_qemu *qemu, const char *text)
{
    struct err err = ERR_INIT;
    struct qemuopts *opts = qemuopts_parse(text, "driver", &err);
    const char *below = qemuopts_get(opts, "backing"), *error = NULL;
    bool write = !qemuopts_get_bool(opts, "read-only", false);
    struct sim_node *node = sim_node_open(qemu, qemuopts_get(opts, "node-name"),
                                          qemuopts_get(opts, "driver"),
                                          qemuopts_get(opts, "file.filename"), write, &error);

    if (node && below && !qemuopts_is_null(opts, "backing")) {
        node->backing = sim_node_find(qemu, below);
        error = node->backing ? NULL : "Cannot find device= nor node-name";
    } else if (node && !below) {
        error = sim_node_open_backing(node, NULL, 0);
    }
    if (node)
        node->owned = true;
    qemuopts_free(opts);
    return error;
}

static const char *open_device(struct sim_qemu *qemu, const char *text)
{
    struct err err = ERR_INIT;
    struct qemuopts *opts = qemuopts_parse(text, "driver", &err);
    const char *node = qemuopts_get(opts, "drive"), *id = qemuopts_get(opts, "id");
    bool virtio = strcmp(qemuopts_get(opts, "driver"), "virtio-blk-pci") == 0;
    const char *error = NULL;
    struct sim_disk *disk;

    if (id)
        json_object_set_new(qemu->devices, id, json_string(qemuopts_get(opts, "driver")));
    if (node) {
        disk = disk_add(qemu, "", virtio ? "virtio-blk-device" : "ide-hd");
        if (asprintf(&disk->qdev, virtio ? "/machine/peripheral/%s/virtio-backend" : "%s", id) < 0)
            abort();
        disk->root = sim_node_find(qemu, node);
        error = disk->root ? NULL : "can't find value of property 'drive'";
        qemu->n_disks++;
    }
    qemuopts_free(opts);
    return error;
}

const char *sim_open(struct sim_qemu *qemu, char *const argv[])
{
    const char *error = NULL;

    qemu->status = "running";
    for (size_t i = 1; argv[i] && !error; i++) {
        if (strcmp(argv[i], "-S") == 0)
            qemu->status = "prelaunch";
        if (strcmp(argv[i], "-incoming") == 0)
            qemu->inactive = true;
    }
    qemu->cold = strcmp(qemu->status, "running") == 0;
    if (qemu->inactive)
        qemu->status = "inmigrate";
    for (size_t i = 1; argv[i] && argv[i + 1] && !error; i++) {
        if (strcmp(argv[i], "-drive") == 0)
            error = open_drive(qemu, argv[i + 1]);
        else if (strcmp(argv[i], "-blockdev") == 0)
            error = open_blockdev(qemu, argv[i + 1]);
        else if (strcmp(argv[i], "-device") == 0)
            error = open_device(qemu, argv[i + 1]);
    }
    return error;
}
