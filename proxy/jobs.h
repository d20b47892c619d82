/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * jobs: snapshot operations as jobs, beside QEMU's own.
 *
 * Model: states and events are those of QEMU's JobStatus (qapi/job.json): created, running, then
 * concluded (with error or not), then null.  A job that the client named waits in "concluded" for
 * its job-dismiss; others go by themselves.
 */
#ifndef PROXY_JOBS_H
#define PROXY_JOBS_H

#include <jansson.h>
#include <stdbool.h>

#include "qmp/err.h"

struct daemon;
struct jobs;
struct job;

struct jobs *jobs_new(struct daemon *daemon);
void jobs_free(struct jobs *jobs);

/* id NULL: one is made up, and the job goes by itself.  NULL with err: the id is in use. */
struct job *jobs_add(struct jobs *jobs, const char *id, const char *type, struct err *err);
/* borrowed until the job is gone. */
const char *job_id(const struct job *job);
void job_run(struct job *job);
void job_progress(struct job *job, json_int_t current, json_int_t total);
/* error: NULL or the sentence; the job may be gone afterwards. */
void job_conclude(struct job *job, const char *error);

/* NULL when there is none. */
struct job *jobs_find(struct jobs *jobs, const char *id);
bool job_dismiss(struct job *job, struct err *err);
bool job_is_concluded(const struct job *job);
/* Refuses a verb that the job's state does not allow, in QEMU's words. */
void job_refuse(const struct job *job, const char *verb, struct err *err);

/* new: entries for query-jobs. */
json_t *jobs_list(const struct jobs *jobs);

/* Is it the id of a job of QEMU's that only serves a step? */
bool jobs_is_internal(const char *id);

#endif
