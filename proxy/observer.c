/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/observer.h"

#include <stdlib.h>
#include <string.h>

#include "policy/observe.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/collect.h"
#include "proxy/jobs.h"
#include "proxy/log.h"
#include "qmp/alloc.h"

/* How long a client may wait for an answer that QEMU has given. */
#define OBSERVER_PATIENCE_S 5

/* QEMU's answers may be of two moments, and then contradict each other. */
#define OBSERVER_TRIES 3

struct observer_wait {
    TAILQ_ENTRY(observer_wait) next;
    struct observer *observer;
    observer_cb *cb;
    void *arg;
    struct event *limit;
    bool looked;                /* the look that runs began behind it */
};

TAILQ_HEAD(observer_waits, observer_wait);

struct observer {
    struct daemon *daemon;
    struct collect *collect;    /* the look that runs, or NULL */
    bool wanted;                /* one more look, as soon as that is possible */
    unsigned tries;
    json_t *commands;           /* overlays of the snapshot commands that were seen since the last look */
    size_t n_commands;          /* of them, those before the look that runs */
    struct event *idle;         /* lets those go on for whom no look can be had */
    struct observer_waits waits;
};

static void observer_begin(struct observer *observer);

/* ---- those who wait ---- */

static void observer_wait_end(struct observer_wait *wait)
{
    observer_cb *cb = wait->cb;
    void *arg = wait->arg;

    event_free(wait->limit);
    free(wait);
    cb(arg);
}

static void observer_limit_cb(evutil_socket_t fd, short what, void *arg)
{
    struct observer_wait *wait = arg;

    (void)fd;
    (void)what;
    log_warn("what a client did to the disks could not be recorded in %d s: it is answered",
             OBSERVER_PATIENCE_S);
    TAILQ_REMOVE(&wait->observer->waits, wait, next);
    observer_wait_end(wait);
}

static void observer_wait_add(struct observer *observer, observer_cb *cb, void *arg)
{
    struct observer_wait *wait = alloc_zeroed(1, sizeof(*wait));
    struct timeval limit = { .tv_sec = OBSERVER_PATIENCE_S };

    *wait = (struct observer_wait){ .observer = observer, .cb = cb, .arg = arg };
    wait->limit = event_new(observer->daemon->base, -1, 0, observer_limit_cb, wait);
    if (!wait->limit || event_add(wait->limit, &limit) < 0)
        abort();
    TAILQ_INSERT_TAIL(&observer->waits, wait, next);
}

/* all: those too who came while it looked. */
static void observer_let_go(struct observer *observer, bool all)
{
    struct observer_waits due = TAILQ_HEAD_INITIALIZER(due);
    struct observer_wait *wait, *next;

    /* Whoever goes on may ask for another look, and waits for that one. */
    for (wait = TAILQ_FIRST(&observer->waits); wait; wait = next) {
        next = TAILQ_NEXT(wait, next);
        if (!all && !wait->looked)
            continue;
        TAILQ_REMOVE(&observer->waits, wait, next);
        TAILQ_INSERT_TAIL(&due, wait, next);
    }
    while ((wait = TAILQ_FIRST(&due))) {
        TAILQ_REMOVE(&due, wait, next);
        observer_wait_end(wait);
    }
}

void observer_release(struct observer *observer)
{
    if (observer->collect)
        collect_cancel(observer->collect);
    observer->collect = NULL;
    observer->wanted = false;
    json_array_clear(observer->commands);
    observer_let_go(observer, true);
}

static void observer_idle_cb(evutil_socket_t fd, short what, void *arg)
{
    struct observer *observer = arg;

    (void)fd;
    (void)what;
    if (!observer->collect)
        observer_let_go(observer, true);
}

/* ---- the record ---- */

/* new: the names that are in the new record only: the last ones. */
static json_t *observer_names(const json_t *before, const json_t *after)
{
    const json_t *list = json_object_get(after, "snapshots");
    json_t *names = json_array();

    for (size_t i = json_array_size(json_object_get(before, "snapshots"));
         i < json_array_size(list); i++)
        json_array_append(names, json_object_get(json_array_get(list, i), "name"));
    return names;
}

