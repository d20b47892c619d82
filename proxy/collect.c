/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/collect_internal.h"

#include <stdlib.h>
#include <string.h>

#include "policy/config.h"
#include "policy/disks.h"
#include "policy/expect.h"
#include "policy/planner.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "policy/vmstate.h"
#include "proxy/cmdline.h"
#include "proxy/collect_drives.h"
#include "proxy/collect_places.h"
#include "proxy/jobs.h"
#include "qmp/alloc.h"

/* As long as a step of a plan may stay unanswered. */
#define COLLECT_TIMEOUT_S 30

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

void collect_free(struct collect *collect)
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

void collect_fail(struct collect *collect)
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
    world->given = daemon->args;
    world->args = cmdline_args(daemon);
    world->args_disks = cmdline_disks(daemon);
    world->converge_ms = (json_int_t)daemon->options.converge_timeout * 1000;
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
        bool ended = !status || strcmp(status, "concluded") == 0;

        /* Ours never stays, whoever has given his such a name. */
        if (!type || strcmp(type, "stream") != 0 || (!ended && jobs_is_internal(state_str(job, "id"))))
            continue;
        /* An operation would be refused for it anyway, and it may end right now. */
        if (collect->daemon->operation || ended)
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
    if (answer == ANSWER_ERROR && slot->query >= COLLECT_FIT)
        value = json_null(); /* this machine cannot say */
    else if (answer == ANSWER_ERROR && slot->query >= COLLECT_DEVICES)
        value = json_array(); /* 7.2 has no such place before the first device of that kind */
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
    struct collect *collect = alloc_zeroed(1, sizeof(*collect));
    struct timeval limit = { .tv_sec = COLLECT_TIMEOUT_S };

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
