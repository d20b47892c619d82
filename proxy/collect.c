/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/collect.h"

#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "policy/disks.h"
#include "policy/expect.h"
#include "policy/planner.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/collect_fit.h"
#include "policy/vmstate.h"
#include "proxy/collect_drives.h"
#include "proxy/collect_places.h"
#include "proxy/deeds.h"
#include "proxy/jobs.h"

/* As long as a step of a plan may stay unanswered. */
#define COLLECT_TIMEOUT_S 30

enum collect_query {
    COLLECT_STATUS,
    COLLECT_BLOCKS,
    COLLECT_NODES,
    COLLECT_GRAPH,
    COLLECT_JOBS,
    COLLECT_CAPABILITIES,
    COLLECT_PARAMETERS,
    COLLECT_MIGRATION,
    COLLECT_DEVICES,
    COLLECT_ANONYMOUS,
    COLLECT_FIT,                /* the first of fit_queries */
    COLLECT__COUNT = COLLECT_FIT + FIT_QUERIES
};

static const char *const collect_query_names[COLLECT_FIT] = {
    [COLLECT_STATUS] = "query-status",
    [COLLECT_BLOCKS] = "query-block",
    [COLLECT_NODES] = "query-named-block-nodes",
    [COLLECT_GRAPH] = "x-debug-query-block-graph",
    [COLLECT_JOBS] = "query-jobs",
    [COLLECT_CAPABILITIES] = "query-migrate-capabilities",
    [COLLECT_PARAMETERS] = "query-migrate-parameters",
    [COLLECT_MIGRATION] = "query-migrate",
    [COLLECT_DEVICES] = "qom-list",
    [COLLECT_ANONYMOUS] = "qom-list",
};

static const char *collect_query_name(enum collect_query query)
{
    return query >= COLLECT_FIT ? fit_queries[query - COLLECT_FIT].execute
                                : collect_query_names[query];
}

struct collect_slot {
    struct collect *collect;
    enum collect_query query;
};

struct collect {
    struct daemon *daemon;
    json_t *state;
    collect_cb *cb;
    void *arg;
    struct world world;
    json_t *program_of;         /* the snapshot whose program is looked at, or NULL */
    json_t *answers[COLLECT__COUNT];
    struct collect_slot slots[COLLECT__COUNT];
    unsigned outstanding;
    bool asked_more;            /* what only the first answers say how to ask for */
    bool cancelled;
    struct event *watchdog;
    struct err err;
};

static void collect_free(struct collect *collect)
{
    for (int i = 0; i < COLLECT__COUNT; i++)
        json_decref(collect->answers[i]);
    if (collect->watchdog)
        event_free(collect->watchdog);
    world_clear(&collect->world);
    json_decref(collect->program_of);
    json_decref(collect->state);
    err_clear(&collect->err);
    free(collect);
}

static void collect_fail(struct collect *collect)
{
    if (!collect->cancelled)
        collect->cb(collect->arg, false, NULL, &collect->err);
    collect_free(collect);
}

void collect_static(struct daemon *daemon, struct world *world)
{
    struct timeval now;

    memset(world, 0, sizeof(*world));
    evutil_gettimeofday(&now, NULL);
    world->now = now.tv_sec * 1000000LL + now.tv_usec;
    world->vm = daemon->vm_name;
    world->memory_dir = daemon->store->memory_path;
    world->args = daemon->args;
    world->args_disks = daemon->args ? &daemon->args_disks : NULL;
    world->converge_ms = (json_int_t)daemon->options.converge_timeout * 1000;
}

static void collect_add_path(json_t *files, json_t *folders, const char *path, bool folder)
{
    char *dir = world_dirname(path);

    json_array_append_new(files, json_string(path));
    if (folder)
        json_array_append_new(folders, json_string(dir));
    free(dir);
}

json_t *collect_paths(const struct world *world, const json_t *state)
{
    json_t *files = planner_files(state), *folders = json_array();
    json_t *path;
    size_t i;

    json_array_foreach(files, i, path) {
        char *dir = world_dirname(json_string_value(path));

        json_array_append_new(folders, json_string(dir));
        free(dir);
    }
    json_array_append_new(folders, json_string(world->memory_dir));
    for (i = 0; world->args_disks && i < world->args_disks->n; i++)
        if (world->args_disks->v[i].path)
            collect_add_path(files, folders, world->args_disks->v[i].path, true);
    for (i = 0; world->graph && i < world->graph->n_disks; i++)
        for (size_t k = 0; k < world->graph->disks[i].n_chain; k++)
            collect_add_path(files, folders, world->graph->disks[i].chain[k].file, true);
    return json_pack("{s:o, s:o}", "files", files, "folders", folders);
}

