/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/durable.h"
#include "proxy/in_use.h"
#include "proxy/log.h"
#include "qmp/alloc.h"

#define STORE_JOURNAL "journal.json"
#define STORE_PROCESS "process.json"
#define STORE_PROCESS_NEXT "process.next.json"
#define STORE_MEMORY "memory"

char *store_default_path(const char *name)
{
    const char *home = getenv("HOME"), *xdg = getenv("XDG_STATE_HOME");
    char *word = alloc_copy(name), *path;

    /* The name of a VM may hold anything; one component of a path may not. */
    for (char *p = word; *p; p++)
        if (*p == '/' || (p == word && *p == '.'))
            *p = '_';
    if (geteuid() == 0)
        path = alloc_print("/var/lib/qmp-proxy/%s", word);
    else if (xdg && xdg[0] == '/')
        path = alloc_print("%s/qmp-proxy/%s", xdg, word);
    else
        path = alloc_print("%s/.local/state/qmp-proxy/%s", home ? home : "", word);
    free(word);
    return path;
}

/* Makes the folder and those above it; only the last one is ours to give a mode. */
static bool store_make_folders(const char *path, struct err *err)
{
    char *work = alloc_copy(path);

    for (char *p = work + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(work, 0755) < 0 && errno != EEXIST)
            break;
        *p = '/';
    }
    free(work);
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return true;
    durable_errno(err, errno, "create the state folder", path);
    return false;
}

static bool store_check_folder(int fd, const char *path, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || st.st_uid != geteuid()) {
        err_set(err, REASON_FILE_UNUSABLE, "The state folder '%s' belongs to somebody else", path);
        return false;
    }
    if ((st.st_mode & 077) && fchmod(fd, 0700) < 0) {
        durable_errno(err, errno, "change the mode of", path);
        return false;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        err_set(err, REASON_FILE_UNUSABLE, "Another qmp-proxy works in '%s': end it, or give this VM "
                "a name of its own with -n", path);
        return false;
    }
    if (mkdirat(fd, STORE_MEMORY, 0700) < 0 && errno != EEXIST) {
        durable_errno(err, errno, "create the folder memory in", path);
        return false;
    }
    return true;
}

