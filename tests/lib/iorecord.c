/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iorecord: writes down what a program does to files (LD_PRELOAD; tests/qemu/torn.py).
 *
 * Model: the file that IORECORD names gets a line a call, in the order in which they had their effect:
 *
 *     CALL \t RESULT \t INODE \t PATH \t PATH \t LENGTH \n DATA \n
 *
 * RESULT is 0, or errno.  Calls: create (an open that made a file), write (to a regular file), sync
 * and syncdir (of a file, of a folder), truncate (to LENGTH, no data), rename, exchange (of two names), unlink,
 * mkdir, rmdir, log (to stderr).  PATH of these is where the file is now.  INODE is the file's or the folder's that the call is about, for "create" and "mkdir" the new
 * one's.  Paths are absolute.
 *
 * Rules: only calls of the program called IORECORD_PROGRAM, not of those that it starts.  One call at a
 * time, whatever thread makes it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int out = -1;

static void __attribute__((constructor)) start(void)
{
    const char *path = getenv("IORECORD"), *program = getenv("IORECORD_PROGRAM");

    if (!path || !program || strcmp(program, program_invocation_short_name) != 0)
        return;
    out = open64(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0)
        _exit(99);
}

static unsigned long long inode_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static void absolute(int dirfd, const char *path, char full[PATH_MAX])
{
    char link[32], folder[PATH_MAX] = "";
    ssize_t n;

    if (path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
        return;
    }
    if (dirfd == AT_FDCWD) {
        n = getcwd(folder, sizeof(folder)) ? (ssize_t)strlen(folder) : 0;
    } else {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
        n = readlink(link, folder, sizeof(folder) - 1);
    }
    snprintf(full, PATH_MAX, "%.*s/%.1000s", n > 0 ? (int)n : 0, folder, path);
}

/* One line, in one write, so that what a test writes in between stays whole as well. */
static void record(const char *call, int failed, unsigned long long inode, const char *a,
                   const char *b, const void *data, size_t len)
{
    int error = errno;
    char head[3 * PATH_MAX];
    struct iovec parts[3];

    snprintf(head, sizeof(head), "%s\t%d\t%llu\t%s\t%s\t%zu\n", call, failed ? error : 0, inode,
             a, b, len);
    parts[0] = (struct iovec){ head, strlen(head) };
    parts[1] = (struct iovec){ (void *)data, data ? len : 0 };
    parts[2] = (struct iovec){ (void *)"\n", 1 };
    if (writev(out, parts, 3) < 0)
        _exit(98);
    errno = error;
}

static int open_recorded(int dirfd, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    struct stat st;
    int fd, made;

    REAL(openat);
    if (out < 0 || !(flags & O_CREAT))
        return real(dirfd, path, flags, mode);
    pthread_mutex_lock(&lock);
    made = fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0;
    fd = real(dirfd, path, flags, mode);
    if (fd >= 0 && made) {
        absolute(dirfd, path, full);
        record("create", 0, inode_of(fd), full, "", NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int openat(int dirfd, const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_recorded(dirfd, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    mode_t mode;

    va_start(ap, flags);
    mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_recorded(AT_FDCWD, path, flags, mode);
}

static int is_regular(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

ssize_t write(int fd, const void *data, size_t len)
{
    ssize_t n;

    REAL(write);
    if (out < 0 || (fd != STDERR_FILENO && !is_regular(fd)))
        return real(fd, data, len);
    pthread_mutex_lock(&lock);
    n = real(fd, data, len);
    record(fd == STDERR_FILENO ? "log" : "write", n < 0, inode_of(fd), "", "", data,
           n < 0 ? 0 : (size_t)n);
    pthread_mutex_unlock(&lock);
    return n;
}

int ftruncate(int fd, off_t len)
{
    int result;

    REAL(ftruncate);
    if (out < 0)
        return real(fd, len);
    pthread_mutex_lock(&lock);
    result = real(fd, len);
    record("truncate", result < 0, inode_of(fd), "", "", NULL, (size_t)len);
    pthread_mutex_unlock(&lock);
    return result;
}

static int is_folder(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

static int sync_recorded(int fd, int (*real)(int fd))
{
    char link[32], path[PATH_MAX];
    int result;
    ssize_t n;

    if (out < 0)
        return real(fd);
    pthread_mutex_lock(&lock);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    result = real(fd);
    record(is_folder(fd) ? "syncdir" : "sync", result < 0, inode_of(fd), path, "", NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd)
{
    REAL(fsync);
    return sync_recorded(fd, real);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return sync_recorded(fd, real);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char a[PATH_MAX], b[PATH_MAX];
    int result;

    REAL(renameat);
    if (out < 0)
        return real(from_dir, from, to_dir, to);
    pthread_mutex_lock(&lock);
    absolute(from_dir, from, a);
    absolute(to_dir, to, b);
    result = real(from_dir, from, to_dir, to);
    record("rename", result < 0, 0, a, b, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    char a[PATH_MAX], b[PATH_MAX];
    int result;

    REAL(renameat2);
    if (out < 0)
        return real(from_dir, from, to_dir, to, flags);
    pthread_mutex_lock(&lock);
    absolute(from_dir, from, a);
    absolute(to_dir, to, b);
    result = real(from_dir, from, to_dir, to, flags);
    record(flags & RENAME_EXCHANGE ? "exchange" : "rename", result < 0, 0, a, b, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    char full[PATH_MAX];
    int result;

    REAL(unlinkat);
    if (out < 0)
        return real(dirfd, path, flags);
    pthread_mutex_lock(&lock);
    absolute(dirfd, path, full);
    result = real(dirfd, path, flags);
    record(flags & AT_REMOVEDIR ? "rmdir" : "unlink", result < 0, 0, full, "", NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
    char full[PATH_MAX];
    struct stat st;
    int result;

    REAL(mkdirat);
    if (out < 0)
        return real(dirfd, path, mode);
    pthread_mutex_lock(&lock);
    absolute(dirfd, path, full);
    result = real(dirfd, path, mode);
    record("mkdir", result < 0, stat(full, &st) == 0 ? st.st_ino : 0, full, "", NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}
