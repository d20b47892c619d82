/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iofault: makes chosen writes of a program fail, late, or wait (LD_PRELOAD; tests/qemu/faulty.py).
 *
 * Model: the file that IOFAULT names holds a rule a line,
 *
 *     ACTION ARG CALL LEAST NAME
 *
 * about files whose name (of the descriptor, without its folder) is NAME, or ends as NAME does behind a
 * "*".  CALL is "data" (a write of at least LEAST bytes, or zeroing, but for the first sector where it has
 * an offset), "header" (a write to the first sector), "sync", "create" (openat that may), "unlink"
 * (unlinkat) or "rename" (renameat, of what it is named before).  ACTION is
 *
 *     fail ERRNO   every such call fails
 *     once ERRNO   the first one fails; the file of rules is unlinked by it
 *     slow MS      every such call takes that long, one at a time
 *     hold 0       such calls wait until the rule is gone
 *     back S       of the call "clock" (gettimeofday; NAME is "clock"): each finds it so many seconds earlier
 *
 * With IOFAULT_PROGRAM only the program of that name is concerned, not those that it starts.
 *
 * Rule: the file is looked at anew at each call, so that a test changes its mind by a rename.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define SECTOR 512

struct rule {
    char action[8], call[8], name[128];
    int arg;
    unsigned long least;
};

static pthread_mutex_t slow_lock = PTHREAD_MUTEX_INITIALIZER;

/* What a call is about.  path NULL: it is the descriptor's. */
struct call {
    const char *kind, *path;
    int fd;
    size_t bytes;
};

static int name_fits(const char *want, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name), end = strlen(want);

    if (want[0] != '*')
        return strcmp(name, want) == 0;
    return n >= end - 1 && strcmp(name + n - (end - 1), want + 1) == 0;
}

static int rule_fits(const struct rule *rule, const struct call *call)
{
    char link[32], path[4096];
    ssize_t n;

    if (strcmp(rule->call, call->kind) != 0 || call->bytes < rule->least)
        return 0;
    if (call->path)
        return name_fits(rule->name, call->path);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", call->fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0)
        return 0;
    path[n] = '\0';
    return path[0] == '/' && name_fits(rule->name, path);
}

/* Finds the rule for a call. */
static int rule_find(struct rule *rule, const struct call *call)
{
    const char *path = getenv("IOFAULT"), *program = getenv("IOFAULT_PROGRAM");
    bool concerned = path && (!program || strcmp(program, program_invocation_short_name) == 0);
    FILE *file = concerned ? fopen(path, "re") : NULL;
    int found = 0;

    while (file && !found &&
           fscanf(file, "%7s %d %7s %lu %127s", rule->action, &rule->arg, rule->call, &rule->least,
                  rule->name) == 5)
        found = rule_fits(rule, call);
    if (file)
        fclose(file);
    return found;
}

/* 0: the call goes on; else it fails with that number. */
static int fault(const struct call *call)
{
    struct rule rule;

    while (rule_find(&rule, call)) {
        if (strcmp(rule.action, "hold") == 0) {
            usleep(2000);
            continue;
        }
        if (strcmp(rule.action, "slow") == 0) {
            pthread_mutex_lock(&slow_lock);
            usleep((useconds_t)rule.arg * 1000);
            pthread_mutex_unlock(&slow_lock);
            return 0;
        }
        if (strcmp(rule.action, "once") == 0 && unlink(getenv("IOFAULT")) != 0)
            return 0; /* another one was the first */
        return rule.arg;
    }
    return 0;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    static atomic_long calls;
    int result;
    REAL(gettimeofday);

    result = real(now, zone);
    now->tv_sec -= fault(&(struct call){ .kind = "clock", .path = "clock" }) * ++calls;
    return result;
}

/* Nonzero with errno: the call fails. */
static int fails(struct call call)
{
    int error = fault(&call);

    if (error)
        errno = error;
    return error;
}

static int fails_write(int fd, off_t at, size_t bytes)
{
    return fails((struct call){ .kind = at < SECTOR ? "header" : "data", .fd = fd, .bytes = bytes });
}

static size_t length(const struct iovec *iov, int n)
{
    size_t bytes = 0;

    for (int i = 0; i < n; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at)
{
    REAL(pwrite64);
    return fails_write(fd, at, bytes) ? -1 : real(fd, data, bytes, at);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t at)
{
    REAL(pwritev64);
    return fails_write(fd, at, length(iov, n)) ? -1 : real(fd, iov, n, at);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    REAL(write);
    return fails((struct call){ .kind = "data", .fd = fd, .bytes = bytes }) ? -1
                                                                            : real(fd, data, bytes);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    REAL(writev);
    return fails((struct call){ .kind = "data", .fd = fd, .bytes = length(iov, n) }) ? -1
                                                                                    : real(fd, iov, n);
}

int fallocate64(int fd, int mode, off64_t at, off64_t bytes)
{
    REAL(fallocate64);
    return fails_write(fd, at, (size_t)bytes) ? -1 : real(fd, mode, at, bytes);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return fails((struct call){ .kind = "sync", .fd = fd }) ? -1 : real(fd);
}

int fsync(int fd)
{
    REAL(fsync);
    return fails((struct call){ .kind = "sync", .fd = fd }) ? -1 : real(fd);
}

int renameat(int fromfd, const char *from, int tofd, const char *to)
{
    REAL(renameat);
    return fails((struct call){ .kind = "rename", .path = from }) ? -1 : real(fromfd, from, tofd, to);
}

/* The mode is only there when the file may be made; else what is handed on for it is not looked at. */
int openat(int dirfd, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    REAL(openat);
    va_start(args, flags);
    mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if ((flags & O_CREAT) && fails((struct call){ .kind = "create", .path = path }))
        return -1;
    return real(dirfd, path, flags, mode);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    REAL(unlinkat);
    return fails((struct call){ .kind = "unlink", .path = path }) ? -1 : real(dirfd, path, flags);
}
