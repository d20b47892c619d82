/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Run state, migration, and which command is whose. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/state.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_qemu.h"

static bool status_is(const struct sim_qemu *qemu, const char *status)
{
    return strcmp(qemu->status, status) == 0;
}

static void machine_run(struct sim_qemu *qemu, const char **error)
{
    if (qemu->inactive && !sim_graph_lock(qemu)) {
        *error = "Failed to get \"write\" lock";
        return;
    }
    qemu->inactive = false;
    qemu->status = "running";
    sim_guest_go_on(qemu);
    sim_monitor_event(qemu, "RESUME", json_object());
}

static void machine_stop(struct sim_qemu *qemu)
{
    if (!status_is(qemu, "running"))
        return;
    qemu->status = "paused";
    sim_monitor_event(qemu, "STOP", json_object());
}

static void machine_cont(struct sim_qemu *qemu, const char **error)
{
    if (status_is(qemu, "inmigrate"))
        qemu->autostart = true;
    else if (status_is(qemu, "finish-migrate"))
        *error = "Migration is not finalized yet";
    else if (status_is(qemu, "restore-vm"))
        *error = "Resetting the Virtual Machine is required";
    else if (!status_is(qemu, "running"))
        machine_run(qemu, error);
}

/* ---- migration ---- */

static bool migration_runs(const struct sim_qemu *qemu)
{
    return qemu->migration && strcmp(qemu->migration, "active") == 0;
}

/* new: the descriptor's number, of that name; NULL: there is none. */
static json_t *migration_fd(struct sim_qemu *qemu, const json_t *args)
{
    const char *uri = state_str(args, "uri"), *name = uri && strncmp(uri, "fd:", 3) == 0 ? uri + 3 : "";
    json_t *fd = json_incref(json_object_get(qemu->fds, name));

    json_object_del(qemu->fds, name);
    return fd;
}

static void machine_migrate(struct sim_qemu *qemu, const json_t *args, const char **error)
{
    if (migration_runs(qemu))
        *error = "There's a migration process in progress";
    else if (status_is(qemu, "inmigrate"))
        *error = "Guest is waiting for an incoming migration";
    else if (status_is(qemu, "postmigrate"))
        *error = "Can't migrate the vm that was paused due to previous migration";
    else if (!qemu->memory)
        *error = "the guest has not run: this is not simulated";
    if (*error)
        return;
    qemu->outgoing = migration_fd(qemu, args);
    if (!qemu->outgoing) {
        *error = "File descriptor has not been found";
        return;
    }
    qemu->migration = "active";
    qemu->migration_ticks = 0;
}

static void migration_close(struct sim_qemu *qemu)
{
    if (qemu->outgoing)
        close((int)json_integer_value(qemu->outgoing));
    json_decref(qemu->outgoing);
    qemu->outgoing = NULL;
}

static void migration_finish(struct sim_qemu *qemu)
{
    bool background = json_is_true(json_object_get(qemu->capabilities, "background-snapshot"));
    char *text = json_dumps(qemu->memory, JSON_COMPACT | JSON_SORT_KEYS);
    int fd = (int)json_integer_value(qemu->outgoing);

    sim_fail_check(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "cannot save memory");
    free(text);
    migration_close(qemu);
    qemu->migration = "completed";
    if (background)
        return;
    qemu->status = "finish-migrate";
    qemu->inactive = true;
    for (struct sim_node *node = qemu->nodes; node; node = node->next)
        sim_lock_drop(node);
}

static void machine_load(struct sim_qemu *qemu, const json_t *args, const char **error)
{
    json_t *fd, *memory;
    char text[4096];
    ssize_t n;

    if (!status_is(qemu, "inmigrate") || qemu->migration) {
        *error = "The incoming migration has already been started";
        return;
    }
    fd = migration_fd(qemu, args);
    if (!fd) {
        *error = "File descriptor has not been found";
        return;
    }
    n = pread((int)json_integer_value(fd), text, sizeof(text), 0);
    close((int)json_integer_value(fd));
    json_decref(fd);
    memory = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
    /* A load that fails ends QEMU. */
    if (!memory) {
        sim_qemu_end(qemu, 1 << 8);
        return;
    }
    sim_guest_load(qemu, memory);
    json_decref(memory);
    qemu->migration = "active";
    qemu->migration_ticks = 0;
}

static void machine_loaded(struct sim_qemu *qemu)
{
    const char *error = NULL;

    qemu->migration = "completed";
    qemu->status = "paused";
    if (qemu->autostart)
        machine_run(qemu, &error);
    /* 7.2 opens the images right away, unless it is told to be late; 10 waits. */
    if (qemu->version == 7 && !json_is_true(json_object_get(qemu->capabilities, "late-block-activate")) &&
        sim_graph_lock(qemu))
        qemu->inactive = false;
}

void sim_machine_tick(struct sim_qemu *qemu)
{
    if (migration_runs(qemu) && ++qemu->migration_ticks > 1) {
        if (status_is(qemu, "inmigrate"))
            machine_loaded(qemu);
        else
            migration_finish(qemu);
    } else if (status_is(qemu, "finish-migrate") && ++qemu->migration_ticks > 3) {
        qemu->status = "postmigrate";
    }
}

static void machine_cancel(struct sim_qemu *qemu)
{
    if (!migration_runs(qemu) || status_is(qemu, "inmigrate"))
        return;
    migration_close(qemu);
    qemu->migration = "cancelled";
}

