/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/durable.h"

/* Who connects without waiting is turned away when it is full. */
#define SOCK_BACKLOG SOMAXCONN

/* How long a connect over TCP may take. */
#define SOCK_CONNECT_MS 300

struct sock_name {
    struct sockaddr_un addr;
    socklen_t len;
    int dirfd;                  /* open as long as the name is used, or -1 */
};

static bool sock_abstract_name(const struct address *address, struct sock_name *name,
                               struct err *err)
{
    size_t len = strlen(address->path);

    if (len >= sizeof(name->addr.sun_path)) {
        durable_errno(err, ENAMETOOLONG, "use the abstract socket", address->path);
        return false;
    }
    memcpy(name->addr.sun_path + 1, address->path, len);
    if (address->tight)
        name->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len);
    return true;
}

/* sun_path holds 107 bytes; a folder that is open can be named by its descriptor instead. */
static bool sock_unix_name(const struct address *address, struct sock_name *name, struct err *err)
{
    const char *path = address->path, *base;

    memset(name, 0, sizeof(*name));
    name->dirfd = -1;
    name->addr.sun_family = AF_UNIX;
    name->len = sizeof(name->addr);
    if (address->abstract)
        return sock_abstract_name(address, name, err);
    if (strlen(path) < sizeof(name->addr.sun_path)) {
        strcpy(name->addr.sun_path, path);
        return true;
    }
    name->dirfd = durable_open_parent(path, &base);
    if (name->dirfd < 0) {
        durable_errno(err, errno, "open the folder of", path);
        return false;
    }
    if (snprintf(name->addr.sun_path, sizeof(name->addr.sun_path), "/proc/self/fd/%d/%s",
                 name->dirfd, base) >= (int)sizeof(name->addr.sun_path)) {
        close(name->dirfd);
        durable_errno(err, ENAMETOOLONG, "use", path);
        return false;
    }
    return true;
}

static void sock_name_done(struct sock_name *name)
{
    if (name->dirfd >= 0)
        close(name->dirfd);
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

static int sock_bind_unix(const struct address *address, const struct sock_name *name,
                          struct err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t old = umask(0177);
    bool bound = bind(fd, (const struct sockaddr *)&name->addr, name->len) == 0, ok = bound;

    umask(old);
    if (!address->abstract && ok && !sock_apply_group(name->addr.sun_path, address->group, err))
        ok = false;
    if (ok && !address->abstract && address->mode >= 0)
        ok = chmod(name->addr.sun_path, (mode_t)address->mode) == 0;
    if (ok && listen(fd, SOCK_BACKLOG) == 0)
        return fd;
    if (!err->set)
        durable_errno(err, errno, "listen on", address->path);
    if (bound && !address->abstract)
        unlink(name->addr.sun_path);
    close(fd);
    return -1;
}

static int sock_listen_unix(const struct address *address, struct err *err)
{
    struct sock_name name;
    int fd = -1;

    if (!sock_unix_name(address, &name, err))
        return -1;
    if (address->abstract || sock_unix_clear(&name.addr, address->path, err))
        fd = sock_bind_unix(address, &name, err);
    sock_name_done(&name);
    return fd;
}

static int sock_connect_unix(const struct address *address, struct err *err)
{
    struct sock_name name;
    int fd;

    if (!sock_unix_name(address, &name, err))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&name.addr, name.len) < 0) {
        durable_errno(err, errno, "connect to", address->path);
        close(fd);
        fd = -1;
    }
    sock_name_done(&name);
    return fd;
}

/* The loop waits: a peer that is there answers at once. */
static int sock_tcp_connect(int fd, const struct addrinfo *to)
{
    struct pollfd poller = { .fd = fd, .events = POLLOUT };
    int error = 0;
    socklen_t len = sizeof(error);

    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return -1;
    if (poll(&poller, 1, SOCK_CONNECT_MS) != 1)
        error = ETIMEDOUT;
    else
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    errno = error;
    return error ? -1 : 0;
}

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
        result = sock_tcp_connect(fd, found);
    }
    freeaddrinfo(found);
    if (result == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    err_set(err, NULL, "Cannot %s tcp:%s:%s: %s", listening ? "listen on" : "connect to",
            address->host, address->port, strerror(errno));
    close(fd);
    return -1;
}

static int sock_inherited(int fd, bool listening, struct err *err)
{
    int type, accepts = 0;
    socklen_t len = sizeof(type);

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM) {
        err_set(err, NULL, "Descriptor %d is not a stream socket that was passed to this process",
                fd);
        return -1;
    }
    len = sizeof(accepts);
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len);
    if (listening != (accepts != 0)) {
        err_set(err, NULL, "Descriptor %d is a socket that %s: one that %s is needed", fd,
                accepts ? "listens" : "does not listen", listening ? "listens" : "is connected");
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
        return sock_listen_unix(address, err);
    case ADDRESS_TCP:
        if (!address->insecure && !address_is_loopback(address)) {
            err_set(err, NULL, "tcp:%s:%s is not loopback, and whoever can connect controls the "
                    "host's QEMU: use a unix socket (ssh can forward it), or add ,insecure=on",
                    address->host, address->port);
            return -1;
        }
        return sock_tcp(address, true, err);
    default:
        return sock_inherited(address->fd, true, err);
    }
}

int sock_connect(const struct address *address, struct err *err)
{
    switch (address->kind) {
    case ADDRESS_UNIX:
        return sock_connect_unix(address, err);
    case ADDRESS_TCP:
        return sock_tcp(address, false, err);
    default:
        return sock_inherited(address->fd, false, err);
    }
}

int sock_listen_at(int dirfd, const char *name, struct err *err)
{
    char path[64];
    struct address address = { .kind = ADDRESS_UNIX, .path = path, .mode = -1 };

    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
    return sock_listen_unix(&address, err);
}

int sock_connect_at(int dirfd, const char *name, struct err *err)
{
    char path[64];
    struct address address = { .kind = ADDRESS_UNIX, .path = path };

    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
    return sock_connect_unix(&address, err);
}
