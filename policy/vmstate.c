/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/vmstate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/plan.h"
#include "policy/state.h"

/* What a load writes are a few tables. */
#define VMSTATE_SCRATCH_ROOM (1 << 20)

/* QEMU is silent while it saves and loads: the slowest disk that is still waited for, bytes a
 * millisecond. */
#define VMSTATE_SLOWEST 4096

bool vmstate_is(const json_t *memory)
{
    const char *format = state_str(memory, "format");

    return format && strcmp(format, VMSTATE_FORMAT) == 0;
}

json_t *vmstate_create(const char *file, json_int_t size)
{
    json_t *step = step_deed("vmstate-create", file,
                             json_pack("{s:s, s:I}", "file", file, "size", size));

    step_undo(step, step_deed("file-remove", file, json_pack("{s:s, s:b}", "file", file, "own", 1)));
    return step;
}

json_t *vmstate_create_scratch(const char *file, const json_t *memory)
{
    json_int_t size = json_integer_value(json_object_get(memory, "size")) + VMSTATE_SCRATCH_ROOM;

    return vmstate_create(file, (size + 65535) / 65536 * 65536);
}

static json_t *vmstate_open_step(const char *on, const char *node, const char *file, json_t *below)
{
    json_t *step = step_command("vmstate-open", on, file, "blockdev-add",
                                json_pack("{s:s, s:s, s:{s:b}, s:o}", "node-name", node, "driver",
                                          "qcow2", "cache", "no-flush", 1, "file", below),
                                json_pack("{s:s, s:s, s:b, s:s, s:b}", "is", "node", "name", node,
                                          "present", 1, "driver", "qcow2", "read-only", 0));

    /* A second process is thrown away as a whole.  Of a save that could not be written QEMU itself keeps
     * the node in use (migration/savevm.c; tried on 7.2 and 10.0), for as long as it lives. */
    if (strcmp(on, "qemu") == 0)
        step_undo(step, step_tolerated(step_command("vmstate-close", on, file, "blockdev-del",
                                                    json_pack("{s:s}", "node-name", node),
                                                    expect_node(node, false))));
    return step;
}

char *vmstate_free_node(const struct graph *graph, const char *name)
{
    char *free_name = NULL;

    for (unsigned n = 1; n == 1 || graph_node_find(graph, free_name); n++) {
        free(free_name);
        if ((n == 1 ? asprintf(&free_name, "%s", name) : asprintf(&free_name, "%s-%u", name, n)) < 0)
            abort();
    }
    return free_name;
}

json_t *vmstate_open(const char *on, const char *node, const char *file)
{
    return vmstate_open_step(on, node, file,
                             json_pack("{s:s, s:s}", "driver", "file", "filename", file));
}

json_t *vmstate_open_scratch(const char *on, const char *node, const char *file, const char *saved)
{
    return vmstate_open_step(
        on, node, file,
        json_pack("{s:s, s:{s:s, s:s}, s:{s:s, s:b, s:{s:s, s:s}}}", "driver", "qcow2", "file",
                  "driver", "file", "filename", file, "backing", "driver", "raw", "read-only", 1,
                  "file", "driver", "file", "filename", saved));
}

/* QEMU does nothing else while such a job runs. */
static void vmstate_patience(json_t *step, json_int_t bytes)
{
    step_timeout(step, 0);
    step_patience(step, PLAN_TIMEOUT_MS + bytes / VMSTATE_SLOWEST);
}

static json_t *vmstate_job(const char *step, const char *on, const char *execute, const char *job,
                           const char *node, json_int_t bytes)
{
    json_t *made = step_command(step, on, node, execute,
                                json_pack("{s:s, s:s, s:s, s:[s]}", "job-id", job, "tag", VMSTATE_TAG,
                                          "vmstate", node, "devices", node),
                                expect_job(job, "concluded"));

    vmstate_patience(made, bytes);
    if (bytes > 0)
        json_object_set_new(made, "bytes", json_integer(bytes));
    return made;
}

json_t *vmstate_save(const char *step, const char *job, const char *node, json_int_t bytes)
{
    return vmstate_job(step, "qemu", "snapshot-save", job, node, bytes);
}

json_t *vmstate_load(const char *step, const char *on, const char *job, const char *node,
                     json_int_t bytes)
{
    return vmstate_job(step, on, "snapshot-load", job, node, bytes);
}

json_t *vmstate_dismiss(const char *on, const char *job)
{
    return step_command("job-dismiss", on, job, "job-dismiss", json_pack("{s:s}", "id", job),
                        expect_job(job, "null"));
}

json_t *vmstate_end(const char *on, const char *job, json_int_t bytes)
{
    json_t *step = step_wait("job-end", on, job,
                             json_pack("{s:s, s:s, s:[s,s], s:b}", "is", "job", "id", job, "in",
                                       "concluded", "null", "error-ok", 1));

    vmstate_patience(step, bytes);
    return step;
}
