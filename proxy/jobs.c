/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/daemon.h"
#include "qmp/alloc.h"

enum job_state { JOB_CREATED, JOB_RUNNING, JOB_CONCLUDED, JOB_NULL, JOB__COUNT };

static const char *const job_state_name[JOB__COUNT] = {
    [JOB_CREATED] = "created",
    [JOB_RUNNING] = "running",
    [JOB_CONCLUDED] = "concluded",
    [JOB_NULL] = "null",
};

struct job {
    LIST_ENTRY(job) next;
    struct jobs *jobs;
    char *id, *type, *error;
    enum job_state state;
    bool manual;                /* waits for job-dismiss */
    json_int_t current, total;
};

struct jobs {
    struct daemon *daemon;
    LIST_HEAD(, job) list;
    unsigned number;
};

static char *job_dup(const char *text)
{
    char *copy = alloc_copy(text);

    return copy;
}

/* The only writer of job->state. */
static void job_enter(struct job *job, enum job_state state)
{
    job->state = state;
    daemon_event(job->jobs->daemon, "JOB_STATUS_CHANGE",
                 json_pack("{s:s, s:s}", "status", job_state_name[state], "id", job->id));
}

static void job_free(struct job *job)
{
    LIST_REMOVE(job, next);
    free(job->id);
    free(job->type);
    free(job->error);
    free(job);
}

struct jobs *jobs_new(struct daemon *daemon)
{
    struct jobs *jobs = alloc_zeroed(1, sizeof(*jobs));

    jobs->daemon = daemon;
    LIST_INIT(&jobs->list);
    return jobs;
}

void jobs_free(struct jobs *jobs)
{
    struct job *job;

    if (!jobs)
        return;
    while ((job = LIST_FIRST(&jobs->list)))
        job_free(job);
    free(jobs);
}

struct job *jobs_find(struct jobs *jobs, const char *id)
{
    struct job *job;

    LIST_FOREACH(job, &jobs->list, next)
        if (strcmp(job->id, id) == 0)
            return job;
    return NULL;
}

struct job *jobs_add(struct jobs *jobs, const char *id, const char *type, struct err *err)
{
    struct job *job;
    char made[64];

    if (id && jobs_find(jobs, id)) {
        err_set(err, NULL, "Job ID '%s' already in use", id);
        return NULL;
    }
    job = alloc_zeroed(1, sizeof(*job));
    snprintf(made, sizeof(made), "%s-%u", type, ++jobs->number);
    job->jobs = jobs;
    job->id = job_dup(id ? id : made);
    job->type = job_dup(type);
    job->manual = id != NULL;
    LIST_INSERT_HEAD(&jobs->list, job, next);
    job_enter(job, JOB_CREATED);
    return job;
}

const char *job_id(const struct job *job)
{
    return job->id;
}

void job_run(struct job *job)
{
    job_enter(job, JOB_RUNNING);
}

void job_progress(struct job *job, json_int_t current, json_int_t total)
{
    job->current = current;
    job->total = total;
}

void job_conclude(struct job *job, const char *error)
{
    if (error)
        job->error = job_dup(error);
    else
        job->current = job->total;
    job_enter(job, JOB_CONCLUDED);
    if (!job->manual) {
        job_enter(job, JOB_NULL);
        job_free(job);
    }
}

void job_refuse(const struct job *job, const char *verb, struct err *err)
{
    err_set(err, NULL, "Job '%s' in state '%s' cannot accept command verb '%s'", job->id,
            job_state_name[job->state], verb);
}

bool job_is_concluded(const struct job *job)
{
    return job->state == JOB_CONCLUDED;
}

bool job_dismiss(struct job *job, struct err *err)
{
    if (!job_is_concluded(job)) {
        job_refuse(job, "dismiss", err);
        return false;
    }
    job_enter(job, JOB_NULL);
    job_free(job);
    return true;
}

json_t *jobs_list(const struct jobs *jobs)
{
    json_t *list = json_array();
    const struct job *job;

    LIST_FOREACH(job, &jobs->list, next)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:s*}", "id", job->id,
                                              "type", job->type, "status",
                                              job_state_name[job->state], "current-progress",
                                              job->current, "total-progress", job->total, "error",
                                              job->error));
    return list;
}

bool jobs_is_internal(const char *id)
{
    return id && strncmp(id, "qsnap-", 6) == 0;
}
