/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/durable.h"

#define SOCK_BACKLOG 128

/* sun_path holds 107 bytes; a folder that is open can be named by its descriptor instead. */
static bool sock_unix_name(const char *path, int *dirfd, struct sockaddr_un *name, struct err *err)
{
    const char *base;

    *dirfd = -1;
    memset(name, 0, sizeof(*name));
    name->sun_family = AF_UNIX;
    if (strlen(path) < sizeof(name->sun_path)) {
        strcpy(name->sun_path, path);
        return true;
    }
    *dirfd = durable_open_parent(path, &base);
    if (*dirfd < 0) {
        durable_errno(err, errno, "open the folder of", path);
        return false;
    }
    if (snprintf(name->sun_path, sizeof(name->sun_path), "/proc/self/fd/%d/%s", *dirfd, base) >=
        (int)sizeof(name->sun_path)) {
        close(*dirfd);
        durable_errno(err, ENAMETOOLONG, "use", path);
        return false;
    }
    return true;
}

/* Makes room at path: only a socket that nobody listens on is removed. */
static bool sock_unix_clear(const struct sockaddr_un *name, const char *path, struct err *err)
{
    struct stat st;
    int probe, result;

    if (lstat(name->sun_path, &st) < 0)
        return true;
    if (!S_ISSOCK(st.st_mode)) {
        durable_errno(err, EEXIST, "listen on", path);
        return false;
    }
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    result = connect(probe, (const struct sockaddr *)name, sizeof(*name));
    if (result < 0)
        result = errno;
    close(probe);
    if (result == ECONNREFUSED)
        unlink(name->sun_path);
    else if (result != ENOENT) {
        durable_errno(err, EADDRINUSE, "listen on", path);
        return false;
    }
    return true;
}

static bool sock_apply_group(const char *sun_path, const char *group, struct err *err)
{
    struct group *found = group ? getgrnam(group) : NULL;

    if (!group)
        return true;
    if (!found) {
        err_set(err, NULL, "There is no group '%s'", group);
        return false;
    }
    if (chown(sun_path, (uid_t)-1, found->gr_gid) == 0)
        return true;
    durable_errno(err, errno, "change the group of", sun_path);
    return false;
}

static int sock_listen_unix(const char *path, int mode, const char *group, struct err *err)
{
    struct sockaddr_un name;
    int dirfd, fd;
    mode_t old;
    bool bound;

    if (!sock_unix_name(path, &dirfd, &name, err))
        return -1;
    fd = -1;
    if (!sock_unix_clear(&name, path, err))
        goto out;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    old = umask(0177);
    bound = bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0;
    umask(old);
    if (!bound) {
        durable_errno(err, errno, "listen on", path);
        goto fail;
    }
    if (!sock_apply_group(name.sun_path, group, err))
        goto fail_bound;
    if ((mode >= 0 && chmod(name.sun_path, (mode_t)mode) < 0) || listen(fd, SOCK_BACKLOG) < 0) {
        durable_errno(err, errno, "listen on", path);
        goto fail_bound;
    }
    goto out;
fail_bound:
    unlink(name.sun_path);
fail:
    close(fd);
    fd = -1;
out:
    if (dirfd >= 0)
        close(dirfd);
    return fd;
}

static int sock_connect_unix(const char *path, struct err *err)
{
    struct sockaddr_un name;
    int dirfd, fd;

    if (!sock_unix_name(path, &dirfd, &name, err))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
        durable_errno(err, errno, "connect to", path);
        close(fd);
        fd = -1;
    }
    if (dirfd >= 0)
        close(dirfd);
    return fd;
}

/* Loopback answers at once, so a connect may block. */
static int sock_tcp(const struct address *address, bool listening, struct err *err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = listening ? AI_PASSIVE : 0 };
    struct addrinfo *found = NULL;
    int one = 1, fd, result = getaddrinfo(address->host, address->port, &hints, &found);

    if (result != 0) {
        err_set(err, NULL, "tcp:%s:%s: %s", address->host, address->port, gai_strerror(result));
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listening) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        result = bind(fd, found->ai_addr, found->ai_addrlen);
        if (result == 0)
            result = listen(fd, SOCK_BACKLOG);
    } else {
        result = connect(fd, found->ai_addr, found->ai_addrlen);
    }
    freeaddrinfo(found);
    if (result == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    err_set(err, NULL, "Cannot %s tcp:%s:%s: %s", listening ? "listen on" : "connect to",
            address->host, address->port, strerror(errno));
    close(fd);
    return -1;
}

static int sock_inherited(int fd, struct err *err)
{
    int type;
    socklen_t len = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM) {
        err_set(err, NULL, "Descriptor %d is not a stream socket that was passed to this process",
                fd);
        return -1;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

int sock_listen(const struct address *address, struct err *err)
{
    switch (address->kind) {
    case ADDRESS_UNIX:
        return sock_listen_unix(address->path, address->mode, address->group, err);
    case ADDRESS_TCP:
        if (!address->insecure && !address_is_loopback(address)) {
            err_set(err, NULL, "tcp:%s:%s is not loopback, and whoever can connect controls the "
                    "host's QEMU: use a unix socket (ssh can forward it), or add ,insecure=on",
                    address->host, address->port);
            return -1;
        }
        return sock_tcp(address, true, err);
    default:
        return sock_inherited(address->fd, err);
    }
}

int sock_connect(const struct address *address, struct err *err)
{
    switch (address->kind) {
    case ADDRESS_UNIX:
        return sock_connect_unix(address->path, err);
    case ADDRESS_TCP:
        return sock_tcp(address, false, err);
    default:
        return sock_inherited(address->fd, err);
    }
}

int sock_listen_at(int dirfd, const char *name, struct err *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
    return sock_listen_unix(path, -1, NULL, err);
}

int sock_connect_at(int dirfd, const char *name, struct err *err)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
    return sock_connect_unix(path, err);
}
