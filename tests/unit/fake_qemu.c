/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/fake_qemu.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "policy/state.h"
#include "qmp/alloc.h"

const char *const fake_trouble_name[FAKE__COUNT] = {
    [FAKE_FINE] = "fine", [FAKE_REFUSE] = "refused",
    [FAKE_DONE_REFUSED] = "done and refused",
    [FAKE_IGNORE] = "ignored",
    [FAKE_CUT_BEFORE] = "cut before",
    [FAKE_CUT_AFTER] = "cut after",
    [FAKE_SILENT] = "silent",
    [FAKE_LATE] = "late",
};

/* ---- what commands do ---- */

static json_t *fake_member(struct fake_qemu *fake, const char *name)
{
    return json_object_get(fake->vm, name);
}

static void fake_set(json_t *object, const char *key, const char *value)
{
    json_object_set_new(object, key, json_string(value));
}

static void fake_transaction(struct fake_qemu *fake, const json_t *args)
{
    json_t *action, *disks = fake_member(fake, "disks"), *on;
    const char *device;
    size_t i;

    json_array_foreach(json_object_get(args, "actions"), i, action) {
        const json_t *data = json_object_get(action, "data");

        json_object_foreach(disks, device, on)
            if (json_equal(on, json_object_get(data, "node")))
                json_object_set(disks, device, json_object_get(data, "overlay"));
    }
}

/* The end of a commit of an active layer: the disk sits on the base from now on. */
static void fake_pivot(struct fake_qemu *fake, const char *id)
{
    const json_t *job = json_object_get(fake_member(fake, "commits"), id);

    if (json_object_get(fake_member(fake, "disks"), state_str(job, "device")))
        json_object_set(fake_member(fake, "disks"), state_str(job, "device"),
                        json_object_get(job, "base-node"));
}

static void fake_job(struct fake_qemu *fake, const char *execute, const json_t *args)
{
    json_t *jobs = fake_member(fake, "jobs");
    const char *id = state_str(args, "id");

    if (strcmp(execute, "block-commit") == 0) {
        bool active = !json_object_get(args, "top-node");

        fake_set(jobs, state_str(args, "job-id"), active ? "ready" : "pending");
        if (active)
            json_object_set_new(fake_member(fake, "commits"), state_str(args, "job-id"),
                                json_deep_copy(args));
    } else if (strcmp(execute, "block-stream") == 0) {
        fake_set(jobs, state_str(args, "job-id"), "pending");
    } else if (strcmp(execute, "job-complete") == 0) {
        fake_set(jobs, id, "pending");
    } else if (strcmp(execute, "job-finalize") == 0) {
        fake_set(jobs, id, "concluded");
        fake_pivot(fake, id);
    } else if (strcmp(execute, "job-dismiss") == 0) {
        json_object_del(jobs, id);
    } else if (json_object_get(jobs, state_str(args, "device"))) {
        fake_set(jobs, state_str(args, "device"), "concluded");     /* block-job-cancel */
    }
}

/* QEMU aborts when a device is given the node that it has. */
static void fake_qom_set(struct fake_qemu *fake, const json_t *args)
{
    const char *device = state_str(fake_member(fake, "paths"), state_str(args, "path"));
    json_t *disks = fake_member(fake, "disks");

    assert_non_null(device);
    if (json_equal(json_object_get(disks, device), json_object_get(args, "value")))
        json_object_set_new(fake->vm, "aborted", json_true());
    json_object_set(disks, device, json_object_get(args, "value"));
}

/* A node into which nothing was saved has a snapshot. */
static void fake_snapshot(struct fake_qemu *fake, const char *execute, const json_t *args)
{
    const char *node = state_str(args, "vmstate");
    json_t *saved = fake_member(fake, "saved");

    fake_set(fake_member(fake, "jobs"), state_str(args, "job-id"), "concluded");
    if (strcmp(execute, "snapshot-save") == 0)
        json_object_set(saved, node, fake_member(fake, "memory"));
    else if (json_object_get(saved, node))
        json_object_set(fake->vm, "memory", json_object_get(saved, node));
    else
        fake_set(fake->vm, "memory", "snapshot");
}

/* The guest runs on what it has: the disks of another moment tear it. */
static void fake_cont(struct fake_qemu *fake)
{
    bool snapshot = strcmp(state_str(fake->vm, "memory"), "snapshot") == 0;
    const char *device;
    json_t *node;

    fake_set(fake->vm, "status", "running");
    json_object_foreach(fake_member(fake, "first"), device, node)
        if (fake_member(fake, "in-place") &&
            json_equal(node, json_object_get(fake_member(fake, "disks"), device)) == snapshot)
            json_object_set_new(fake->vm, "torn", json_true());
}

static void fake_settings(struct fake_qemu *fake, const json_t *args)
{
    json_t *item;
    size_t i;

    if (!json_object_get(args, "capabilities"))
        json_object_update(fake_member(fake, "parameters"), (json_t *)args);
    json_array_foreach(json_object_get(args, "capabilities"), i, item)
        json_object_set(fake_member(fake, "capabilities"), state_str(item, "capability"),
                        json_object_get(item, "state"));
}

