/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * store: the VM's state folder.
 *
 *   state.json     the record (policy/state.h)
 *   journal.json   only while an operation is open: { format, committed, plan }
 *   memory/        saved memory
 *   qemu.sock      QEMU's private monitor; qemu.next.sock while a second QEMU loads
 *   qemu.pid       its pid, for people and scripts
 *   late-N-M       sockets of a second QEMU before they are moved into place (policy/planner_late.h)
 *   process.json   { format, pid, start, argv, boot }: to find it again; argv as the user wrote it, boot the
 *                  kernel's id of its run
 *   process.next.json, qemu.next.pid   the same of a second QEMU, while there is one; they take the
 *                  places of the first one's, for which no room is needed
 *
 * Model: where the folder cannot be written the VM runs all the same.  A record that could not be written
 * is kept (unwritten), and so is the journal that led to it; store_settle() makes up for that.  Where
 * there is no such folder, or no socket can be made in it, QEMU's sockets are in a temporary one, and
 * nothing can be recorded until the next start (why).
 *
 * Rules: mode 0700, owned by us, one proxy at a time (flock on the folder).  Every file is replaced
 * as a whole (durable.h).  Before the first journal or record is written in it, the folder itself and those
 * on the way to it are on the disk.  A newer format is refused, not guessed at.
 */
#ifndef PROXY_STORE_H
#define PROXY_STORE_H

#include <jansson.h>
#include <stdbool.h>

#include "qmp/err.h"

/* Names of files, for the store's own sources. */
#define STORE_STATE "state.json"
#define STORE_MEMORY "memory"
#define STORE_PROCESS "process.json"
#define STORE_PROCESS_NEXT "process.next.json"

#define STORE_SOCKET "qemu.sock"
#define STORE_SOCKET_NEXT "qemu.next.sock"
/* A second monitor of each, for large requests. */
#define STORE_BULK "qemu.bulk.sock"
#define STORE_BULK_NEXT "qemu.next.bulk.sock"
#define STORE_PID "qemu.pid"
#define STORE_PID_NEXT "qemu.next.pid"
#define STORE_LOG "qemu.log"        /* with -daemonize */

struct store {
    char *path;             /* absolute */
    char *memory_path;      /* absolute */
    int dirfd;              /* -1: it cannot be made */
    int run_fd;             /* where QEMU's sockets and process.json are: it, or a temporary folder */
    char *run_path;         /* of the latter; NULL: there is none */
    struct err why;         /* set: nothing can be recorded */
    json_t *state;          /* what is on disk, but for unwritten */
    bool unwritten;
    bool anchored;          /* the folder itself is on the disk */
    bool over;              /* there may be a journal of an operation that is over */
};

/* new: the default folder of the VM called name. */
char *store_default_path(const char *name);

/* Makes the folder when it is not there, locks it, reads the record. */
struct store *store_open(const char *path, struct err *err);
/* Removes the folder if nothing was ever recorded in it and no QEMU is left. */
void store_remove_unused(struct store *store);
void store_free(struct store *store);

/* Can anything be recorded at all? */
bool store_writes(const struct store *store, struct err *err);
/* Finds out where QEMU's sockets can be, before it is started. */
bool store_find_place(struct store *store, struct err *err);
/* Can operations be recorded?  What could not be written before is written now. */
bool store_settle(struct store *store, struct err *err);
/* Removes the temporary folder, if there is one. */
void store_leave_place(struct store *store);
/* Sets store->state, to be written when that is possible. */
void store_keep(struct store *store, const json_t *state);

/* state is borrowed; on success store->state is a copy of it. */
bool store_write(struct store *store, const json_t *state, struct err *err);

/* Where there is no room for it the record is kept, and the journal with it: the next start decides as
 * this one did, so that nothing may be removed that the record on the disk names. */
void store_write_or_keep(struct store *store, const json_t *state);

bool store_write_journal(struct store *store, const json_t *journal, struct err *err);
/* new: the journal, which is on the disk then, or NULL in *out when there is none. */
bool store_read_journal(struct store *store, json_t **out, struct err *err);
/* The operation is over.  Where that fails, it is tried again before the record is written. */
bool store_remove_journal(struct store *store, struct err *err);

bool store_write_process(struct store *store, long pid, unsigned long long start,
                         const json_t *argv, struct err *err);
bool store_write_next(struct store *store, long pid, unsigned long long start, const json_t *argv,
                      struct err *err);
/* The second one, of that pid, is the first now: its record as well, by a rename, which needs no room. */
bool store_promote_next(struct store *store, long pid, struct err *err);
/* qemu.pid alone, which is for people: a warning where that fails. */
void store_tell_pid(struct store *store, long pid);
/* new: process.json (or that of the second one), or NULL in *out, also when it is of before the last boot. */
bool store_read_process(struct store *store, bool next, json_t **out, struct err *err);
/* All that says how to find QEMU; or only what says so of the second one; or which process the first was. */
void store_forget_process(struct store *store);
void store_forget_main(struct store *store);
void store_forget_next(struct store *store);

/* Removes sockets that a second QEMU had made aside and that were never moved into place. */
void store_sweep_aside(struct store *store);

/* Removes files in memory/ that the record does not name. */
void store_sweep_memory(struct store *store);

#endif