/* The folder of a disk that was named by a relative path is asked for by its real path too. */
static json_t *collect_more_folders(const json_t *files)
{
    json_t *folders = json_array(), *none = json_array();
    const char *path;
    json_t *entry;

    json_object_foreach((json_t *)files, path, entry)
        if (state_str(entry, "real"))
            collect_add_path(none, folders, state_str(entry, "real"), true);
    json_decref(none);
    return json_pack("{s:[], s:o}", "files", "folders", folders);
}

static void collect_rooms_cb(void *arg, bool ok, json_t *result, struct err *err)
{
    struct collect *collect = arg;
    struct world world = collect->world;

    (void)ok;
    (void)err;
    if (collect->cancelled) {
        collect_free(collect);
        return;
    }
    json_object_update(world.rooms, json_object_get(result, "rooms"));
    memset(&collect->world, 0, sizeof(collect->world));
    collect->cb(collect->arg, true, &world, NULL);
    collect_free(collect);
}

/* A process that has none of the images open is not QEMU itself, but something that started it. */
static void collect_doubt_open(struct world *world)
{
    bool any = false;

    for (size_t i = 0; world->open && i < world->graph->n_disks; i++)
        for (size_t k = 0; k < world->graph->disks[i].n_chain; k++)
            any = any || disks_is_open(world, world->graph->disks[i].chain[k].file);
    if (any)
        return;
    json_decref(world->open);
    world->open = NULL;
}

static void collect_files_cb(void *arg, bool ok, json_t *result, struct err *err)
{
    struct collect *collect = arg;
    json_t *more;

    (void)ok;
    (void)err;
    collect->world.files = json_incref(json_object_get(result, "files"));
    collect->world.rooms = json_incref(json_object_get(result, "rooms"));
    collect->world.open = json_incref(json_object_get(result, "open"));
    collect_doubt_open(&collect->world);
    collect_fit_program(&collect->world, json_object_get(result, "program"));
    more = collect_more_folders(collect->world.files);
    worker_run(collect->daemon->worker, deed_inspect, more, collect_rooms_cb, collect);
    json_decref(more);
}

static void collect_inspect(struct collect *collect)
{
    json_t *paths = collect_paths(&collect->world, collect->state);

    if (collect->world.graph && vm_has_process(collect->daemon->vm))
        json_object_set_new(paths, "pid", json_integer(vm_pid(collect->daemon->vm)));
    collect_fit_ask(&collect->world, collect->program_of, paths);
    worker_run(collect->daemon->worker, deed_inspect, paths, collect_files_cb, collect);
    json_decref(paths);
}

static void collect_answers(struct collect *collect);

static void collect_place_cb(void *arg)
{
    struct collect *collect = arg;

    if (--collect->outstanding == 0)
        collect_answers(collect);
}

/* Could a snapshot be reverted to in place? */
static bool collect_has_vmstate(const json_t *state)
{
    json_t *snapshot;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot)
        if (vmstate_is(json_object_get(snapshot, "memory")))
            return true;
    return false;
}

/* Has a device of the command line gone?  Then one asks where the others are.  False: not needed. */
static bool collect_more(struct collect *collect)
{
    struct link *link = vm_main(collect->daemon->vm);
    json_t *devices, *given;

    if (collect->asked_more || collect->err.set || collect->cancelled || !link)
        return false;
    collect->asked_more = true;
    devices = world_read_devices(collect->answers[COLLECT_DEVICES]);
    given = config_given(collect->world.args, devices);
    collect->outstanding = (unsigned)collect_places(link, given, collect->world.places,
                                                    collect_place_cb, collect);
    if (collect_has_vmstate(collect->state)) {
        collect->world.drives = json_object();
        collect->outstanding += (unsigned)collect_drives(link, collect->answers[COLLECT_BLOCKS],
                                                         collect->world.drives, collect_place_cb,
                                                         collect);
    }
    json_decref(devices);
    json_decref(given);
    return collect->outstanding > 0;
}

static void collect_answers(struct collect *collect)
{
    struct world *world = &collect->world;

    if (collect_more(collect))
        return;
    if (!collect->err.set)
        world->graph = graph_new(collect->answers[COLLECT_NODES], collect->answers[COLLECT_BLOCKS],
                                 collect->answers[COLLECT_GRAPH], &collect->err);
    if (collect->err.set || collect->cancelled) {
        collect_fail(collect);
        return;
    }
    world->status = json_incref(collect->answers[COLLECT_STATUS]);
    world->jobs = json_incref(collect->answers[COLLECT_JOBS]);
    world->parameters = json_incref(collect->answers[COLLECT_PARAMETERS]);
    world->migration = json_incref(collect->answers[COLLECT_MIGRATION]);
    world->capabilities = world_read_capabilities(collect->answers[COLLECT_CAPABILITIES]);
    world->devices = world_read_devices(collect->answers[COLLECT_DEVICES]);
    world->anonymous = json_incref(collect->answers[COLLECT_ANONYMOUS]);
    collect_fit(world, &collect->answers[COLLECT_FIT]);
    world_take_config(world, json_object_get(collect->state, "config"));
    collect_inspect(collect);
}

