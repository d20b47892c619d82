/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/fdpass.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

union fdpass_control {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(int) * FDPASS_MAX)];
};

ssize_t fdpass_send(int sock, const char *data, size_t len, const int *fds, size_t n_fds)
{
    union fdpass_control control;
    struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    struct cmsghdr *cmsg;

    assert(n_fds >= 1 && n_fds <= FDPASS_MAX);
    memset(&control, 0, sizeof(control));
    msg.msg_control = &control;
    msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
    cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
    memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * n_fds);
    return sendmsg(sock, &msg, MSG_NOSIGNAL);
}

size_t fdpass_step(int sock, char *data, size_t len)
{
    struct iovec iov = { .iov_base = data, .iov_len = len };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    ssize_t n = recvmsg(sock, &msg, MSG_PEEK | MSG_DONTWAIT);

    /* Without room for them the kernel only says that there are some, and maybe too early. */
    return n <= 0 || (msg.msg_flags & MSG_CTRUNC) ? 1 : (size_t)n;
}

ssize_t fdpass_recv(int sock, char *data, size_t len, int *fds, size_t *n_fds)
{
    union fdpass_control control;
    struct iovec iov = { .iov_base = data, .iov_len = len };
    struct msghdr msg = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);

    *n_fds = 0;
    if (n < 0)
        return n;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        size_t count;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        assert(*n_fds + count <= FDPASS_MAX);
        memcpy(fds + *n_fds, CMSG_DATA(c), count * sizeof(int));
        *n_fds += count;
    }
    return n;
}