static void fake_do(struct fake_qemu *fake, const char *execute, const json_t *args)
{
    if (strcmp(execute, "stop") == 0) {
        fake_set(fake->vm, "status", "paused");
    } else if (strcmp(execute, "cont") == 0) {
        fake_cont(fake);
    } else if (strcmp(execute, "qom-set") == 0) {
        fake_qom_set(fake, args);
    } else if (strncmp(execute, "snapshot-", 9) == 0) {
        fake_snapshot(fake, execute, args);
    } else if (strcmp(execute, "blockdev-add") == 0) {
        json_object_set_new(fake_member(fake, "nodes"), state_str(args, "node-name"), json_true());
    } else if (strcmp(execute, "blockdev-del") == 0) {
        json_object_del(fake_member(fake, "nodes"), state_str(args, "node-name"));
    } else if (strcmp(execute, "transaction") == 0) {
        fake_transaction(fake, args);
    } else if (strcmp(execute, "migrate") == 0) {
        fake_set(fake->vm, "migration", "completed");
        fake_set(fake->vm, "status", "postmigrate");
    } else if (strcmp(execute, "migrate-incoming") == 0) {
        fake_set(fake->vm, "migration", "completed");
        fake_set(fake->vm, "status", "paused");
    } else if (strncmp(execute, "migrate-set-", 12) == 0) {
        fake_settings(fake, args);
    } else if (strstr(execute, "job") || strcmp(execute, "block-commit") == 0 ||
               strcmp(execute, "block-stream") == 0) {
        fake_job(fake, execute, args);
    }
}

/* ---- what queries tell ---- */

static json_t *fake_list(const json_t *object, const char *fmt)
{
    json_t *out = json_array(), *value;
    const char *key;

    json_object_foreach((json_t *)object, key, value)
        json_array_append_new(out, strcmp(fmt, "node") == 0
                                       ? json_pack("{s:s, s:s, s:b}", "node-name", key, "drv", "qcow2", "ro", 0)
                              : strcmp(fmt, "job") == 0
                                  ? json_pack("{s:s, s:O}", "id", key, "status", value)
                              : strcmp(fmt, "capability") == 0
                                  ? json_pack("{s:s, s:O}", "capability", key, "state", value)
                                  : json_pack("{s:s, s:{s:O}}", "device", key, "inserted",
                                              "node-name", value));
    return out;
}

static json_t *fake_jobs(struct fake_qemu *fake)
{
    json_t *list = fake_list(fake_member(fake, "jobs"), "job"), *job;
    size_t i;

    json_array_foreach(list, i, job)
        json_object_update(job, json_object_get(fake_member(fake, "progress"), state_str(job, "id")));
    return list;
}

static json_t *fake_query(struct fake_qemu *fake, const char *execute)
{
    if (strcmp(execute, "query-version") == 0)
        return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", 7, "minor", 2, "micro", 0,
                         "package", "");
    if (strcmp(execute, "query-status") == 0)
        return json_pack("{s:O}", "status", fake_member(fake, "status"));
    if (strcmp(execute, "query-named-block-nodes") == 0)
        return fake_list(fake_member(fake, "nodes"), "node");
    if (strcmp(execute, "query-jobs") == 0)
        return fake_jobs(fake);
    if (strcmp(execute, "query-block") == 0)
        return fake_list(fake_member(fake, "disks"), "disk");
    if (strcmp(execute, "query-migrate-capabilities") == 0)
        return fake_list(fake_member(fake, "capabilities"), "capability");
    if (strcmp(execute, "query-migrate-parameters") == 0)
        return json_incref(fake_member(fake, "parameters"));
    if (strcmp(execute, "query-migrate") == 0)
        return json_pack("{s:O*, s:O*}", "status", fake_member(fake, "migration"), "ram",
                         fake_member(fake, "ram"));
    return json_object();
}

/* ---- the connection ---- */

static void fake_write(struct fake_qemu *fake, const char *text)
{
    if (fake->fd >= 0)
        assert_true(write(fake->fd, text, strlen(text)) == (ssize_t)strlen(text));
}

void fake_close(struct fake_qemu *fake)
{
    if (fake->fd < 0)
        return;
    event_del(fake->read_event);
    close(fake->fd);
    fake->fd = -1;
}

static char *fake_answer(const json_t *id, json_t *value, bool refused)
{
    json_t *answer = refused ? json_pack("{s:{s:s, s:s}, s:O}", "error", "class", "GenericError",
                                         "desc", "no", "id", id)
                             : json_pack("{s:O, s:O}", "return", value, "id", id);
    char *dump = json_dumps(answer, JSON_COMPACT), *text = alloc_print("%s\r\n", dump);

    free(dump);
    json_decref(answer);
    json_decref(value);
    return text;
}

