/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/snapshot_connect.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "policy/address.h"
#include "qmp/alloc.h"

#define RETRY_MS 20

int64_t snapshot_connect_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool snapshot_connect_wait(int fd, short events, int64_t deadline)
{
    struct pollfd pfd = { .fd = fd, .events = events };

    for (;;) {
        int64_t left = deadline - snapshot_connect_now();
        int n;

        if (left <= 0)
            return false;
        n = poll(&pfd, 1, left > 60000 ? 60000 : (int)left);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return false;
    }
}

/* Connects with the deadline; -1 with errno set. */
static int connect_one(int family, const struct sockaddr *name, socklen_t size, int64_t deadline)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), saved = 0;
    socklen_t len = sizeof(saved);

    if (fd < 0)
        return -1;
    while (connect(fd, name, size) < 0) {
        saved = errno;
        if (saved == EINPROGRESS) {
            saved = ETIMEDOUT;
            if (snapshot_connect_wait(fd, POLLOUT, deadline))
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &saved, &len);
            break;
        }
        /* The backlog of a unix socket is full, which poll() cannot wait for. */
        if (saved != EINTR && (saved != EAGAIN || snapshot_connect_now() >= deadline))
            break;
        poll(NULL, 0, RETRY_MS);
        saved = 0;
    }
    if (saved == 0)
        return fd;
    close(fd);
    errno = saved == EAGAIN ? ETIMEDOUT : saved;
    return -1;
}

/* A path longer than a socket address holds is reached through its folder's descriptor. */
static int connect_unix(const char *path, int64_t deadline)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    char *dir = alloc_copy(path), *base = alloc_copy(path);
    int dirfd = -1, fd = -1, saved = ENAMETOOLONG;

    if (strlen(path) < sizeof(name.sun_path)) {
        strcpy(name.sun_path, path);
        saved = 0;
    } else {
        dirfd = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirfd < 0)
            saved = errno;
        else if (snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/%s", dirfd,
                          basename(base)) < (int)sizeof(name.sun_path))
            saved = 0;
    }
    if (saved == 0) {
        fd = connect_one(AF_UNIX, (struct sockaddr *)&name, sizeof(name), deadline);
        saved = errno;
    }
    if (dirfd >= 0)
        close(dirfd);
    free(dir);
    free(base);
    errno = saved;
    return fd;
}

/* -1 with *why naming the reason. */
static int connect_tcp(const struct address *address, int64_t deadline, const char **why)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    int fd = -1, result = getaddrinfo(address->host, address->port, &hints, &found);

    if (result != 0) {
        *why = gai_strerror(result);
        return -1;
    }
    for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = connect_one(at->ai_family, at->ai_addr, at->ai_addrlen, deadline);
        *why = strerror(errno);
    }
    freeaddrinfo(found);
    return fd;
}

int snapshot_connect(const char *text, int64_t deadline, struct err *err)
{
    struct address address;
    const char *why = NULL;
    int fd = -1;

    if (!address_parse(text, &address, err))
        return -1;
    switch (address.kind) {
    case ADDRESS_UNIX:
        fd = connect_unix(address.path, deadline);
        why = strerror(errno);
        break;
    case ADDRESS_TCP:
        fd = connect_tcp(&address, deadline, &why);
        break;
    default:
        why = "only unix:PATH and tcp:HOST:PORT can be connected to";
    }
    if (fd < 0)
        err_set(err, NULL, "Cannot connect to %s: %s", text, why);
    address_clear(&address);
    return fd;
}
