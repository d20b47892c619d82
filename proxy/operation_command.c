/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What clients ask of operations and of their jobs, and which events they do not see. */
#include <stdlib.h>
#include <string.h>

#include "policy/commands.h"
#include "policy/info.h"
#include "policy/reason.h"
#include "policy/request.h"
#include "policy/state.h"
#include "proxy/answer.h"
#include "proxy/deeds.h"
#include "proxy/observer.h"
#include "proxy/operation_internal.h"
#include "qmp/alloc.h"
#include "qmp/splice.h"

static json_t *operation_arguments(const struct message *message)
{
    return splice_arguments(message, JSON_REJECT_DUPLICATES);
}

static const char *const operation_job_verbs[] = {
    "job-cancel", "job-dismiss", "job-finalize", "job-complete", "job-pause", "job-resume", NULL,
};

static bool operation_is_job_verb(const char *command)
{
    for (size_t i = 0; operation_job_verbs[i]; i++)
        if (strcmp(command, operation_job_verbs[i]) == 0)
            return true;
    return false;
}

bool operation_takes(struct daemon *daemon, const struct message *message)
{
    json_t *arguments;
    bool takes;

    if (operation_is_job_verb(message->command)) {
        arguments = operation_arguments(message);
        takes = state_str(arguments, "id") && jobs_find(daemon->jobs, state_str(arguments, "id"));
    } else if (strcmp(message->command, "snapshot-delete") == 0) {
        arguments = operation_arguments(message);
        takes = request_delete_whose(arguments) != REQUEST_DELETE_QEMU;
    } else {
        return command_is_synthetic(message->command);
    }
    json_decref(arguments);
    return takes;
}

static void operation_job_command(struct daemon *daemon, struct slot *slot, const char *command,
                                  const json_t *arguments)
{
    struct job *job = jobs_find(daemon->jobs, state_str(arguments, "id"));
    struct operation *op = daemon->operation;
    struct err err = ERR_INIT;

    if (strcmp(command, "job-dismiss") == 0) {
        job_dismiss(job, &err);
    } else if (strcmp(command, "job-cancel") == 0 && !job_is_concluded(job) && op) {
        if (!op->runner || !runner_cancel(op->runner))
            err_set(&err, REASON_BUSY, "It is too late to cancel: the operation is past the point "
                    "of no return, and will be finished");
    } else {
        job_refuse(job, command + strlen("job-"), &err);
    }
    if (err.set)
        answer_error(slot, &err);
    else
        answer_return(slot, json_object());
}

/* ---- query-snapshots ---- */

struct operation_query {
    struct daemon *daemon;
    struct slot *slot;
    char *name;                 /* or NULL: all */
};

static void operation_list(struct daemon *daemon, struct slot *slot, const char *name,
                           const json_t *files)
{
    const json_t *state = daemon->store->state;
    json_t *list = json_array();
    json_t *snapshot;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        const char *own = state_str(snapshot, "name");
        const char *operation = NULL;
        json_t *problems;

        if (name && strcmp(name, own) != 0)
            continue;
        if (daemon->operation && strcmp(state_str(daemon->operation->request, "name"), own) == 0)
            operation = operation_kind(daemon);
        problems = files ? info_problems(state, snapshot, files) : json_array();
        if (daemon->stuck)
            json_array_append_new(problems, json_string(daemon->stuck));
        json_array_append_new(list, info_snapshot(state, snapshot, operation, problems));
    }
    answer_return(slot, list);
}

static void operation_queried_cb(void *arg, bool ok, json_t *result, struct err *err)
{
    struct operation_query *query = arg;

    if (ok)
        operation_list(query->daemon, query->slot, query->name, json_object_get(result, "files"));
    else
        answer_error(query->slot, err);
    free(query->name);
    free(query);
}

/* Looks at the files of the snapshots; verify also at what they contain. */
static void operation_query(struct daemon *daemon, struct slot *slot, const json_t *arguments)
{
    const char *name = state_str(arguments, "name");
    struct operation_query *query;
    struct err err = ERR_INIT;
    struct world world;
    json_t *paths, *snapshot;
    size_t i;

    if (name && !state_snapshot_need(daemon->store->state, name, &err)) {
        answer_error(slot, &err);
        return;
    }
    query = alloc_zeroed(1, sizeof(*query));
    *query = (struct operation_query){ daemon, slot, name ? alloc_copy(name) : NULL };
    slot->local = true;
    collect_static(daemon, &world);
    paths = collect_paths(&world, daemon->store->state);
    json_array_foreach(json_object_get(daemon->store->state, "snapshots"), i, snapshot) {
        const char *memory = state_str(json_object_get(snapshot, "memory"), "file");

        if (memory)
            json_array_append_new(json_object_get(paths, "files"), json_string(memory));
    }
    worker_run(daemon->looker, deed_inspect, paths, operation_queried_cb, query);
    json_decref(paths);
}

