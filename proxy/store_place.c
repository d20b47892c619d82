/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A state folder that cannot be written: where QEMU's sockets are then, and what is made up for later. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/reason.h"
#include "proxy/durable.h"
#include "proxy/log.h"
#include "proxy/store.h"
#include "qmp/alloc.h"

#define PLACE_PROBE ".probe.tmp"

/* Can something be made in the folder?  False: errno. */
static bool place_probe(const struct store *store)
{
    int fd;

    unlinkat(store->dirfd, PLACE_PROBE, 0);
    fd = openat(store->dirfd, PLACE_PROBE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    close(fd);
    unlinkat(store->dirfd, PLACE_PROBE, 0);
    return true;
}

/* Makes a temporary folder in that one; NULL is none. */
static bool place_make(struct store *store, const char *parent)
{
    char *path;

    if (!parent || parent[0] != '/')
        return false;
    path = alloc_print("%s/qmp-proxy.XXXXXX", parent);
    if (mkdtemp(path)) {
        store->run_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        store->run_path = path;
        return store->run_fd >= 0;
    }
    free(path);
    return false;
}

bool store_find_place(struct store *store, struct err *err)
{
    const char *const parents[] = { getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/run", "/tmp",
                                    "/dev/shm" };

    if (store->run_path || (!store->why.set && place_probe(store)))
        return true;
    if (!store->why.set)
        durable_errno(&store->why, errno, "write to the state folder", store->path);
    for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
        if (!place_make(store, parents[i]))
            continue;
        log_error("%s: no snapshots until qmp-proxy is started again and it can be, and QEMU ends with "
                  "the proxy; QEMU's sockets are in %s", store->why.desc, store->run_path);
        return true;
    }
    err_set(err, store->why.reason, "%s, and no temporary folder can be made", store->why.desc);
    return false;
}

void store_leave_place(struct store *store)
{
    if (!store->run_path)
        return;
    store_forget_process(store);
    close(store->run_fd);
    store->run_fd = store->dirfd;
    rmdir(store->run_path);
    free(store->run_path);
    store->run_path = NULL;
}

bool store_settle(struct store *store, struct err *err)
{
    if (store->why.set) {
        err_set(err, store->why.reason, "%s: start qmp-proxy again when it can be", store->why.desc);
        return false;
    }
    if (mkdirat(store->dirfd, STORE_MEMORY, 0700) < 0 && errno != EEXIST) {
        durable_errno(err, errno, "create", store->memory_path);
        return false;
    }
    if (store->unwritten && !store_write(store, store->state, err))
        return false;
    return !store->over || store_remove_journal(store, err);
}
