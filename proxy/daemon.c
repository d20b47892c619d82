/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/daemon.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/answer.h"
#include "proxy/cmdline.h"
#include "proxy/intercept.h"
#include "proxy/jobs.h"
#include "proxy/launch.h"
#include "proxy/leftovers.h"
#include "proxy/log.h"
#include "proxy/loop.h"
#include "proxy/observer.h"
#include "proxy/operation.h"
#include "proxy/process.h"
#include "proxy/session.h"
#include "qmp/alloc.h"

/* Descriptors for all but clients. */
#define DAEMON_FILES 256

void daemon_broadcast(struct daemon *daemon, const char *line, size_t len)
{
    struct client *client;

    for (client = client_first(&daemon->limits); client; client = client_next(client))
        if (client_session(client)->negotiated)
            client_send(client, line, len);
}

void daemon_event(struct daemon *daemon, const char *name, json_t *data)
{
    struct timeval now;
    size_t len;
    char *line;

    evutil_gettimeofday(&now, NULL);
    line = answer_line(json_pack("{s:{s:I, s:I}, s:s, s:o}", "timestamp", "seconds",
                                 (json_int_t)now.tv_sec, "microseconds", (json_int_t)now.tv_usec,
                                 "event", name, "data", data), &len);
    daemon_broadcast(daemon, line, len);
    free(line);
}

static void daemon_forget_lists(struct daemon *daemon)
{
    for (size_t i = 0; i < DAEMON_LIST__COUNT; i++) {
        free(daemon->lists[i].text);
        daemon->lists[i].text = NULL;
    }
}

bool daemon_process_changed(struct daemon *daemon)
{
    daemon_forget_lists(daemon);
    leftovers_forget(daemon->leftovers);
    launch_write_pidfile(daemon);
    return true;
}

static void daemon_exit_cb(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    event_base_loopexit(arg, NULL);
}

static void daemon_close_clients(struct daemon *daemon)
{
    struct client *client;

    for (client = client_first(&daemon->limits); client; client = client_next(client))
        client_close(client, "QEMU has ended");
}

void daemon_quit(struct daemon *daemon, int status)
{
    struct timeval soon = { 0 };

    daemon->exit_status = status;
    daemon_close_clients(daemon);
    event_base_once(daemon->base, -1, EV_TIMEOUT, daemon_exit_cb, daemon->base, &soon);
}

/* ---- what the VM tells ---- */

static void daemon_vm_ready(void *arg)
{
    struct daemon *daemon = arg;

    free(daemon->greeting);
    daemon->greeting = alloc_copy(link_greeting(vm_main(daemon->vm)));
    daemon->has_oob = link_has_oob(vm_main(daemon->vm));
    daemon->ready = true;
    session_greet_all(daemon);
    launch_ready(daemon);
}

static void daemon_vm_event(void *arg, const char *text, size_t len,
                            const struct message_reply *reply)
{
    struct daemon *daemon = arg;

    operation_event(daemon, reply);
    session_event(daemon, text, len, reply);
    observer_event(daemon->observer, reply);
    intercept_event(daemon, reply);
}

/* No QEMU is left: nothing shall point to one, and the proxy ends. */
static void daemon_without_vm(struct daemon *daemon, int status)
{
    store_forget_process(daemon->store);
    launch_remove_pidfile(daemon);
    daemon_quit(daemon, status);
}

void daemon_lost(struct daemon *daemon)
{
    log_error("QEMU has ended");
    daemon_without_vm(daemon, daemon->lost_status);
}

static void daemon_vm_ended(void *arg, int status)
{
    struct daemon *daemon = arg;
    int code = 0;

    if (status >= 0 && WIFSIGNALED(status))
        code = 128 + WTERMSIG(status);
    else if (status >= 0)
        code = WEXITSTATUS(status);
    log_info("QEMU has ended (%d)", code);
    if (daemon->adopted && !daemon->ready && !daemon->quitting) {
        /* It was ending when it was found. */
        daemon->adopted = false;
        launch_again(daemon);
        return;
    }
    daemon->lost_status = code;
    if (operation_outlives(daemon, status))
        return;
    operation_free(daemon);
    observer_release(daemon->observer);
    daemon_without_vm(daemon, code);
}