static link_reply_cb collect_answer_cb;

static void collect_ask(struct collect *collect, enum collect_query query)
{
    json_t *arguments = query == COLLECT_NODES       ? json_pack("{s:b}", "flat", 1)
                        : query == COLLECT_DEVICES   ? json_pack("{s:s}", "path", EXPECT_DEVICES)
                        : query == COLLECT_ANONYMOUS ? json_pack("{s:s}", "path", EXPECT_DEVICES "-anon")
                        : query >= COLLECT_FIT
                            ? fit_query_arguments(&fit_queries[query - COLLECT_FIT]) : NULL;

    collect->outstanding++;
    collect->slots[query] = (struct collect_slot){ collect, query };
    link_send_command(vm_main(collect->daemon->vm), collect_query_name(query), arguments, -1,
                      collect_answer_cb, &collect->slots[query]);
    json_decref(arguments);
}

static void collect_ask_rest(struct collect *collect)
{
    for (int i = 0; i < COLLECT__COUNT; i++)
        if (i != COLLECT_JOBS)
            collect_ask(collect, (enum collect_query)i);
    collect->outstanding += (unsigned)collect_places(vm_main(collect->daemon->vm),
                                                     json_object_get(collect->state, "config"),
                                                     collect->world.places, collect_place_cb, collect);
}

/* QEMU dies when it is asked for its nodes while a stream is listed that has ended
 * (policy/planner_delete_steps.c).  Those of clients may stay until they are dismissed. */
static bool collect_check_jobs(struct collect *collect)
{
    json_t *job;
    size_t i;

    json_array_foreach(collect->answers[COLLECT_JOBS], i, job) {
        const char *type = state_str(job, "type"), *status = state_str(job, "status");

        if (!type || strcmp(type, "stream") != 0 || jobs_is_internal(state_str(job, "id")))
            continue;
        /* An operation would be refused for it anyway, and it may end right now. */
        if (collect->daemon->operation || !status || strcmp(status, "concluded") == 0)
            return disks_refuse_job(job, &collect->err);
    }
    return true;
}

static void collect_answer_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                              const struct message_reply *reply)
{
    struct collect_slot *slot = arg;
    struct collect *collect = slot->collect;
    json_t *value = link_reply_value(answer, reply);

    (void)text;
    (void)len;
    if (answer == ANSWER_ERROR && slot->query >= COLLECT_DEVICES)
        value = json_array(); /* 7.2 has no such place before the first device of that kind */
    else if (answer == ANSWER_ERROR && slot->query >= COLLECT_FIT)
        value = json_null(); /* this machine cannot say */
    if (!value && !collect->err.set)
        err_set(&collect->err, REASON_UNEXPECTED_ANSWER, "QEMU did not answer %s",
                collect_query_name(slot->query));
    collect->answers[slot->query] = value;
    collect->outstanding--;
    if (slot->query == COLLECT_JOBS && !collect->err.set && !collect->cancelled &&
        collect_check_jobs(collect))
        collect_ask_rest(collect);
    if (collect->outstanding == 0)
        collect_answers(collect);
}

/* QEMU is silent; its answers, should they come, find nobody. */
static void collect_watchdog_cb(evutil_socket_t fd, short what, void *arg)
{
    struct collect *collect = arg;

    (void)fd;
    (void)what;
    if (collect->cancelled || collect->outstanding == 0)
        return;
    collect->cancelled = true;
    if (!collect->err.set)
        err_set(&collect->err, REASON_TIMEOUT, "QEMU did not answer within %d s", COLLECT_TIMEOUT_S);
    collect->cb(collect->arg, false, NULL, &collect->err);
}

struct collect *collect_start(struct daemon *daemon, const json_t *state, bool with_qemu,
                              collect_cb *cb, void *arg)
{
    struct collect *collect = calloc(1, sizeof(*collect));
    struct timeval limit = { .tv_sec = COLLECT_TIMEOUT_S };

    if (!collect)
        abort();
    collect->daemon = daemon;
    collect->state = json_incref((json_t *)state);
    collect->cb = cb;
    collect->arg = arg;
    collect_static(daemon, &collect->world);
    collect->world.record = json_incref(collect->state);
    if (!with_qemu) {
        collect_inspect(collect);
        return collect;
    }
    collect->watchdog = event_new(daemon->base, -1, 0, collect_watchdog_cb, collect);
    if (!collect->watchdog || event_add(collect->watchdog, &limit) < 0)
        abort();
    collect->world.places = json_object();
    collect_ask(collect, COLLECT_JOBS);
    return collect;
}

void collect_cancel(struct collect *collect)
{
    collect->cancelled = true;
}

void collect_program(struct collect *collect, const json_t *snapshot)
{
    collect->program_of = json_incref((json_t *)snapshot);
}
