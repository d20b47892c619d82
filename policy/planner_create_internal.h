/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * planner_create_internal: what planner_create.c (disks, record) and planner_create_memory.c share.
 *
 * Memory comes as a migration stream, which only a new process loads, or as a vmstate (vmstate.h), which one
 * that runs loads too.
 */
#ifndef POLICY_PLANNER_CREATE_INTERNAL_H
#define POLICY_PLANNER_CREATE_INTERNAL_H

#include "policy/disks.h"
#include "policy/world.h"

enum create_memory { CREATE_NONE, CREATE_STREAM, CREATE_VMSTATE };

struct create {
    const struct world *world;
    const char *name;
    enum create_memory memory;
    bool running;
    bool stay_stopped;
    struct vm_disks disks;
    json_t *after;
    json_t *overlays;       /* key -> layer id */
    json_t *plan;
    char *memory_file;      /* absolute */
    char *vmstate_node;     /* where a vmstate is open while it is saved */
};

/* Whether the memory is saved, and how; refused when that cannot be. */
bool create_check_memory(struct create *create, const json_t *request, struct err *err);

/* The steps: before the guest is stopped, while it stands, behind that, and at the end. */
void create_prepare_memory(struct create *create);
void create_memory(struct create *create);
/* before: while the guest stands still all the same. */
void create_seal(struct create *create, bool before);
void create_settle_memory(struct create *create);

/* What the record of the snapshot says of it. */
void create_record_memory(const struct create *create, json_t *snapshot);

#endif
