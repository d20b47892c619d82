/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of a state folder by which a later proxy finds QEMU, and a second one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "policy/state.h"
#include "proxy/durable.h"
#include "proxy/log.h"
#include "proxy/store.h"

/* new: which run of the kernel this is; NULL: it does not say. */
static json_t *store_boot(void)
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    char text[64];
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return NULL;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return json_string(text);
}

static bool store_write_pid(struct store *store, const char *file, long pid, struct err *err)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld\n", pid);
    return durable_write(store->run_fd, file, text, strlen(text), err);
}

static bool store_write_found(struct store *store, const char *file, const char *pid_file, long pid,
                              unsigned long long start, const json_t *argv, struct err *err)
{
    json_t *process = json_pack("{s:i, s:I, s:I, s:O, s:o*}", "format", STATE_FORMAT, "pid", (json_int_t)pid,
                                "start", (json_int_t)start, "argv", argv, "boot", store_boot());
    bool ok = store_writes(store, err) && durable_write_json(store->run_fd, file, process, err) &&
              store_write_pid(store, pid_file, pid, err);

    json_decref(process);
    return ok;
}

bool store_write_process(struct store *store, long pid, unsigned long long start,
                         const json_t *argv, struct err *err)
{
    return store_write_found(store, STORE_PROCESS, STORE_PID, pid, start, argv, err);
}

bool store_write_next(struct store *store, long pid, unsigned long long start, const json_t *argv,
                      struct err *err)
{
    return store_write_found(store, STORE_PROCESS_NEXT, STORE_PID_NEXT, pid, start, argv, err);
}

void store_tell_pid(struct store *store, long pid)
{
    struct err err = ERR_INIT;

    if (!store_write_pid(store, STORE_PID, pid, &err))
        log_warn("%s", err.desc);
    err_clear(&err);
}

bool store_promote_next(struct store *store, long pid, struct err *err)
{
    int fd = store->run_fd;

    /* Nothing is synced: behind a power cut there is no such process. */
    if (renameat(fd, STORE_PROCESS_NEXT, fd, STORE_PROCESS) < 0) {
        durable_errno(err, errno, "rename", STORE_PROCESS_NEXT);
        return false;
    }
    if (renameat(fd, STORE_PID_NEXT, fd, STORE_PID) < 0)
        store_tell_pid(store, pid);
    return true;
}

bool store_read_process(struct store *store, bool next, json_t **out, struct err *err)
{
    const json_t *then;
    json_t *now;

    *out = NULL;
    if (store->run_fd < 0)
        return true;
    if (!durable_read_json(store->run_fd, next ? STORE_PROCESS_NEXT : STORE_PROCESS, out, err))
        return false;
    /* Behind a boot another process may have the same pid and the same start time. */
    then = json_object_get(*out, "boot");
    now = then ? store_boot() : NULL;
    if (now && !json_equal(then, now)) {
        json_decref(*out);
        *out = NULL;
    }
    json_decref(now);
    return true;
}

void store_forget_next(struct store *store)
{
    unlinkat(store->run_fd, STORE_PROCESS_NEXT, 0);
    unlinkat(store->run_fd, STORE_PID_NEXT, 0);
    unlinkat(store->run_fd, STORE_SOCKET_NEXT, 0);
    unlinkat(store->run_fd, STORE_BULK_NEXT, 0);
}

void store_forget_main(struct store *store)
{
    unlinkat(store->run_fd, STORE_PROCESS, 0);
    unlinkat(store->run_fd, STORE_PID, 0);
}

void store_forget_process(struct store *store)
{
    store_forget_main(store);
    unlinkat(store->run_fd, STORE_SOCKET, 0);
    unlinkat(store->run_fd, STORE_BULK, 0);
    store_forget_next(store);
}
