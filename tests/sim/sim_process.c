/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proxy/process.h with simulated processes, which outlive the proxy. */
#include "proxy/process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/reason.h"
#include "proxy/store.h"
#include "tests/sim/sim_clock.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_qemu.h"
#include "tests/sim/sim_proxy.h"

/* No real process has such a number. */
#define SIM_PID_FIRST 0x40000000

struct process {
    struct process *next;
    struct sim_qemu *qemu;
    struct event *ended;
    process_exited_cb *exited;
    void *arg;
    int status;
    struct event_base *base;
    const int *fds;             /* borrowed until process_run() */
    size_t n_fds;
    bool waits;                 /* for process_run() */
    bool bound;                 /* it ends with the proxy */
};

static struct {
    struct sim_qemu *first;
    struct process *handles;    /* the proxy's */
    unsigned count;
    int version;
    struct { unsigned serial; long at; enum sim_trouble trouble; } plan[8];
    size_t n_plan;
} all;

struct sim_qemu *sim_qemu_first(void)
{
    return all.first;
}

unsigned sim_qemu_count(void)
{
    return all.count;
}

struct sim_qemu *sim_qemu_find(int pid)
{
    struct sim_qemu *qemu = all.first;

    while (qemu && qemu->pid != pid)
        qemu = qemu->next;
    return qemu;
}

void sim_qemu_next_version(int version)
{
    all.version = version;
}

void sim_qemu_next_trouble(unsigned serial, long at, enum sim_trouble trouble)
{
    sim_fail_check(all.n_plan < 8, "too much trouble");
    all.plan[all.n_plan].serial = serial;
    all.plan[all.n_plan].at = at;
    all.plan[all.n_plan++].trouble = trouble;
}

void sim_qemu_no_trouble(void)
{
    all.n_plan = 0;
    for (struct sim_qemu *qemu = all.first; qemu; qemu = qemu->next)
        qemu->trouble_at = -1;
}

static void qemu_take_trouble(struct sim_qemu *qemu)
{
    qemu->trouble_at = -1;
    for (size_t i = 0; i < all.n_plan; i++)
        if (all.plan[i].serial == qemu->serial) {
            qemu->trouble_at = all.plan[i].at;
            qemu->trouble = all.plan[i].trouble;
        }
}

struct sim_qemu *sim_qemu_start(char *const argv[])
{
    struct sim_qemu *qemu = calloc(1, sizeof(*qemu));
    const char *error;

    qemu->serial = all.count++;
    qemu->pid = SIM_PID_FIRST + (int)qemu->serial;
    qemu->version = all.version;
    qemu->alive = true;
    qemu->listens[0] = qemu->listens[1] = -1;
    qemu->argv = json_array();
    qemu->log = json_array();
    qemu->devices = json_object();
    for (size_t i = 0; argv[i]; i++)
        json_array_append_new(qemu->argv, json_string(argv[i]));
    qemu->next = all.first;
    all.first = qemu;
    qemu_take_trouble(qemu);
    error = sim_open(qemu, argv);
    if (error) {
        sim_proxy_note("QEMU %u does not start: %s", qemu->serial, error);
        sim_qemu_end(qemu, 1 << 8);
        return qemu;
    }
    sim_machine_start(qemu);
    return qemu;
}

static void process_ended_cb(evutil_socket_t fd, short what, void *arg)
{
    struct process *process = arg;

    (void)fd;
    (void)what;
    process->exited(process->arg, process->status);
}

void sim_qemu_end(struct sim_qemu *qemu, int status)
{
    struct timeval soon = { 0 };

    if (!qemu->alive)
        return;
    qemu->alive = false;
    sim_monitor_detach(qemu);
    for (size_t i = 0; i < 2; i++)
        if (qemu->listens[i] >= 0)
            close(qemu->listens[i]);
    sim_jobs_clear(qemu);
    sim_graph_clear(qemu);
    sim_machine_clear(qemu);
    for (struct process *process = all.handles; process; process = process->next)
        if (process->qemu == qemu) {
            process->status = status;
            event_add(process->ended, &soon);
        }
}

