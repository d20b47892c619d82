/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim_check.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/state.h"
#include "tests/sim/sim_check_internal.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_proxy.h"

static struct {
    json_t *kept;               /* path -> true */
    bool leftovers;
} check;

void sim_check_begin(void)
{
    check.kept = json_object();
    check.leftovers = false;
    sim_model_begin();
}

void sim_check_end(void)
{
    json_decref(check.kept);
    check.kept = NULL;
    sim_model_end();
}

void sim_check_keep(const char *path)
{
    json_object_set_new(check.kept, path, json_true());
}

void sim_check_allow_leftovers(void)
{
    check.leftovers = true;
}

const json_t *sim_record(void)
{
    return sim_proxy()->store->state;
}

const char *sim_layer_path(const char *id)
{
    return state_str(state_layer(sim_record(), id), "real");
}

/* ---- chains ---- */

/* The key is that of the device with that name, or of the one that is on record as its qdev. */
struct sim_disk *sim_disk_of(const char *key)
{
    const char *qdev = state_str(state_disk(sim_record(), key), "qdev");
    struct sim_qemu *qemu = sim_main();

    for (size_t i = 0; qemu && i < qemu->n_disks; i++)
        if ((strncmp(key, "drive:", 6) == 0 && strcmp(key + 6, qemu->disks[i].device) == 0) ||
            (qdev && strcmp(qdev, qemu->disks[i].qdev) == 0))
            return &qemu->disks[i];
    return NULL;
}

static void check_chain(const char *key, const json_t *disk)
{
    json_t *chain = state_chain(sim_record(), state_str(disk, "active"), true), *id;
    const struct sim_disk *device = sim_disk_of(key);
    struct sim_node *node = device ? sim_node_image(device->root) : NULL;
    size_t i;

    if (!device)
        sim_fail("the disk %s is on record, and not in the VM", key);
    json_array_foreach(chain, i, id) {
        const char *path = sim_layer_path(json_string_value(id));

        if (!node || strcmp(node->path, path) != 0)
            sim_fail("image %zu of %s is %s on record, and %s in QEMU", i, key, path,
                     node ? node->path : "nothing");
        node = sim_node_image(node->backing);
    }
    if (node)
        sim_fail("%s stands on %s in QEMU, and on record on nothing", key, node->path);
    json_decref(chain);
}

static void check_layer(const char *id, const json_t *layer)
{
    const char *path = state_str(layer, "real"), *parent = state_str(layer, "parent");
    const struct sim_image *image = sim_image_find(path);
    const char *below = parent ? sim_layer_path(parent) : NULL, *header;

    if (!image)
        sim_fail("layer %s: %s is missing", id, path);
    header = sim_image_backing(image);
    if ((below == NULL) != (header == NULL) || (below && strcmp(below, header) != 0))
        sim_fail("layer %s: the header of %s names %s, the record %s", id, path, header, below);
}

static void check_record(void)
{
    struct err err = ERR_INIT;
    const char *key;
    json_t *object;

    if (!state_check(sim_record(), &err))
        sim_fail("the record: %s", err.desc);
    json_object_foreach(json_object_get(sim_record(), "layers"), key, object)
        check_layer(key, object);
    json_object_foreach(json_object_get(sim_record(), "disks"), key, object)
        check_chain(key, object);
}

/* ---- QEMU ---- */

static bool node_in_chain(const struct sim_qemu *qemu, const struct sim_node *node)
{
    for (size_t i = 0; i < qemu->n_disks; i++)
        for (const struct sim_node *at = qemu->disks[i].root; at; at = at->backing)
            if (at == node)
                return true;
    return false;
}

static void check_qemu(void)
{
    const struct sim_qemu *qemu = sim_main();

    if (!qemu)
        sim_fail("there is no QEMU");
    for (const struct sim_qemu *other = sim_qemu_first(); other; other = other->next) {
        if (other->aborted)
            sim_fail("QEMU was made to abort");
        if (other->alive && other != qemu)
            sim_fail("a second QEMU is left");
    }
    for (const struct sim_job *job = qemu->jobs; job; job = job->next)
        if (strncmp(job->id, "qsnap-", 6) == 0 &&
            (!check.leftovers || job->state != SIM_JOB_CONCLUDED))
            sim_fail("the job %s is left", job->id);
    for (const struct sim_node *node = qemu->nodes; node && !check.leftovers; node = node->next)
        if (node->owned && strncmp(node->name, "qsnap-", 6) == 0 && !node_in_chain(qemu, node))
            sim_fail("the node %s is left", node->name);
    if (json_object_size(qemu->fds) > 0 && !check.leftovers)
        sim_fail("a descriptor is left in QEMU");
    sim_model_check_settings(qemu);
}

/* ---- files ---- */

static bool file_is_named(const char *path)
{
    const char *id;
    json_t *object;
    size_t i;

    if (json_object_get(check.kept, path))
        return true;
    json_object_foreach(json_object_get(sim_record(), "layers"), id, object)
        if (strcmp(state_str(object, "real"), path) == 0)
            return true;
    json_array_foreach(json_object_get(sim_record(), "snapshots"), i, object) {
        const char *file = state_str(json_object_get(object, "memory"), "file");

        if (file && strcmp(file, path) == 0)
            return true;
    }
    return false;
}

static void check_folder(const char *folder, bool all)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    sim_fail_check(dir != NULL, folder);
    while ((entry = readdir(dir))) {
        char path[4096];

        if (entry->d_type == DT_DIR || entry->d_type == DT_SOCK)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (all && !file_is_named(path) && !check.leftovers)
            sim_fail("%s is left", path);
        if (!all && strcmp(entry->d_name, "journal.json") == 0)
            sim_fail("the journal is left");
    }
    closedir(dir);
}

void sim_check_world(void)
{
    check_qemu();
    check_record();
    check_folder(sim_host_path(), true);
    check_folder(sim_proxy()->store->memory_path, true);
    check_folder(sim_proxy()->store->path, false);
    sim_model_check();
}