static void observer_closed_cb(void *arg, enum link_answer answer, const char *text, size_t len,
                               const struct message_reply *reply)
{
    (void)arg;
    (void)len;
    (void)reply;
    if (answer == ANSWER_ERROR)
        log_debug("a layer stays open: %s", text);
}

static bool observer_in_chain(const struct graph *graph, const char *node)
{
    for (size_t i = 0; i < graph->n_disks; i++)
        if (graph_chain_index(&graph->disks[i], node) >= 0)
            return true;
    return false;
}

/* Layers of ours that a client's job took out of the chain are open in QEMU all the same, as nodes
 * that we once added.  Closed from the top down, since each holds the one below; what a client uses
 * QEMU does not close. */
static void observer_close_layers(struct observer *observer, const struct graph *graph)
{
    const json_t *layers = json_object_get(observer->daemon->store->state, "layers");
    json_t *nodes = json_array(), *layer, *arguments;
    const char *id;

    json_object_foreach((json_t *)layers, id, layer) {
        const char *node = state_str(layer, "node");

        if (node && jobs_is_internal(node) && graph_node_find(graph, node) &&
            !observer_in_chain(graph, node))
            json_array_append(nodes, json_object_get(layer, "node"));
    }
    for (size_t i = json_array_size(nodes); i-- > 0;) {
        arguments = json_pack("{s:O}", "node-name", json_array_get(nodes, i));
        link_send_command(vm_main(observer->daemon->vm), "blockdev-del", arguments, -1,
                          observer_closed_cb, observer);
        json_decref(arguments);
    }
    json_decref(nodes);
}

/* new: the names of the snapshots that came in; NULL: the record is as it was. */
static json_t *observer_record(struct observer *observer, const struct world *world)
{
    struct store *store = observer->daemon->store;
    json_t *state = observe(world, store->state, observer->commands);
    json_t *names = NULL;
    struct err err = ERR_INIT;

    if (!state)
        return NULL;
    names = observer_names(store->state, state);
    if (!store_write(store, state, &err)) {
        log_warn("cannot record what a client did to the disks: %s", err.desc);
        err_clear(&err);
        json_decref(names);
        names = NULL;
    } else {
        observer_close_layers(observer, world->graph);
    }
    json_decref(state);
    return names;
}

static bool observer_is_layer(const json_t *state, const json_t *overlays)
{
    json_t *layer, *name;
    const char *id;
    size_t i;

    json_object_foreach(json_object_get(state, "layers"), id, layer)
        json_array_foreach((json_t *)overlays, i, name)
            if (json_equal(name, json_object_get(layer, "node")) ||
                json_equal(name, json_object_get(layer, "path")))
                return true;
    return false;
}

/* The first commands have been looked at. */
static void observer_note_unrecorded(struct observer *observer, size_t n)
{
    for (; n > 0; n--) {
        if (!observer_is_layer(observer->daemon->store->state,
                               json_array_get(observer->commands, 0)))
            log_warn("a snapshot that a client made is not recorded: its disk, its image or the "
                     "header of that is none that can be taken over");
        json_array_remove(observer->commands, 0);
    }
}

static void observer_announce(struct observer *observer, json_t *names)
{
    json_t *name;
    size_t i;

    json_array_foreach(names, i, name) {
        log_info("recorded a client's own snapshot as '%s'", json_string_value(name));
        daemon_event(observer->daemon, "SNAPSHOT_CREATED", json_pack("{s:O}", "name", name));
    }
    json_decref(names);
}

bool observer_apply(struct observer *observer, const struct world *world)
{
    json_t *names = observer_record(observer, world);
    bool changed = names != NULL;

    /* It waited until the commands before it were done, so their overlays were in this world. */
    observer_note_unrecorded(observer, json_array_size(observer->commands));
    observer_let_go(observer, true);
    observer_announce(observer, names);
    return changed;
}

/* ---- looking ---- */

/* Done, well or not. */
static void observer_end(struct observer *observer, json_t *names)
{
    observer_note_unrecorded(observer, observer->n_commands);
    observer->n_commands = 0;
    observer->tries = 0;
    observer_let_go(observer, false);
    observer_announce(observer, names);
    if (observer->wanted)
        observer_begin(observer);
}