static void machine_settings(struct sim_qemu *qemu, const json_t *args, const char **error)
{
    json_t *item;
    size_t i;

    if (!json_object_get(args, "capabilities"))
        json_object_update(qemu->parameters, (json_t *)args);
    else if (migration_runs(qemu))
        *error = "There's a migration process in progress";
    else
        json_array_foreach(json_object_get(args, "capabilities"), i, item)
            json_object_set(qemu->capabilities, state_str(item, "capability"),
                            json_object_get(item, "state"));
}

static void machine_closefd(struct sim_qemu *qemu, const json_t *args, const char **error)
{
    json_t *fd = json_object_get(qemu->fds, state_str(args, "fdname"));

    if (!fd)
        *error = "File descriptor not found";
    else
        close((int)json_integer_value(fd));
    json_object_del(qemu->fds, state_str(args, "fdname"));
}

/* ---- devices ---- */

static void machine_device(struct sim_qemu *qemu, const char *execute, const json_t *args,
                           const char **error)
{
    const char *id = state_str(args, "id");
    bool there = id && json_object_get(qemu->devices, id);

    if (strcmp(execute, "device_add") == 0 && there)
        *error = "Duplicate device ID";
    else if (strcmp(execute, "device_add") == 0 && id)
        json_object_set(qemu->devices, id, json_object_get(args, "driver"));
    else if (!there)
        *error = "Device not found";
    else
        json_object_del(qemu->devices, id);
}

/* ---- which command is whose ---- */

static const struct {
    const char *execute;
    const char *(*fn)(struct sim_qemu *qemu, const json_t *args);
} block_rows[] = {
    { "blockdev-add", sim_blockdev_add },
    { "blockdev-del", sim_blockdev_del },
    { "transaction", sim_transaction },
    { "blockdev-snapshot", sim_snapshot },
    { "blockdev-snapshot-sync", sim_snapshot_sync },
    { "qom-set", sim_qom_set },
};

static bool machine_block(struct sim_qemu *qemu, const char *execute, const json_t *args,
                          const char **error)
{
    for (size_t i = 0; i < sizeof(block_rows) / sizeof(block_rows[0]); i++)
        if (strcmp(execute, block_rows[i].execute) == 0) {
            *error = block_rows[i].fn(qemu, args);
            return true;
        }
    if (strcmp(execute, "snapshot-save") == 0 || strcmp(execute, "snapshot-load") == 0)
        *error = sim_state_job(qemu, execute, args);
    else if (strncmp(execute, "job-", 4) == 0 || strncmp(execute, "block-", 6) == 0)
        *error = sim_job_command(qemu, execute, args);
    else
        return false;
    return true;
}

static void machine_activate(struct sim_qemu *qemu, const char **error)
{
    if (!sim_graph_lock(qemu))
        *error = "Failed to get \"write\" lock";
    else
        qemu->inactive = false;
}

/* new: what the human monitor says. */
static json_t *machine_human(struct sim_qemu *qemu, const json_t *args)
{
    const char *line = state_str(args, "command-line"), *end;
    json_t *node;
    bool found;

    sim_fail_check(strncmp(line, "qemu-io ", 8) == 0, line);
    end = strchr(line + 8, ' ');
    node = json_stringn(line + 8, end ? (size_t)(end - line - 8) : strlen(line + 8));
    found = sim_node_find(qemu, json_string_value(node)) != NULL;
    json_decref(node);
    return json_string(found ? "" : "Error: Cannot find device= nor node_name\r\n");
}

json_t *sim_machine_do(struct sim_qemu *qemu, const char *execute, const json_t *args, const char **error)
{
    if (machine_block(qemu, execute, args, error))
        return json_object();
    if (strcmp(execute, "human-monitor-command") == 0)
        return machine_human(qemu, args);
    if (strcmp(execute, "stop") == 0)
        machine_stop(qemu);
    else if (strcmp(execute, "cont") == 0)
        machine_cont(qemu, error);
    else if (strcmp(execute, "migrate") == 0)
        machine_migrate(qemu, args, error);
    else if (strcmp(execute, "migrate-incoming") == 0)
        machine_load(qemu, args, error);
    else if (strcmp(execute, "migrate_cancel") == 0)
        machine_cancel(qemu);
    else if (strncmp(execute, "migrate-set-", 12) == 0)
        machine_settings(qemu, args, error);
    else if (strcmp(execute, "closefd") == 0)
        machine_closefd(qemu, args, error);
    else if (strncmp(execute, "device_", 7) == 0)
        machine_device(qemu, execute, args, error);
    else if (strcmp(execute, "blockdev-set-active") == 0)
        machine_activate(qemu, error);
    else if (strcmp(execute, "getfd") != 0) /* done by who has received the descriptor */
        *error = "The command has not been found";
    return json_object();
}

void sim_machine_start(struct sim_qemu *qemu)
{
    qemu->fds = json_object();
    qemu->capabilities = json_pack("{s:b, s:b, s:b, s:b}", "events", 0, "multifd", 0,
                                   "background-snapshot", 0, "late-block-activate", 0);
    qemu->parameters = json_pack("{s:i, s:i}", "max-bandwidth", 134217728, "downtime-limit", 300);
    if (status_is(qemu, "running"))
        sim_guest_go_on(qemu);
}

void sim_machine_clear(struct sim_qemu *qemu)
{
    const char *name;
    json_t *fd;

    migration_close(qemu);
    json_object_foreach(qemu->fds, name, fd)
        close((int)json_integer_value(fd));
    json_object_clear(qemu->fds);
}
