/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/background.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/log.h"
#include "proxy/store.h"

static int background_pipe = -1;        /* to the process that waits */
static int background_stderr = -1;      /* the user's */
static int background_log = -1;

void background_fork(void)
{
    int ends[2], null;
    char status = 1;
    pid_t pid;

    pid = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
    if (pid < 0) {
        log_error("cannot go into the background: %s", strerror(errno));
        _exit(1);
    }
    if (pid > 0) {
        ssize_t n;

        close(ends[1]);
        do
            n = read(ends[0], &status, 1);
        while (n < 0 && errno == EINTR);
        _exit(n == 1 ? status : 1);
    }
    close(ends[0]);
    background_pipe = ends[1];
    setsid();
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        close(null);
    }
}

void background_redirect(int dirfd)
{
    if (background_pipe < 0)
        return;
    background_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    background_log = openat(dirfd, STORE_LOG,
                            O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (background_log < 0)
        background_log = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(background_log, STDOUT_FILENO);
    dup2(background_log, STDERR_FILENO);
}

static void background_show_log(void)
{
    char data[4096];
    ssize_t n;
    off_t at = 0;

    while ((n = pread(background_log, data, sizeof(data), at)) > 0) {
        if (write(background_stderr, data, (size_t)n) < 0)
            return;
        at += n;
    }
}

void background_release(int status)
{
    char byte = (char)status;

    if (background_pipe < 0)
        return;
    if (status != 0 && background_log >= 0)
        background_show_log();
    if (background_stderr >= 0)
        close(background_stderr);
    if (write(background_pipe, &byte, 1) < 0)
        byte = 0; /* nobody waits any more */
    close(background_pipe);
    background_pipe = background_stderr = -1;
}
