/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deeds: those that need the event loop are done here, the others go to the worker (deeds.h). */
#include <stdlib.h>
#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/deeds.h"
#include "proxy/durable.h"
#include "proxy/log.h"
#include "proxy/operation_internal.h"
#include "qmp/alloc.h"

/* How long commands of clients may take to end before a switch. */
#define DEED_HOLD_MS 5000
#define DEED_HOLD_POLL_MS 1

void operation_deed_finish(struct operation *op, bool ok, struct err *err)
{
    runner_deed_cb *done = op->deed_done;

    op->deed_done = NULL;
    op->step = NULL;
    done(op->runner, ok, err);
}

/* What a deed in the worker found out becomes part of the record. */
static void deed_take_result(struct operation *op, const char *name, json_t *result)
{
    json_t *after = json_object_get(op->plan, "after");
    const char *id, *file;
    json_t *print, *layer;

    if (strcmp(name, "memory-seal") == 0) {
        const char *snapshot = state_str(json_object_get(op->step, "args"), "snapshot");
        const json_t *owner = snapshot ? state_snapshot(after, snapshot)
                                       : json_object_get(op->plan, "present");

        json_object_update(json_object_get(owner, "memory"), result);
    } else if (strcmp(name, "present-print") == 0) {
        json_object_set(json_object_get(op->plan, "present"), "prints", result);
    } else if (strcmp(name, "layers-freeze") == 0) {
        json_object_foreach(result, id, print)
            json_object_set(state_layer(after, id), "print", print);
    } else if (strcmp(name, "overlay-create") == 0) {
        file = state_str(json_object_get(op->step, "args"), "file");
        json_object_foreach(json_object_get(after, "layers"), id, layer)
            if (strcmp(state_str(layer, "real"), file) == 0)
                json_object_set(layer, "ino", json_object_get(result, "ino"));
        if (!json_object_get(op->plan, "made"))
            json_object_set_new(op->plan, "made", json_object());
        json_object_set(json_object_get(op->plan, "made"), file, json_object_get(result, "print"));
    }
}

static void deed_worker_cb(void *arg, bool ok, json_t *result, struct err *err)
{
    struct operation *op = operation_box_open(arg);

    if (!op || !op->deed_done)
        return;
    if (ok && result)
        deed_take_result(op, state_str(op->step, "step"), result);
    operation_deed_finish(op, ok, err);
}

void operation_deed_in_worker(struct operation *op, worker_fn *fn, const json_t *args)
{
    json_t *mine = json_copy((json_t *)args);

    if (op->daemon->qemu_img)
        json_object_set_new(mine, "qemu-img", json_string(op->daemon->qemu_img));
    worker_run(op->daemon->worker, fn, mine, deed_worker_cb, operation_box_new(op));
    json_decref(mine);
}

/* ---- in the loop: each returns true when it is done at once ---- */

static void deed_vm_cb(void *arg, bool ok, struct err *err)
{
    struct operation *op = arg;

    if (op->deed_done)
        operation_deed_finish(op, ok, err);
}

static void deed_carried_cb(void *arg, bool ok, struct err *err)
{
    struct operation *op = arg;
    struct err mine = ERR_INIT;

    if (!ok)
        err_move(&mine, err);
    settings_carry_free(op->carry);
    op->carry = NULL;
    operation_deed_finish(op, ok, &mine);
    err_clear(&mine);
}

static void deed_carry_settings(struct operation *op, const json_t *args)
{
    op->carry = settings_carry_new(op->daemon->base, vm_next(op->daemon->vm), args, deed_carried_cb,
                                   op);
}

static void deed_start_process(struct operation *op, const json_t *args)
{
    const json_t *words = json_object_get(args, "argv");
    size_t n = json_array_size(words);
    char **argv = alloc_zeroed(n + 1, sizeof(*argv));

    for (size_t i = 0; i < n; i++)
        argv[i] = (char *)json_string_value(json_array_get(words, i));
    vm_start_next(op->daemon->vm, argv, json_is_true(json_object_get(args, "patient")), deed_vm_cb, op);
    free(argv);
}

static bool deed_write_state(struct operation *op, const json_t *args, struct err *err)
{
    const json_t *state = json_object_get(args, "state");

    return store_write(op->daemon->store, state ? state : json_object_get(op->plan, "after"), err);
}

/* What a revert by replace has kept of the VM is, or is no more, what a restart brings back. */
static bool deed_keep_present(struct operation *op, bool kept, struct err *err)
{
    const json_t *plan = op->journal ? json_object_get(op->journal, "plan") : op->plan;
    json_t *present = json_object_get(plan, "present");
    bool ok;

    json_object_set_new(present, "kept", json_boolean(kept));
    ok = op->journal ? store_write_journal(op->daemon->store, op->journal, err)
                     : runner_write_journal(op->runner, err);
    if (!ok)
        json_object_set_new(present, "kept", json_false());
    return ok;
}

/* The guest was let go on: the journal says so. */
static bool deed_note_resumed(struct operation *op, struct err *err)
{
    json_t *plan = op->journal ? json_object_get(op->journal, "plan") : op->plan;

    json_object_set_new(plan, "resumed", json_true());
    return op->journal ? store_write_journal(op->daemon->store, op->journal, err)
                       : runner_write_journal(op->runner, err);
}

/* Where there is no room to say that it is kept no more, it is not kept any more: what a restart does
 * not find it does not load. */