/* One command that is no query. */
static void fake_command(struct fake_qemu *fake, const char *execute, const json_t *message)
{
    enum fake_trouble trouble =
        json_array_size(fake->log) == fake->at ? fake->trouble : FAKE_FINE;
    struct timeval late = { .tv_usec = FAKE_LATE_MS * 1000 };
    char *text;

    json_array_append_new(fake->log, json_string(execute));
    if (trouble == FAKE_IGNORE &&
        (strcmp(execute, "migrate") == 0 || strcmp(execute, "migrate-incoming") == 0))
        fake_set(fake->vm, "migration", "failed");
    else if (trouble != FAKE_REFUSE && trouble != FAKE_IGNORE && trouble != FAKE_CUT_BEFORE)
        fake_do(fake, execute, json_object_get(message, "arguments"));
    if (trouble == FAKE_SILENT)
        return;
    if (trouble == FAKE_CUT_BEFORE || trouble == FAKE_CUT_AFTER) {
        fake_close(fake);
        return;
    }
    text = fake_answer(json_object_get(message, "id"), json_object(),
                       trouble == FAKE_REFUSE || trouble == FAKE_DONE_REFUSED);
    if (trouble == FAKE_LATE) {
        fake->late = text;
        event_add(fake->late_event, &late);
        return;
    }
    fake_write(fake, text);
    free(text);
}

static void fake_message(struct fake_qemu *fake, const json_t *message)
{
    const char *execute = state_str(message, "execute");
    char *text;

    assert_non_null(execute);
    if (strncmp(execute, "query-", 6) != 0 && strncmp(execute, "x-debug-", 8) != 0 &&
        strncmp(execute, "qom-", 4) != 0 &&
        strcmp(execute, "qmp_capabilities") != 0) {
        fake_command(fake, execute, message);
        return;
    }
    if (fake->deaf)
        return;
    if (fake->asked)
        fake->asked(fake, execute, fake->asked_arg);
    text = fake_answer(json_object_get(message, "id"), fake_query(fake, execute), false);
    fake_write(fake, text);
    free(text);
}

static void fake_work(struct fake_qemu *fake)
{
    while (fake->fd >= 0 && !fake->late) {
        size_t len = evbuffer_get_length(fake->in);
        const char *data = (const char *)evbuffer_pullup(fake->in, -1);
        json_error_t error;
        json_t *message = len ? json_loadb(data, len, JSON_DISABLE_EOF_CHECK, &error) : NULL;

        if (!message)
            return;
        evbuffer_drain(fake->in, (size_t)error.position);
        fake_message(fake, message);
        json_decref(message);
    }
}

static void fake_read_cb(evutil_socket_t fd, short what, void *arg)
{
    struct fake_qemu *fake = arg;

    (void)what;
    if (evbuffer_read(fake->in, fd, -1) <= 0)
        fake_close(fake);
    else
        fake_work(fake);
}

static void fake_late_cb(evutil_socket_t fd, short what, void *arg)
{
    struct fake_qemu *fake = arg;

    (void)fd;
    (void)what;
    fake_write(fake, fake->late);
    free(fake->late);
    fake->late = NULL;
    fake_work(fake);
}

static void fake_ready(void *arg)
{
    ((struct fake_qemu *)arg)->ready = true;
}

static void fake_event(void *arg, const char *text, size_t len, const struct message_reply *reply)
{
    (void)arg;
    (void)text;
    (void)len;
    (void)reply;
}

static void fake_closed(void *arg)
{
    (void)arg;
}

static const struct link_ops fake_ops = {
    .ready = fake_ready,
    .event = fake_event,
    .closed = fake_closed,
};

struct fake_qemu *fake_new(struct event_base *base, json_t *vm)
{
    struct fake_qemu *fake = alloc_zeroed(1, sizeof(*fake));
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    fake->base = base;
    fake->vm = vm;
    json_object_update_new(vm, json_pack("{s:{}, s:{}, s:s, s:o}", "commits", "saved", "memory", "present",
                                         "first", json_deep_copy(json_object_get(vm, "disks"))));
    fake->log = json_array();
    fake->at = (size_t)-1;
    fake->fd = pair[0];
    fake->in = evbuffer_new();
    fake->read_event = event_new(base, pair[0], EV_READ | EV_PERSIST, fake_read_cb, fake);
    fake->late_event = event_new(base, -1, 0, fake_late_cb, fake);
    event_add(fake->read_event, NULL);
    fake->link = link_new(base, pair[1], &fake_ops, fake);
    fake_write(fake, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, "
                     "\"major\": 7}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n");
    while (!fake->ready)
        event_base_loop(base, EVLOOP_ONCE);
    return fake;
}

void fake_free(struct fake_qemu *fake)
{
    link_free(fake->link);
    fake_close(fake);
    event_free(fake->read_event);
    event_free(fake->late_event);
    evbuffer_free(fake->in);
    free(fake->late);
    json_decref(fake->vm);
    json_decref(fake->log);
    free(fake);
}
