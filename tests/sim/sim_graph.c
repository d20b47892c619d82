/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/state.h"
#include "tests/sim/sim_qemu.h"

struct sim_node *sim_node_find(const struct sim_qemu *qemu, const char *name)
{
    struct sim_node *node = name ? qemu->nodes : NULL;

    while (node && strcmp(node->name, name) != 0)
        node = node->next;
    return node;
}

char *sim_node_name(struct sim_qemu *qemu)
{
    char *name;

    if (asprintf(&name, "#block%u%02d", ++qemu->last_node, qemu->pid % 100) < 0)
        abort();
    return name;
}

struct sim_node *sim_node_add(struct sim_qemu *qemu, const char *name, const char *driver)
{
    struct sim_node *node = calloc(1, sizeof(*node)), **at = &qemu->nodes;

    while (*at)
        at = &(*at)->next;
    *at = node;
    node->qemu = qemu;
    node->name = name ? strdup(name) : sim_node_name(qemu);
    node->driver = strdup(driver);
    return node;
}

static void node_free(struct sim_node *node)
{
    sim_lock_drop(node);
    free(node->name);
    free(node->driver);
    free(node->path);
    free(node);
}

/* The very node that was made last goes again. */
static void node_drop(struct sim_qemu *qemu, struct sim_node *node)
{
    struct sim_node **at = &qemu->nodes;

    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    node_free(node);
}

struct sim_node *sim_node_open(struct sim_qemu *qemu, const char *name, const char *driver,
                               const char *path, bool write, const char **error)
{
    struct sim_image *image = sim_image_find(path);
    struct sim_node *file, *node;

    *error = !image ? "Could not open the image: No such file or directory"
             : name && sim_node_find(qemu, name) ? "Duplicate nodes with node-name"
             : strcmp(driver, "qcow2") == 0 && strcmp(sim_image_format(image), "qcow2") != 0
                 ? "Image is not in qcow2 format" : NULL;
    if (*error)
        return NULL;
    file = sim_node_add(qemu, NULL, "file");
    file->path = strdup(path);
    file->write = write;
    if (!qemu->inactive && !sim_lock_take(file, path, write)) {
        node_drop(qemu, file);
        *error = "Failed to get \"write\" lock";
        return NULL;
    }
    node = sim_node_add(qemu, name, driver);
    node->path = strdup(path);
    node->file = file;
    node->write = write;
    return node;
}

const char *sim_node_open_backing(struct sim_node *node, const json_t *names, unsigned depth)
{
    const struct sim_image *image = sim_image_find(node->path);
    const char *backing = image ? sim_image_backing(image) : NULL, *error = NULL;

    if (strcmp(node->driver, "raw") == 0 || !backing)
        return NULL;
    node->backing = sim_node_open(node->qemu, json_string_value(json_array_get(names, depth)),
                                  sim_image_backing_format(image), backing, false, &error);
    return node->backing ? sim_node_open_backing(node->backing, names, depth + 1) : error;
}

bool sim_graph_lock(struct sim_qemu *qemu)
{
    for (struct sim_node *node = qemu->nodes; node; node = node->next)
        if (strcmp(node->driver, "file") == 0 && !sim_lock_take(node, node->path, node->write))
            return false;
    return true;
}

/* ---- who stands on what ---- */

size_t sim_node_users(const struct sim_node *node)
{
    const struct sim_qemu *qemu = node->qemu;
    size_t users = 0;

    for (const struct sim_node *other = qemu->nodes; other; other = other->next)
        users += (other->file == node) + (other->backing == node);
    for (size_t i = 0; i < qemu->n_disks; i++)
        users += qemu->disks[i].root == node;
    return users;
}

void sim_node_replace(struct sim_node *from, struct sim_node *to)
{
    struct sim_qemu *qemu = from->qemu;

    for (struct sim_node *node = qemu->nodes; node; node = node->next) {
        if (node == to)
            continue;
        if (node->file == from)
            node->file = to;
        if (node->backing == from)
            node->backing = to;
    }
    for (size_t i = 0; i < qemu->n_disks; i++)
        if (qemu->disks[i].root == from)
            qemu->disks[i].root = to;
}

struct sim_node *sim_node_image(struct sim_node *node)
{
    while (node && !node->path)
        node = node->file ? node->file : node->backing;
    return node;
}

struct sim_disk *sim_disk_find(struct sim_qemu *qemu, const char *path)
{
    static const char prefix[] = "/machine/peripheral/";

    for (size_t i = 0; path && i < qemu->n_disks; i++) {
        const char *qdev = qemu->disks[i].qdev;

        if (strcmp(qdev, path) == 0 ||
            (strncmp(path, prefix, sizeof(prefix) - 1) == 0 &&
             strcmp(path + sizeof(prefix) - 1, qdev) == 0))
            return &qemu->disks[i];
    }
    return NULL;
}

bool sim_node_busy(const struct sim_qemu *qemu, const struct sim_node *node)
{
    for (const struct sim_job *job = qemu->jobs; job; job = job->next) {
        if (job->state == SIM_JOB_CONCLUDED || !job->top)
            continue;
        for (const struct sim_node *at = job->top; at; at = at->backing) {
            if (at == node)
                return true;
            if (at == job->base)
                break;
        }
    }
    return false;
}

/* ---- what goes ---- */

static void node_mark(struct sim_node *node)
{
    for (; node && !node->marked; node = node->backing) {
        node->marked = true;
        node_mark(node->file);
    }
}

void sim_graph_sweep(struct sim_qemu *qemu)
{
    struct sim_node **at = &qemu->nodes, *node;

    for (node = qemu->nodes; node; node = node->next)
        node->marked = false;
    for (node = qemu->nodes; node; node = node->next)
        if (node->owned)
            node_mark(node);
    for (size_t i = 0; i < qemu->n_disks; i++)
        node_mark(qemu->disks[i].root);
    for (struct sim_job *job = qemu->jobs; job; job = job->next) {
        node_mark(job->top);
        node_mark(job->base);
        node_mark(job->filter);
    }
    while ((node = *at)) {
        if (node->marked) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        node_free(node);
    }
}

void sim_graph_clear(struct sim_qemu *qemu)
{
    while (qemu->nodes)
        node_drop(qemu, qemu->nodes);
    for (size_t i = 0; i < qemu->n_disks; i++) {
        free(qemu->disks[i].device);
        free(qemu->disks[i].qdev);
        free(qemu->disks[i].type);
    }
    qemu->n_disks = 0;
}