static bool deed_drop_present(struct operation *op, const json_t *args, struct err *err)
{
    const char *file = state_str(args, "file");
    struct err full = ERR_INIT;
    bool ok = deed_keep_present(op, false, err);

    if (ok || !file || !durable_remove_path(file, &full)) {
        err_clear(&full);
        return ok;
    }
    log_warn("%s", err->desc);
    err_clear(err);
    if (!deed_keep_present(op, false, &full)) /* there is room now, perhaps */
        log_warn("%s", full.desc);
    err_clear(&full);
    return true;
}

/* Deeds that are done when this returns. */
static bool deed_at_once(struct operation *op, const char *name, const json_t *args,
                         struct err *err)
{
    struct daemon *daemon = op->daemon;

    if (strcmp(name, "state-write") == 0 || strcmp(name, "snapshot-mark") == 0 ||
        strcmp(name, "state-return") == 0)
        return deed_write_state(op, args, err);
    if (strcmp(name, "snapshot-unmark") == 0) /* too late once a byte has moved */
        return json_is_true(json_object_get(op->plan, "moved")) ||
               deed_write_state(op, args, err);
    if (strcmp(name, "process-switch") == 0)
        return vm_switch(daemon->vm, err) && daemon_process_changed(daemon);
    if (strcmp(name, "clients-release") == 0) {
        operation_release_clients(op);
        return true;
    }
    if (strcmp(name, "present-keep") == 0)
        return deed_keep_present(op, true, err);
    if (strcmp(name, "present-drop") == 0)
        return deed_drop_present(op, args, err);
    if (strcmp(name, "resumed-note") == 0)
        return deed_note_resumed(op, err);
    if (strcmp(name, "commit") == 0) /* the last look before the first QEMU is ended */
        return vm_check_next(daemon->vm, err);
    if (strcmp(name, "settings-carry") == 0)
        return vm_check_next(daemon->vm, err);  /* it has gone */
    if (strcmp(name, "adopt-cancel") == 0) {
        json_object_set_new(op->plan, "adopt", json_false());
        return runner_write_journal(op->runner, err);
    }
    err_set(err, REASON_BAD_PLAN, "There is no deed '%s'", name);
    return false;
}

void operation_deed_timer_cb(evutil_socket_t fd, short what, void *arg)
{
    struct operation *op = arg;
    struct timeval poll = { .tv_usec = DEED_HOLD_POLL_MS * 1000 };
    struct err err = ERR_INIT;
    const char *name;
    bool ok;

    (void)fd;
    (void)what;
    if (!op->deed_done)
        return;
    name = state_str(op->step, "step");
    if (strcmp(name, "clients-hold") != 0) {
        ok = deed_at_once(op, name, json_object_get(op->step, "args"), &err);
        operation_deed_finish(op, ok, &err);
        err_clear(&err);
        return;
    }
    if (!vm_main(op->daemon->vm) || link_in_flight(vm_main(op->daemon->vm)) == 0) {
        operation_deed_finish(op, true, NULL);
    } else if (runner_now() < op->deed_deadline) {
        event_add(op->deed_timer, &poll);
    } else {
        link_hold(vm_main(op->daemon->vm), false);
        err_set(&err, REASON_BUSY, "A command of a client did not end within %d ms", DEED_HOLD_MS);
        operation_deed_finish(op, false, &err);
        err_clear(&err);
    }
}

static void deed_hold(struct operation *op)
{
    op->deed_deadline = runner_now() + DEED_HOLD_MS * 1000LL;
    link_hold(vm_main(op->daemon->vm), true);
}

void operation_release_clients(struct operation *op)
{
    struct vm *vm = op->daemon->vm;

    vm_leave_room(vm);
    if (vm_main(vm))
        link_hold(vm_main(vm), false);
}

/* Commands that wait go to the QEMU that follows. */
static void deed_end_process(struct operation *op, const json_t *args)
{
    vm_make_room(op->daemon->vm);
    vm_end_main(op->daemon->vm, json_is_true(json_object_get(args, "alone")), deed_vm_cb, op);
}

static void deed_answered_cb(void *arg, bool ok, struct err *err)
{
    struct operation *op = arg;
    struct timeval soon = { 0 };

    if (ok)
        event_add(op->deed_timer, &soon);
    else
        deed_vm_cb(op, false, err);
}

void operation_deed(void *arg, struct runner *runner, const json_t *step, runner_deed_cb *done)
{
    struct operation *op = arg;
    const char *name = state_str(step, "step");
    const json_t *args = json_object_get(step, "args");
    worker_fn *fn = deeds_find(name);
    struct timeval soon = { 0 };

    (void)runner;
    op->step = step;
    op->deed_done = done;
    if (fn && deeds_unlinks(name)) {
        operation_remove(op);
    } else if (fn) {
        operation_deed_in_worker(op, fn, args);
    } else if (strcmp(name, "process-start") == 0) {
        deed_start_process(op, args);
    } else if (strcmp(name, "settings-carry") == 0 && vm_next(op->daemon->vm)) {
        deed_carry_settings(op, args);
    } else if (strcmp(name, "process-discard") == 0) {
        vm_discard_next(op->daemon->vm, deed_vm_cb, op);
    } else if (strcmp(name, "process-end") == 0) {
        deed_end_process(op, args);
    } else if (strcmp(name, "process-switch") == 0 && json_is_true(json_object_get(step, "can-return"))) {
        vm_ask_next(op->daemon->vm, deed_answered_cb, op);
    } else if (strcmp(name, "clients-hold") == 0) {
        deed_hold(op);
        event_add(op->deed_timer, &soon);
    } else {
        event_add(op->deed_timer, &soon); /* done() is never called from in here */
    }
}
