/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file_box: a temporary folder for each test, and a look at what lies in it. */
#ifndef TESTS_UNIT_FILE_BOX_H
#define TESTS_UNIT_FILE_BOX_H

#include "tests/unit/json_text.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qmp/alloc.h"

#define FILE_BOX_NOBODY 65534
#define FILE_BOX_TEST(f) cmocka_unit_test_setup_teardown(f, file_box_setup, file_box_teardown)

/* Each test has a folder of its own; path is in it, and fd is it. */
struct file_box {
    char dir[64], path[128];
    int fd;
};

static inline int file_box_setup(void **state)
{
    struct file_box *box = alloc_zeroed(1, sizeof(*box));
    const char *tmp = getenv("TMPDIR");

    snprintf(box->dir, sizeof(box->dir), "%s/test_file_box.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(box->dir))
        return -1;
    chmod(box->dir, 0755);
    snprintf(box->path, sizeof(box->path), "%s/vm", box->dir);
    box->fd = open(box->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = box;
    return box->fd < 0 ? -1 : 0;
}

static inline int file_box_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static inline int file_box_teardown(void **state)
{
    struct file_box *box = *state;
    int result = nftw(box->dir, file_box_remove, 8, FTW_DEPTH | FTW_PHYS);

    if (result < 0 && errno == ENOMEM)
        alloc_fail();
    close(box->fd);
    free(box);
    return result;
}

static inline void file_put(int dirfd, const char *name, const char *text)
{
    int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static inline void assert_file(int dirfd, const char *name, const char *want)
{
    char have[256] = "";
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW);

    assert_true(fd >= 0);
    assert_true(read(fd, have, sizeof(have) - 1) >= 0);
    close(fd);
    assert_string_equal(have, want);
}

static inline mode_t file_mode_of(int dirfd, const char *name)
{
    struct stat st;

    assert_int_equal(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode;
}

static inline bool file_is_there(int dirfd, const char *name)
{
    struct stat st;

    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

#endif