static void observer_collected(void *arg, bool ok, struct world *world, struct err *err)
{
    struct observer *observer = arg;
    json_t *names = NULL;

    observer->collect = NULL;
    if (ok) {
        names = observer_record(observer, world);
        world_clear(world);
    } else if (strcmp(err->reason, REASON_JOB_RUNNING) != 0 && ++observer->tries < OBSERVER_TRIES &&
               vm_main(observer->daemon->vm)) {
        observer_begin(observer);
        return;
    } else {
        log_warn("cannot look at what clients did to the disks: %s", err->desc);
        err_clear(err);
    }
    observer_end(observer, names);
}

/* Now, or when the operation that runs has ended. */
static void observer_begin(struct observer *observer)
{
    struct daemon *daemon = observer->daemon;
    struct link *link = daemon->vm ? vm_main(daemon->vm) : NULL;
    struct observer_wait *wait;

    observer->wanted = true;
    if (observer->collect || daemon->operation)
        return;
    observer->wanted = false;
    if (daemon->stuck || !link || !link_ready(link)) {
        /* A journal tells of the record as it is (policy/planner_recover.c). */
        event_active(observer->idle, EV_TIMEOUT, 0);
        return;
    }
    TAILQ_FOREACH(wait, &observer->waits, next)
        wait->looked = true;
    observer->n_commands = json_array_size(observer->commands);
    observer->collect = collect_start(daemon, daemon->store->state, true, observer_collected,
                                      observer);
}

bool observer_busy(const struct observer *observer)
{
    return observer->collect != NULL;
}

void observer_resume(struct observer *observer)
{
    if (observer->wanted)
        observer_begin(observer);
}

void observer_look(struct observer *observer, observer_cb *cb, void *arg)
{
    if (cb)
        observer_wait_add(observer, cb, arg);
    observer_begin(observer);
}

struct observer_held {
    struct slot *slot;
    char *line;
    size_t len;
};

static void observer_held_cb(void *arg)
{
    struct observer_held *held = arg;

    slot_answer(held->slot, held->line, held->len);
    free(held->line);
    free(held);
}

void observer_hold(struct observer *observer, struct slot *slot, const char *line, size_t len,
                   json_t *overlays)
{
    struct observer_held *held = alloc_zeroed(1, sizeof(*held));

    *held = (struct observer_held){ slot, alloc_bytes(len), len };
    memcpy(held->line, line, len);
    slot->local = true;
    slot->data = NULL;
    json_array_append_new(observer->commands, overlays);
    observer_look(observer, observer_held_cb, held);
}

/* A job that is not dismissed by itself keeps QEMU from being looked at for so long (collect.c). */
void observer_event(struct observer *observer, const struct message_reply *reply)
{
    bool change = strcmp(reply->event, "JOB_STATUS_CHANGE") == 0;
    const char *status;
    json_t *data;

    if (!change && strcmp(reply->event, "BLOCK_JOB_COMPLETED") != 0 &&
        strcmp(reply->event, "BLOCK_JOB_CANCELLED") != 0)
        return;
    data = json_loadb(reply->value.at, reply->value.len, 0, NULL);
    status = state_str(data, "status");
    if (!jobs_is_internal(state_str(data, change ? "id" : "device")) &&
        (!change || (status && strcmp(status, "null") == 0)))
        observer_look(observer, NULL, NULL);
    json_decref(data);
}

struct observer *observer_new(struct daemon *daemon)
{
    struct observer *observer = alloc_zeroed(1, sizeof(*observer));

    observer->daemon = daemon;
    observer->commands = json_array();
    TAILQ_INIT(&observer->waits);
    observer->idle = event_new(daemon->base, -1, 0, observer_idle_cb, observer);
    if (!observer->idle)
        abort();
    return observer;
}

void observer_free(struct observer *observer)
{
    if (!observer)
        return;
    observer_release(observer);
    event_free(observer->idle);
    json_decref(observer->commands);
    free(observer);
}
