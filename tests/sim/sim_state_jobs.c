/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot-save, snapshot-load, snapshot-delete: states of the machine in an image that no device has. */
#include <string.h>

#include "policy/state.h"
#include "tests/sim/sim_qemu.h"

/* The image below the node that a state is written to. */
static struct sim_image *state_image(const struct sim_node *node)
{
    while (node && !node->path)
        node = node->file;
    return node ? sim_image_find(node->path) : NULL;
}

/* borrowed: the state of that name in the node, or in what lies below it. */
static const json_t *state_find(const struct sim_node *node, const char *tag)
{
    const json_t *saved = NULL;

    for (; node && !saved; node = node->file && !node->path ? node->file : node->backing)
        if (node->path && sim_image_find(node->path))
            saved = sim_image_saved(sim_image_find(node->path), tag);
    return saved;
}

static const char *state_save(struct sim_qemu *qemu, struct sim_node *node, const char *tag)
{
    if (!node)
        return "No block device node with that name";
    if (!qemu->memory)
        return "the guest has not run: this is not simulated";
    if (state_find(node, tag))
        return "Snapshot already exists in one or more devices";
    sim_image_save(state_image(node), tag, qemu->memory);
    return NULL;
}

/* Nothing leads back from a load that fails: the guest is neither what it was nor what was saved. */
static const char *state_load(struct sim_qemu *qemu, struct sim_node *node, const char *tag)
{
    const json_t *saved = state_find(node, tag);

    if (!node || !saved) {
        qemu->status = "restore-vm";
        return "Snapshot does not exist in one or more devices";
    }
    sim_guest_load(qemu, saved);
    return NULL;
}

const char *sim_state_job(struct sim_qemu *qemu, const char *execute, const json_t *args)
{
    const char *type = strcmp(execute, "snapshot-save") == 0 ? "snapshot-save" : "snapshot-load";
    const char *error = NULL;
    struct sim_job *job;

    if (qemu->inactive || strcmp(qemu->status, "inmigrate") == 0)
        return "State blocked by an incoming migration";
    job = sim_job_add(qemu, state_str(args, "job-id"), type, &error);
    if (!job)
        return error;
    job->dismiss = false;
    job->error = strcmp(type, "snapshot-save") == 0
                     ? state_save(qemu, sim_node_find(qemu, state_str(args, "vmstate")),
                                  state_str(args, "tag"))
                     : state_load(qemu, sim_node_find(qemu, state_str(args, "vmstate")),
                                  state_str(args, "tag"));
    return NULL;
}

void sim_state_job_tick(struct sim_qemu *qemu, struct sim_job *job)
{
    if (++job->ticks > 1)
        sim_job_enter(qemu, job, SIM_JOB_CONCLUDED);
}