static bool store_folder_is_empty(const struct store *store, const char *name)
{
    int fd = openat(store->dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    bool empty = dir != NULL;

    while (empty && (entry = readdir(dir)))
        empty = entry->d_name[0] == '.';
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return empty;
}

/* No record: there was none, or the first operation was interrupted, which its journal says.  Else it is lost:
 * the memory that it names, and the images, would be taken for nobody's. */
static bool store_is_new(const struct store *store, struct err *err)
{
    if (store_folder_is_empty(store, STORE_MEMORY) || faccessat(store->dirfd, STORE_JOURNAL, F_OK, 0) == 0)
        return true;
    err_set(err, REASON_FILE_UNUSABLE, "There is saved memory in '%s', and no record of whose: restore " STORE_STATE
            " from a backup, or remove the memory to begin anew", store->memory_path);
    return false;
}

static bool store_load(struct store *store, struct err *err)
{
    static const char *const files[] = {
        STORE_STATE, STORE_JOURNAL, STORE_PROCESS, STORE_PROCESS_NEXT, STORE_PID, NULL,
    };

    for (size_t i = 0; files[i]; i++)
        durable_sweep(store->dirfd, files[i]);
    if (!durable_read_json(store->dirfd, STORE_STATE, &store->state, err))
        return false;
    /* Whoever wrote the record has seen to that. */
    store->anchored = store->state != NULL;
    if (!store->state && !store_is_new(store, err))
        return false;
    if (!store->state)
        store->state = state_new();
    return state_check(store->state, err);
}

struct store *store_open(const char *path, struct err *err)
{
    struct store *store = alloc_zeroed(1, sizeof(*store));

    store->dirfd = -1;
    if (!store_make_folders(path, err))
        goto fail;
    store->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    store->path = realpath(path, NULL);
    if (!store->path && errno == ENOMEM)
        alloc_fail();
    if (store->dirfd < 0 || !store->path) {
        durable_errno(err, errno, "open the state folder", path);
        goto fail;
    }
    store->memory_path = alloc_print("%s/%s", store->path, STORE_MEMORY);
    if (store_check_folder(store->dirfd, path, err) && store_load(store, err))
        return store;
fail:
    store_free(store);
    return NULL;
}

void store_remove_unused(struct store *store)
{
    static const char *const used[] = { STORE_STATE, STORE_JOURNAL, STORE_PROCESS,
                                        STORE_PROCESS_NEXT, NULL };

    for (size_t i = 0; used[i]; i++)
        if (faccessat(store->dirfd, used[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
            return;
    if (unlinkat(store->dirfd, STORE_MEMORY, AT_REMOVEDIR) < 0)
        return;
    unlinkat(store->dirfd, STORE_LOG, 0);
    rmdir(store->path);
}

void store_free(struct store *store)
{
    if (!store)
        return;
    if (store->dirfd >= 0)
        close(store->dirfd);
    json_decref(store->state);
    free(store->path);
    free(store->memory_path);
    free(store);
}

/* A file that has to be found behind a power cut. */
static bool store_write_lasting(struct store *store, const char *name, const json_t *value,
                                struct err *err)
{
    store->anchored = store->anchored || durable_sync_way(store->path, err);
    return store->anchored && durable_write_json(store->dirfd, name, value, err);
}

bool store_write(struct store *store, const json_t *state, struct err *err)
{
    json_t *copy;

    /* It would be taken for that of an operation that was interrupted, and the record go back to its. */
    if (store->over && !store_remove_journal(store, err))
        return false;
    if (!store_write_lasting(store, STORE_STATE, state, err))
        return false;
    copy = json_deep_copy(state);
    json_decref(store->state);
    store->state = copy;
    return true;
}

bool store_write_journal(struct store *store, const json_t *journal, struct err *err)
{
    if (!store_write_lasting(store, STORE_JOURNAL, journal, err))
        return false;
    store->over = false;
    return true;
}

bool store_read_journal(struct store *store, json_t **out, struct err *err)
{
    if (!durable_read_json(store->dirfd, STORE_JOURNAL, out, err))
        return false;
    /* The proxy that wrote it may have died before it knew that it is on the disk.  What is done because
     * of it must not be found without it. */
    if (!*out || fsync(store->dirfd) == 0)
        return true;
    durable_errno(err, errno, "fsync the folder of", STORE_JOURNAL);
    json_decref(*out);
    *out = NULL;
    return false;
}

bool store_remove_journal(struct store *store, struct err *err)
{
    store->over = !durable_remove(store->dirfd, STORE_JOURNAL, err);
    return !store->over;
}

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

static bool store_write_found(struct store *store, const char *name, long pid, unsigned long long start,
                              const json_t *argv, struct err *err)
{
    json_t *process = json_pack("{s:i, s:I, s:I, s:O, s:o*}", "format", STATE_FORMAT, "pid", (json_int_t)pid,
                                "start", (json_int_t)start, "argv", argv, "boot", store_boot());
    bool ok = durable_write_json(store->dirfd, name, process, err);

    json_decref(process);
    return ok;
}

static bool store_write_pid(struct store *store, long pid, struct err *err)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld\n", pid);
    return durable_write(store->dirfd, STORE_PID, text, strlen(text), err);
}

void store_tell_pid(struct store *store, long pid)
{
    struct err err = ERR_INIT;

    if (!store_write_pid(store, pid, &err))
        log_warn("%s", err.desc);
    err_clear(&err);
}

bool store_write_process(struct store *store, long pid, unsigned long long start,
                         const json_t *argv, struct err *err)
{
    return store_write_found(store, STORE_PROCESS, pid, start, argv, err) &&
           store_write_pid(store, pid, err);
}

bool store_write_next(struct store *store, long pid, unsigned long long start, const json_t *argv,
                      struct err *err)
{
    return store_write_found(store, STORE_PROCESS_NEXT, pid, start, argv, err);
}

bool store_promote_next(struct store *store, long pid, struct err *err)
{
    /* Nothing is synced: behind a power cut there is no such process. */
    if (renameat(store->dirfd, STORE_PROCESS_NEXT, store->dirfd, STORE_PROCESS) < 0) {
        durable_errno(err, errno, "rename", STORE_PROCESS_NEXT);
        return false;
    }
    store_tell_pid(store, pid);
    return true;
}

bool store_read_process(struct store *store, bool next, json_t **out, struct err *err)
{
    const json_t *then;
    json_t *now;

    if (!durable_read_json(store->dirfd, next ? STORE_PROCESS_NEXT : STORE_PROCESS, out, err))
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
    unlinkat(store->dirfd, STORE_PROCESS_NEXT, 0);
    unlinkat(store->dirfd, STORE_SOCKET_NEXT, 0);
    unlinkat(store->dirfd, STORE_BULK_NEXT, 0);
}

void store_forget_process(struct store *store)
{
    unlinkat(store->dirfd, STORE_PROCESS, 0);
    unlinkat(store->dirfd, STORE_PID, 0);
    unlinkat(store->dirfd, STORE_SOCKET, 0);
    unlinkat(store->dirfd, STORE_BULK, 0);
    store_forget_next(store);
}

static bool store_memory_known(const struct store *store, const char *name)
{
    json_t *snapshot;
    size_t i;

    json_array_foreach(json_object_get(store->state, "snapshots"), i, snapshot) {
        const char *file = state_str(json_object_get(snapshot, "memory"), "file");
        const char *slash = file ? strrchr(file, '/') : NULL;

        if (slash && strcmp(slash + 1, name) == 0)
            return true;
    }
    return false;
}

static bool store_memory_stale(const struct store *store, const char *name)
{
    struct err why = ERR_INIT;
    json_t *known;
    char *path;
    bool stale;

    if (name[0] == '.' || store_memory_known(store, name))
        return false;
    known = in_use_new(store->state);
    path = alloc_print("%s/%s", store->memory_path, name);
    stale = !in_use_check(known, path, &why);
    log_info("removing saved memory that nothing names: %s", stale ? name : why.desc);
    err_clear(&why);
    json_decref(known);
    free(path);
    return stale;
}

static bool store_aside_stale(const struct store *store, const char *name)
{
    (void)store;
    return strncmp(name, "late-", 5) == 0;
}

/* Removes what is stale in a folder. */
static void store_sweep(const struct store *store, const char *folder,
                        bool (*stale)(const struct store *store, const char *name))
{
    int fd = openat(store->dirfd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (stale(store, entry->d_name))
            unlinkat(fd, entry->d_name, 0);
    if (dir && fsync(fd) < 0)
        log_warn("cannot fsync the folder '%s' of '%s'", folder, store->path);
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
}

void store_sweep_memory(struct store *store)
{
    store_sweep(store, STORE_MEMORY, store_memory_stale);
}

void store_sweep_aside(struct store *store)
{
    store_sweep(store, ".", store_aside_stale);
}