static void operation_looked_cb(void *arg)
{
    struct operation_query *query = arg;
    json_t *arguments = json_pack("{s:s*}", "name", query->name);

    operation_query(query->daemon, query->slot, arguments);
    json_decref(arguments);
    free(query->name);
    free(query);
}

/* verify: what clients have done meanwhile is looked at first, unless an operation is at work. */
static void operation_query_verify(struct daemon *daemon, struct slot *slot,
                                   const json_t *arguments)
{
    const char *name = state_str(arguments, "name");
    struct operation_query *query;

    if (daemon->operation || !json_is_true(json_object_get(arguments, "verify"))) {
        operation_query(daemon, slot, arguments);
        return;
    }
    query = alloc_zeroed(1, sizeof(*query));
    *query = (struct operation_query){ daemon, slot, name ? alloc_copy(name) : NULL };
    slot->local = true;
    observer_look(daemon->observer, operation_looked_cb, query);
}

/* ---- commands ---- */

/* What is stuck is tried again by an operation, which a dry run is not. */
static bool operation_allowed(struct daemon *daemon, const char *command, const json_t *arguments,
                              struct err *err)
{
    if (daemon->operation) {
        operation_refuse(daemon->operation, command, err);
        return false;
    }
    if (daemon->stuck && json_is_true(json_object_get(arguments, "dry-run"))) {
        operation_refuse_stuck(daemon, err);
        return false;
    }
    return json_is_true(json_object_get(arguments, "dry-run")) ||
           (store_settle(daemon->store, err) && vm_settle(daemon->vm, err));
}

static void operation_synthetic(struct daemon *daemon, struct slot *slot, const char *command,
                                json_t *arguments)
{
    const char *job = state_str(arguments, "job-id");
    struct err err = ERR_INIT;

    if (strcmp(command, "snapshot-delete") == 0 &&
        request_delete_whose(arguments) == REQUEST_DELETE_BOTH)
        err_set(&err, NULL, "Give either 'name' (a snapshot of qmp-proxy) or 'tag' and 'devices' "
                "(QEMU's internal snapshots), not both");
    else if (request_check(command, arguments, &err) && strcmp(command, "query-snapshots") != 0 &&
             operation_allowed(daemon, command, arguments, &err) && job && jobs_find(daemon->jobs, job))
        err_set(&err, NULL, "Job ID '%s' already in use", job);
    if (err.set)
        answer_error(slot, &err);
    else if (strcmp(command, "query-snapshots") == 0)
        operation_query_verify(daemon, slot, arguments);
    else
        operation_start(daemon, command, arguments, slot);
}

void operation_command(struct daemon *daemon, struct slot *slot, const struct message *message)
{
    json_t *arguments = operation_arguments(message);
    struct err err = ERR_INIT;

    if (message->arguments.at && !arguments) {
        err_set(&err, NULL, "The arguments of '%s' hold something that none of them can be",
                message->command);
        answer_error(slot, &err);
    } else if (operation_is_job_verb(message->command)) {
        operation_job_command(daemon, slot, message->command, arguments);
    } else {
        operation_synthetic(daemon, slot, message->command, arguments);
    }
    json_decref(arguments);
}

void operation_event(struct daemon *daemon, const struct message_reply *reply)
{
    struct operation *op = daemon->operation;
    bool cancelled = strcmp(reply->event, "BLOCK_JOB_CANCELLED") == 0;
    json_t *data;

    if (!op || !op->runner || (!cancelled && strcmp(reply->event, "BLOCK_JOB_COMPLETED") != 0))
        return;
    data = json_loadb(reply->value.at, reply->value.len, 0, NULL);
    runner_job_ended(op->runner, data, cancelled);
    json_decref(data);
}

bool operation_hides_event(struct daemon *daemon, const struct message_reply *reply)
{
    bool job = strcmp(reply->event, "JOB_STATUS_CHANGE") == 0;
    bool hidden = false;
    json_t *data;

    if (daemon->operation && strncmp(reply->event, "MIGRATION", 9) == 0)
        return true;
    if (!job && strncmp(reply->event, "BLOCK_JOB_", 10) != 0)
        return false;
    data = json_loadb(reply->value.at, reply->value.len, 0, NULL);
    hidden = jobs_is_internal(state_str(data, job ? "id" : "device")) ||
             jobs_is_internal(state_str(data, "id"));
    json_decref(data);
    return hidden;
}