void sim_qemu_end_all(void)
{
    struct sim_qemu *qemu;

    while ((qemu = all.first)) {
        sim_qemu_end(qemu, 0);
        all.first = qemu->next;
        json_decref(qemu->argv);
        json_decref(qemu->log);
        json_decref(qemu->devices);
        json_decref(qemu->fds);
        json_decref(qemu->capabilities);
        json_decref(qemu->parameters);
        json_decref(qemu->memory);
        json_decref(qemu->loaded);
        free(qemu);
    }
    all.count = 0;
    all.n_plan = 0;
}

/* ---- what the proxy sees ---- */

static struct process *process_make(struct event_base *base, struct sim_qemu *qemu,
                                    process_exited_cb *exited, void *arg)
{
    struct process *process = calloc(1, sizeof(*process));

    process->qemu = qemu;
    process->exited = exited;
    process->arg = arg;
    process->base = base;
    process->ended = event_new(base, -1, 0, process_ended_cb, process);
    process->next = all.handles;
    all.handles = process;
    return process;
}

static void process_begin(struct process *process)
{
    struct timeval soon = { 0 };

    if (process->qemu->alive) {
        sim_monitor_attach(process->qemu, process->base);
    } else {
        process->status = 1 << 8;
        event_add(process->ended, &soon);
    }
}

void process_allow_files(size_t n)
{
    (void)n;
}

struct process *process_new(struct event_base *base, char *const argv[], const int *fds, size_t n,
                            process_exited_cb *exited, void *arg, struct err *err)
{
    struct process *process = process_make(base, sim_qemu_start(argv), exited, arg);

    (void)err;
    process->waits = true;
    process->fds = fds;
    process->n_fds = n;
    return process;
}

static bool process_is_on_record(const struct process *process)
{
    bool found = false;

    for (int next = 0; next < 2; next++) {
        struct err err = ERR_INIT;
        json_t *record = NULL;

        store_read_process(sim_proxy()->store, next == 1, &record, &err);
        found = found || json_integer_value(json_object_get(record, "pid")) == process->qemu->pid;
        json_decref(record);
        err_clear(&err);
    }
    return found;
}

bool process_run(struct process *process, bool bound, struct err *err)
{
    (void)err;
    /* The proxy may die right behind this. */
    if (!bound && !process_is_on_record(process))
        sim_fail("QEMU %u runs, and no file names it", process->qemu->serial);
    process->waits = false;
    process->bound = bound;
    if (process->qemu->alive)
        sim_monitor_listen(process->qemu, process->fds, process->n_fds);
    process_begin(process);
    return true;
}

struct process *process_adopt(struct event_base *base, pid_t pid, unsigned long long start_time,
                              process_exited_cb *exited, void *arg, struct err *err)
{
    struct sim_qemu *qemu = sim_qemu_find(pid);
    struct process *process;

    (void)err;
    if (!qemu || !qemu->alive || start_time != qemu->serial + 1ULL)
        return NULL;
    process = process_make(base, qemu, exited, arg);
    process_begin(process);
    return process;
}

void process_end_stale(pid_t pid, unsigned long long start_time)
{
    struct sim_qemu *qemu = sim_qemu_find(pid);

    if (qemu && start_time == qemu->serial + 1ULL)
        sim_qemu_end(qemu, SIGKILL);
}

bool process_wait_end(const struct process *process)
{
    return process_has_ended(process);
}

bool process_has_ended(const struct process *process)
{
    return !process->qemu->alive;
}

void process_free(struct process *process)
{
    struct process **at = &all.handles;

    if (!process)
        return;
    if (process->waits || (process->bound && sim_proxy_is_dying()))
        sim_qemu_end(process->qemu, 0);
    while (*at != process)
        at = &(*at)->next;
    *at = process->next;
    event_free(process->ended);
    free(process);
}

pid_t process_pid(const struct process *process)
{
    return process->qemu->pid;
}

unsigned long long process_start_time(const struct process *process)
{
    return process->qemu->serial + 1ULL;
}

void process_signal(struct process *process, int sig)
{
    if (!sim_proxy_is_dying())
        sim_qemu_end(process->qemu, sig == SIGKILL ? SIGKILL : 0);
}

unsigned long long process_read_start_time(pid_t pid)
{
    struct sim_qemu *qemu = sim_qemu_find(pid);

    return qemu && qemu->alive ? qemu->serial + 1ULL : 0;
}
