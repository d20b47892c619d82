/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_qemu: a simulated QEMU process, as strict as a real one where the proxy relies on it.
 *
 * Model: it is made from a command line (sim_open.c), has a block graph (sim_graph.c), jobs that get on
 * when they are looked at (sim_jobs.c), a machine with a run state and a migration (sim_machine.c), and
 * monitors (sim_monitor.c).  Its guest is the oracle of the whole simulation: each time that it runs it
 * writes one number, greater than any before, into its memory and into the first block of every disk;
 * when a machine goes on with disks whose number is not that of its memory, they do not belong together
 * (sim_guest.c).
 *
 * What QEMU refuses is refused, and what kills QEMU kills it.
 *
 * The processes outlive the proxy; sim_process.c gives them to it as proxy/process.h does.
 */
#ifndef TESTS_SIM_QEMU_H
#define TESTS_SIM_QEMU_H

#include <event2/buffer.h>
#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "tests/sim/sim_host.h"

struct sim_qemu;

/* An image, the file below it, or a filter. */
struct sim_node {
    struct sim_node *next;
    struct sim_qemu *qemu;
    char *name, *driver;
    char *path;                     /* of the file that it stands on */
    struct sim_node *file, *backing;
    bool write;
    bool owned;                     /* by the monitor: it stays until blockdev-del */
    bool marked;
};

struct sim_disk {
    char *device, *qdev, *type;     /* device "": of a -blockdev */
    struct sim_node *root;
    bool read_only;
};

#define SIM_DISKS_MAX 8

enum sim_job_state {
    SIM_JOB_RUNNING,
    SIM_JOB_READY,
    SIM_JOB_PENDING,
    SIM_JOB_CONCLUDED,
    SIM_JOB__COUNT
};

struct sim_job {
    struct sim_job *next;
    char *id;
    const char *type;               /* "commit", "stream", "snapshot-save", ... */
    enum sim_job_state state;
    bool dismiss, finalize;         /* auto-dismiss, auto-finalize */
    bool follows;                   /* commit of an active layer: READY */
    const char *error;
    unsigned ticks;
    struct sim_node *top, *base, *filter;
    char *backing_file;             /* what is written into the header above, or NULL */
};

struct sim_conn;

/* How one command goes wrong. */
enum sim_trouble {
    SIM_FINE,
    SIM_REFUSE,                     /* an error, and nothing happens */
    SIM_DONE_REFUSED,               /* an error, but it happens */
    SIM_LOSE,                       /* nothing happens, and no answer ever comes */
    SIM_SILENT,                     /* it happens, and no answer ever comes */
    SIM_CUT_BEFORE,                 /* the connection ends, and nothing happens */
    SIM_CUT_AFTER,                  /* the connection ends when it has happened */
    SIM_LATE,                       /* it happens, and QEMU does nothing more for SIM_LATE_US; then it
                                     * answers, and goes on with what has come meanwhile */
    SIM_DIE_BEFORE,                 /* the process dies */
    SIM_DIE_AFTER,
    SIM_TROUBLE__COUNT
};

extern const char *const sim_trouble_name[SIM_TROUBLE__COUNT];

/* Longer than anybody waits. */
#define SIM_LATE_US 45000000

struct sim_qemu {
    struct sim_qemu *next;
    int pid, version;               /* 7 or 10 */
    unsigned serial;                /* of all that were started in this simulation */
    bool alive, aborted;            /* aborted: by a bug of QEMU that must not be met */
    json_t *argv;
    struct sim_node *nodes;
    struct sim_disk disks[SIM_DISKS_MAX];
    size_t n_disks;
    unsigned last_node;
    struct sim_job *jobs;
    const char *status;
    bool cold;                      /* it was started to run at once, not to load anything */
    bool autostart, inactive;       /* inactive: the images are not its own now */
    const char *migration;          /* NULL: none was begun */
    unsigned migration_ticks;
    json_t *outgoing;               /* descriptor that is written to */
    json_t *fds, *capabilities, *parameters, *devices;
    json_t *memory;                 /* { serial, disks: {qdev: number} }; NULL: it has not run */
    json_t *loaded;                 /* the memory that it was last given, or has begun with */
    bool given;                     /* it was given some */
    unsigned idle;                  /* commands since the guest ran */
    struct sim_conn *conns;
    struct event_base *base;
    int listens[2];
    struct event *listen_events[2];
    /* trouble: the command that goes wrong, by its number among those that are no queries */
    long trouble_at;
    enum sim_trouble trouble;
    bool trouble_met;
    json_t *log;                    /* the names of those commands */
    void (*on_exit)(struct sim_qemu *qemu, int status);
};

/* ---- sim_process.c: processes ---- */

/* All of them; those that have ended stay listed. */
struct sim_qemu *sim_qemu_first(void);
struct sim_qemu *sim_qemu_find(int pid);
struct sim_qemu *sim_qemu_start(char *const argv[]);
/* At once; status as of waitpid(). */
void sim_qemu_end(struct sim_qemu *qemu, int status);
void sim_qemu_end_all(void);
/* For the next one that is started: its trouble.  And which version that is. */
void sim_qemu_next_trouble(unsigned serial, long at, enum sim_trouble trouble);
void sim_qemu_next_version(int version);
/* Nothing goes wrong any more. */
void sim_qemu_no_trouble(void);
unsigned sim_qemu_count(void);

