/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "proxy/log.h"
#include "qmp/alloc.h"

struct task {
    STAILQ_ENTRY(task) next;
    worker_fn *fn;
    json_t *args;
    worker_done_cb *done;
    void *arg;
    bool ok;
    json_t *result;
    struct err err;
};

STAILQ_HEAD(task_queue, task);

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct task_queue todo, finished;   /* both under lock */
    bool stop;                          /* under lock */
    int eventfd;
    struct event *event;
};

static void task_free(struct task *task)
{
    json_decref(task->args);
    json_decref(task->result);
    err_clear(&task->err);
    free(task);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    uint64_t one = 1;

    pthread_mutex_lock(&worker->lock);
    while (!worker->stop) {
        struct task *task = STAILQ_FIRST(&worker->todo);

        if (!task) {
            pthread_cond_wait(&worker->wake, &worker->lock);
            continue;
        }
        STAILQ_REMOVE_HEAD(&worker->todo, next);
        pthread_mutex_unlock(&worker->lock);
        task->ok = task->fn(task->args, &task->result, &task->err);
        pthread_mutex_lock(&worker->lock);
        STAILQ_INSERT_TAIL(&worker->finished, task, next);
        if (write(worker->eventfd, &one, sizeof(one)) < 0)
            abort(); /* an eventfd of ours cannot be full */
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

static void worker_finished_cb(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    struct task *task;
    uint64_t count;

    (void)what;
    if (read(fd, &count, sizeof(count)) < 0)
        return;
    for (;;) {
        pthread_mutex_lock(&worker->lock);
        task = STAILQ_FIRST(&worker->finished);
        if (task)
            STAILQ_REMOVE_HEAD(&worker->finished, next);
        pthread_mutex_unlock(&worker->lock);
        if (!task)
            return;
        task->done(task->arg, task->ok, task->result, &task->err);
        task_free(task);
    }
}

struct worker *worker_new(struct event_base *base)
{
    struct worker *worker = alloc_zeroed(1, sizeof(*worker));
    sigset_t all, old;
    int error;

    STAILQ_INIT(&worker->todo);
    STAILQ_INIT(&worker->finished);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->wake, NULL);
    worker->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    worker->event = event_new(base, worker->eventfd, EV_READ | EV_PERSIST, worker_finished_cb,
                              worker);
    if (worker->eventfd < 0 || !worker->event || event_add(worker->event, NULL) < 0)
        abort();
    /* Signals are for the event loop's thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (error) {
        log_error("cannot start a thread: %s", strerror(error));
        abort();
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return worker;
}

void worker_free(struct worker *worker)
{
    struct task *task;

    if (!worker)
        return;
    pthread_mutex_lock(&worker->lock);
    worker->stop = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    STAILQ_CONCAT(&worker->todo, &worker->finished);
    while ((task = STAILQ_FIRST(&worker->todo))) {
        STAILQ_REMOVE_HEAD(&worker->todo, next);
        task_free(task);
    }
    event_free(worker->event);
    close(worker->eventfd);
    pthread_cond_destroy(&worker->wake);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}

void worker_run(struct worker *worker, worker_fn *fn, const json_t *args, worker_done_cb *done,
                void *arg)
{
    struct task *task = alloc_zeroed(1, sizeof(*task));

    task->fn = fn;
    task->args = json_deep_copy(args);
    task->done = done;
    task->arg = arg;
    pthread_mutex_lock(&worker->lock);
    STAILQ_INSERT_TAIL(&worker->todo, task, next);
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
}
