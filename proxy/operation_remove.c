/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The deeds that unlink files: before the worker does it, it is asked what QEMU has open (in_use.h), however the
 * step came into the plan.  A foreign QEMU that does not answer keeps the files where they are; of our own the process
 * tells, and what it has locked, if a command of a client keeps it busy.
 */
#include <stdlib.h>
#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/deeds.h"
#include "proxy/in_use.h"
#include "proxy/jobs.h"
#include "proxy/operation_internal.h"
#include "qmp/alloc.h"

/* As long as a step of a plan may stay unanswered; and how long our own is waited for, whose process tells as much. */
#define REMOVE_TIMEOUT_S 30
#define REMOVE_OWN_S 1

struct remove {
    struct daemon *daemon;
    unsigned long serial;       /* of the operation, which may be gone when an answer comes */
    json_t *known;
    struct event *timeout;
    bool over;                  /* it was too late */
};

static void remove_free(struct remove *remove)
{
    json_decref(remove->known);
    event_free(remove->timeout);
    free(remove);
}

/* The operation, if it still waits for this. */
static struct operation *remove_operation(const struct remove *remove)
{
    struct operation *op = remove->daemon->operation;

    return op && op->serial == remove->serial && op->deed_done && !remove->over ? op : NULL;
}

static void remove_fail(struct remove *remove, struct err *err)
{
    struct operation *op = remove_operation(remove);

    if (op)
        operation_deed_finish(op, false, err);
    err_clear(err);
}

static void remove_do(struct remove *remove)
{
    struct operation *op = remove_operation(remove);
    json_t *args;

    if (!op)
        return;
    args = json_copy(json_object_get(op->step, "args"));
    json_object_set(args, "known", remove->known);
    operation_deed_in_worker(op, deeds_find(state_str(op->step, "step")), args);
    json_decref(args);
}

/* QEMU says nothing: our own has ended, or its process tells as much. */
static void remove_without(struct remove *remove)
{
    struct err err = ERR_INIT;

    if (remove->daemon->args) {
        remove_do(remove);
        return;
    }
    err_set(&err, REASON_QEMU_FAILED, "QEMU does not say which images it has open");
    remove_fail(remove, &err);
}

static void remove_nodes_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                            const struct message_reply *reply)
{
    struct remove *remove = arg;
    json_t *nodes = link_reply_value(answer, reply);

    (void)text;
    (void)len;
    in_use_add_nodes(remove->known, nodes);
    if (json_is_array(nodes))
        remove_do(remove);
    else
        remove_without(remove);
    json_decref(nodes);
    remove_free(remove);
}

/* QEMU dies when it is asked for its nodes while a stream is listed that has ended (collect.c). */
static bool remove_may_ask(const json_t *jobs)
{
    json_t *job;
    size_t i;

    json_array_foreach((json_t *)jobs, i, job) {
        const char *type = state_str(job, "type"), *status = state_str(job, "status");

        if (type && strcmp(type, "stream") == 0 &&
            (!jobs_is_internal(state_str(job, "id")) || !status || strcmp(status, "concluded") == 0))
            return false;
    }
    return json_is_array(jobs);
}

static void remove_jobs_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                           const struct message_reply *reply)
{
    struct remove *remove = arg;
    json_t *jobs = link_reply_value(answer, reply), *flat = json_pack("{s:b}", "flat", 1);
    struct link *link = vm_main(remove->daemon->vm);

    (void)text;
    (void)len;
    if (remove_operation(remove) && link && link_ready(link) && remove_may_ask(jobs)) {
        link_send_command(link, "query-named-block-nodes", flat, -1, remove_nodes_cb, remove);
    } else {
        remove_without(remove);
        remove_free(remove);
    }
    json_decref(flat);
    json_decref(jobs);
}

/* There is nobody to be asked. */
static void remove_alone_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    remove_without(arg);
    remove_free(arg);
}

/* What it answers later finds nobody. */
static void remove_timeout_cb(evutil_socket_t fd, short what, void *arg)
{
    struct remove *remove = arg;

    (void)fd;
    (void)what;
    remove_without(remove);
    remove->over = true;
}

void operation_remove(struct operation *op)
{
    struct remove *remove = alloc_zeroed(1, sizeof(*remove));
    struct daemon *daemon = op->daemon;
    struct timeval limit = { .tv_sec = daemon->args ? REMOVE_OWN_S : REMOVE_TIMEOUT_S }, now = { 0 };
    struct link *link = vm_main(daemon->vm);
    unsigned long long start;
    bool asked;
    long pid;

    *remove = (struct remove){ .daemon = daemon, .serial = op->serial,
                               .known = in_use_new(daemon->store->state) };
    vm_who(daemon->vm, &pid, &start);
    in_use_add_process(remove->known, pid);
    in_use_add_process(remove->known, vm_pid_of_next(daemon->vm));
    asked = link && link_ready(link);
    remove->timeout = event_new(daemon->base, -1, 0, asked ? remove_timeout_cb : remove_alone_cb, remove);
    if (!remove->timeout || event_add(remove->timeout, asked ? &limit : &now) < 0)
        abort();
    if (asked)
        link_send_command(link, "query-jobs", NULL, -1, remove_jobs_cb, remove);
}