/* ---- sim_monitor.c ---- */

/* Serves what connects to these sockets, in that loop; the descriptors are duplicated. */
void sim_monitor_listen(struct sim_qemu *qemu, const int *fds, size_t n);
void sim_monitor_attach(struct sim_qemu *qemu, struct event_base *base);
/* The loop is going away: all connections end. */
void sim_monitor_detach(struct sim_qemu *qemu);
void sim_monitor_close(struct sim_qemu *qemu);
/* data is stolen. */
void sim_monitor_event(struct sim_qemu *qemu, const char *name, json_t *data);

/* ---- sim_open.c: what a command line opens; NULL: it refuses to start, and says why ---- */
const char *sim_open(struct sim_qemu *qemu, char *const argv[]);

/* ---- sim_graph.c: nodes; errors are sentences (static), NULL: none ---- */

struct sim_node *sim_node_find(const struct sim_qemu *qemu, const char *name);
/* An image node (name NULL: it gets one) and the file below it, and nothing below the image; NULL: *error. */
struct sim_node *sim_node_open(struct sim_qemu *qemu, const char *name, const char *driver,
                               const char *path, bool write, const char **error);
/* What its header names, and so on; names[depth] and those behind are their nodes' names, if they have any. */
const char *sim_node_open_backing(struct sim_node *node, const json_t *names, unsigned depth);
/* A node without a file of its own. */
struct sim_node *sim_node_add(struct sim_qemu *qemu, const char *name, const char *driver);
/* new: a name that no other has. */
char *sim_node_name(struct sim_qemu *qemu);
/* Locks all files as the nodes say; false: somebody else has one. */
bool sim_graph_lock(struct sim_qemu *qemu);
/* Closes what nobody has any more. */
void sim_graph_sweep(struct sim_qemu *qemu);
void sim_graph_clear(struct sim_qemu *qemu);
/* Who stands on it: nodes and disks. */
size_t sim_node_users(const struct sim_node *node);
/* All that stood on one node stands on the other. */
void sim_node_replace(struct sim_node *from, struct sim_node *to);
/* The image below the filters. */
struct sim_node *sim_node_image(struct sim_node *node);
struct sim_disk *sim_disk_find(struct sim_qemu *qemu, const char *path);
bool sim_node_busy(const struct sim_qemu *qemu, const struct sim_node *node);

/* ---- sim_block.c: block commands; the error, or NULL ---- */
const char *sim_blockdev_add(struct sim_qemu *qemu, const json_t *args);
const char *sim_blockdev_del(struct sim_qemu *qemu, const json_t *args);
const char *sim_transaction(struct sim_qemu *qemu, const json_t *args);
const char *sim_snapshot(struct sim_qemu *qemu, const json_t *args);
const char *sim_snapshot_sync(struct sim_qemu *qemu, const json_t *args);
const char *sim_qom_set(struct sim_qemu *qemu, const json_t *args);

/* ---- sim_query.c ---- */
/* new: the answer to a query; NULL: *error. */
json_t *sim_query(struct sim_qemu *qemu, const char *execute, const json_t *args, const char **error);

/* ---- sim_jobs.c ---- */
const char *sim_job_command(struct sim_qemu *qemu, const char *execute, const json_t *args);
/* All jobs get on. */
void sim_jobs_tick(struct sim_qemu *qemu);
void sim_jobs_clear(struct sim_qemu *qemu);
/* new */
json_t *sim_jobs_list(const struct sim_qemu *qemu);

/* ---- sim_state_jobs.c: snapshot-save, -load, -delete ---- */
const char *sim_state_job(struct sim_qemu *qemu, const char *execute, const json_t *args);
struct sim_job *sim_job_add(struct sim_qemu *qemu, const char *id, const char *type, const char **error);
void sim_job_enter(struct sim_qemu *qemu, struct sim_job *job, enum sim_job_state state);
void sim_state_job_tick(struct sim_qemu *qemu, struct sim_job *job);

/* ---- sim_machine.c ---- */
/* error: a sentence, static; the value is new. */
json_t *sim_machine_do(struct sim_qemu *qemu, const char *execute, const json_t *args, const char **error);
void sim_machine_tick(struct sim_qemu *qemu);
void sim_machine_start(struct sim_qemu *qemu);
void sim_machine_clear(struct sim_qemu *qemu);

/* ---- sim_guest.c ---- */
/* The guest runs a little. */
void sim_guest_run(struct sim_qemu *qemu);
/* It starts, or goes on: are its disks those of its memory? */
void sim_guest_go_on(struct sim_qemu *qemu);
void sim_guest_load(struct sim_qemu *qemu, const json_t *memory);
/* borrowed: the last state that any guest was in that ran; NULL: none has. */
const json_t *sim_guest_present(void);
void sim_guest_reset(void);
/* The greatest number that any guest has written. */
long sim_guest_serial(void);
/* What a file holds from the moment on that an overlay was put on it; NULL: that never happened. */
void sim_guest_freeze(const char *path);
const json_t *sim_guest_frozen(const char *path);

#endif