/* Clients see what they would see of QEMU itself: the end of the connection. */
static void daemon_vm_detached(void *arg)
{
    struct daemon *daemon = arg;

    log_warn("the connection to QEMU has ended: waiting for it to come back");
    operation_free(daemon);
    observer_release(daemon->observer);
    daemon->ready = false;
    daemon_forget_lists(daemon);
    leftovers_forget(daemon->leftovers);
    daemon_close_clients(daemon);
}

static const struct vm_ops daemon_vm_ops = {
    .ready = daemon_vm_ready,
    .event = daemon_vm_event,
    .ended = daemon_vm_ended,
    .detached = daemon_vm_detached,
};

/* SIGTERM and SIGINT end QEMU cleanly, which ends us; the second time less cleanly. */
static void daemon_signal_cb(evutil_socket_t sig, short what, void *arg)
{
    struct daemon *daemon = arg;

    (void)what;
    log_info("signal %d: ending QEMU", (int)sig);
    if (daemon->operation && !daemon->quitting) {
        /* Taken back or finished first: QEMU is ended then (operation_finish). */
        operation_cancel(daemon);
        daemon->quitting = true;
        return;
    }
    if (vm_has_process(daemon->vm))
        vm_signal(daemon->vm, daemon->quitting ? SIGKILL : SIGTERM);
    else
        daemon_quit(daemon, daemon->ready || !daemon->args ? 0 : 128 + (int)sig);
    daemon->quitting = true;
}

static void daemon_signals(struct daemon *daemon)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction old;

        /* Who is started by nohup wants to go on. */
        sigaction(signals[i], NULL, &old);
        if (signals[i] == SIGHUP && old.sa_handler == SIG_IGN)
            continue;
        daemon->signals[i] = evsignal_new(daemon->base, signals[i], daemon_signal_cb, daemon);
        if (!daemon->signals[i] || event_add(daemon->signals[i], NULL) < 0)
            abort();
    }
}

void daemon_init(struct daemon *daemon)
{
    daemon->base = loop_new();
    process_allow_files(daemon->options.max_clients + DAEMON_FILES);
    daemon->lost_status = 1;
    LIST_INIT(&daemon->limits.clients);
    daemon->limits.max_clients = daemon->options.max_clients;
    /* What QEMU would not take is refused in its words, not in ours. */
    daemon->limits.max_request = daemon->options.max_request < FRAMER_MAX_BYTES
                                     ? daemon->options.max_request : 0;
    daemon->limits.max_unread = daemon->options.max_unread;
    daemon->limits.max_memory = daemon->options.max_memory;
    LIST_INIT(&daemon->listeners);
    json_object_seed(0); /* before there are two threads that might */
    daemon->worker = worker_new(daemon->base);
    daemon->looker = worker_new(daemon->base);
    daemon->jobs = jobs_new(daemon);
    daemon->leftovers = leftovers_new(daemon);
    daemon->observer = observer_new(daemon);
    daemon_signals(daemon);
}

void daemon_make_vm(struct daemon *daemon, const json_t *user_argv)
{
    daemon->vm = vm_new(daemon->base, daemon->store, user_argv, &daemon_vm_ops, daemon);
}

void daemon_free(struct daemon *daemon)
{
    operation_free(daemon);
    for (size_t i = 0; i < sizeof(daemon->signals) / sizeof(daemon->signals[0]); i++)
        if (daemon->signals[i])
            event_free(daemon->signals[i]);
    observer_free(daemon->observer);
    vm_free(daemon->vm);
    jobs_free(daemon->jobs);
    leftovers_free(daemon->leftovers);
    worker_free(daemon->worker);
    worker_free(daemon->looker);
    /* A QEMU that was only asked what it can do leaves nothing behind. */
    if (daemon->store && daemon->name_made)
        store_remove_unused(daemon->store);
    store_free(daemon->store);
    args_disks_clear(&daemon->args_disks);
    cmdline_free(daemon->cmdlines);
    args_free(daemon->args);
    options_clear(&daemon->options);
    event_base_free(daemon->base);
    free(daemon->vm_name);
    free(daemon->pidfile);
    free(daemon->qemu_img);
    free(daemon->stuck);
    free(daemon->greeting);
    daemon_forget_lists(daemon);
}
