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
/* Two seconds in all. */
#define STORE_LOCK_TRIES 40
#define STORE_LOCK_PAUSE_US 50000

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

/* Makes the folder and those above it; only the last one is ours to give a mode.  False: errno as well. */
static bool store_make_folders(const char *path, struct err *err)
{
    char *work = alloc_copy(path);
    int error = 0;

    for (char *p = work + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(work, 0755) < 0 && errno != EEXIST) {
            error = errno;
            break;
        }
        *p = '/';
    }
    free(work);
    if (!error && (mkdir(path, 0700) == 0 || errno == EEXIST))
        return true;
    error = error ? error : errno;
    durable_errno(err, error, "create the state folder", path);
    errno = error;
    return false;
}

/* A qemu-img of a proxy that was killed holds it as well, until it is done. */
static bool store_lock(int fd)
{
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK || i == STORE_LOCK_TRIES)
            return false;
        usleep(STORE_LOCK_PAUSE_US);
    }
    return true;
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
    if (!store_lock(fd)) {
        err_set(err, REASON_FILE_UNUSABLE, "Another qmp-proxy works in '%s': end it, or give this VM "
                "a name of its own with -n", path);
        return false;
    }
    /* Where there is no room for it, store_settle() will make it. */
    if (mkdirat(fd, STORE_MEMORY, 0700) < 0 && errno != EEXIST && !durable_is_fault(errno)) {
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

    if (fd >= 0 && !dir && errno == ENOMEM)
        alloc_fail();
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
        STORE_STATE, STORE_JOURNAL, STORE_PROCESS, STORE_PROCESS_NEXT, STORE_PID, STORE_PID_NEXT, NULL,
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

/* There is no such folder, and the host's disk cannot take one: then nothing is on record. */
static bool store_begin_without(struct store *store, const char *path, int error, struct err *err)
{
    struct stat st;

    if (!durable_is_fault(error) || stat(path, &st) == 0 || errno != ENOENT)
        return false;
    err_move(&store->why, err);
    store->path = alloc_copy(path);
    store->memory_path = alloc_print("%s/%s", path, STORE_MEMORY);
    store->state = state_new();
    return true;
}

struct store *store_open(const char *path, struct err *err)
{
    struct store *store = alloc_zeroed(1, sizeof(*store));

    store->dirfd = store->run_fd = -1;
    if (!store_make_folders(path, err)) {
        if (store_begin_without(store, path, errno, err))
            return store;
        goto fail;
    }
    store->dirfd = store->run_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
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

    if (store->dirfd < 0)
        return;
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
    store_leave_place(store);
    if (store->dirfd >= 0)
        close(store->dirfd);
    err_clear(&store->why);
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

bool store_writes(const struct store *store, struct err *err)
{
    if (store->why.set)
        err_set(err, store->why.reason, "%s", store->why.desc);
    return !store->why.set;
}

void store_keep(struct store *store, const json_t *state)
{
    json_t *copy = json_deep_copy(state);

    json_decref(store->state);
    store->state = copy;
    store->unwritten = true;
}

bool store_write(struct store *store, const json_t *state, struct err *err)
{
    struct err late = ERR_INIT;

    if (!store_writes(store, err))
        return false;
    /* It would be taken for that of an operation that was interrupted, and the record go back to its.  But
     * one that has led to what is not written yet is needed until it is. */
    if (store->over && !store->unwritten && !store_remove_journal(store, err))
        return false;
    if (!store_write_lasting(store, STORE_STATE, state, err))
        return false;
    store_keep(store, state);
    store->unwritten = false;
    if (store->over && !store_remove_journal(store, &late))
        log_warn("%s", late.desc);
    err_clear(&late);
    return true;
}

void store_write_or_keep(struct store *store, const json_t *state)
{
    struct err err = ERR_INIT;

    if (!store_write(store, state, &err)) {
        log_warn("%s", err.desc);
        store_keep(store, state);
    }
    err_clear(&err);
}

bool store_write_journal(struct store *store, const json_t *journal, struct err *err)
{
    if (!store_writes(store, err) ||
        !store_write_lasting(store, STORE_JOURNAL, journal, err))
        return false;
    store->over = false;
    return true;
}

bool store_read_journal(struct store *store, json_t **out, struct err *err)
{
    *out = NULL;
    if (store->dirfd < 0)
        return true;
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
    store->over = store->dirfd >= 0 && !durable_remove(store->dirfd, STORE_JOURNAL, err);
    return !store->over;
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
