/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * daemon: everything that one proxy has.
 *
 * Model: one event loop, one VM, many clients, at most one snapshot operation.  The parts know each
 * other through this struct; each has one file that changes it.
 */
#ifndef PROXY_DAEMON_H
#define PROXY_DAEMON_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "policy/args.h"
#include "policy/args_disks.h"
#include "proxy/slot.h"
#include "proxy/options.h"
#include "proxy/store.h"
#include "proxy/vm.h"
#include "proxy/worker.h"

struct cmdline;
struct listener_entry;

/* Answers of QEMU that stay the same while the process is the same: asked for once, and merged. */
enum daemon_list { DAEMON_LIST_COMMANDS, DAEMON_LIST_SCHEMA, DAEMON_LIST__COUNT };

struct daemon {
    struct event_base *base;
    struct options options;
    char *vm_name;
    bool name_made;             /* from the command line: nobody gave one */
    struct args *args;          /* the user's command line, monitors taken out; NULL: attached */
    struct args_disks args_disks;
    struct cmdline *cmdlines;   /* others that the VM ran with (cmdline.h) */
    char *pidfile;              /* -pidfile, or NULL */
    int pidfile_fd;             /* locked, as QEMU does */
    char *qemu_img;
    struct store *store;
    struct worker *worker;      /* for operations */
    struct worker *looker;      /* for queries, which do not wait for what an operation writes */
    struct vm *vm;
    struct operation *operation;        /* the one that runs, or NULL */
    struct jobs *jobs;
    struct leftovers *leftovers;
    struct observer *observer;
    char *stuck;                /* why the last operation could not be ended, or NULL */
    bool torn;                  /* and the guest's memory may not be that of its disks */
    bool waits_for_client;      /* QEMU is not started before a client came (wait=on) */
    bool ready;
    bool adopted;               /* QEMU was found running */
    char *greeting;             /* QEMU's, without the line's end */
    bool has_oob;
    struct { char *text; size_t len; } lists[DAEMON_LIST__COUNT];   /* text NULL: not known */
    struct client_limits limits;        /* and the clients */
    bool quitting;
    int exit_status;
    int lost_status;            /* what that is when no QEMU is left */
    LIST_HEAD(, listener_entry) listeners;
    struct event *signals[4];
};

void daemon_init(struct daemon *daemon);
void daemon_make_vm(struct daemon *daemon, const json_t *user_argv);
void daemon_free(struct daemon *daemon);

/* Sends a line to every client that has negotiated. */
void daemon_broadcast(struct daemon *daemon, const char *line, size_t len);

/* Sends an event of ours, stamped with the time.  data is stolen. */
void daemon_event(struct daemon *daemon, const char *name, json_t *data);

/* Another process is the VM now: what is kept outside about it follows.  Always true. */
bool daemon_process_changed(struct daemon *daemon);

/* Neither QEMU is there any more. */
void daemon_lost(struct daemon *daemon);

/* Ends the proxy with that status once everything that was said has been sent. */
void daemon_quit(struct daemon *daemon, int status);

#endif
