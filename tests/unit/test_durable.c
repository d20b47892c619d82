/* SPDX-License-Identifier: GPL-2.0-or-later */
/* durable: files are whole or not touched, whatever lies in the way. */
#include "tests/unit/file_box.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/durable.h"

/* Calls of fsync() for folders, and from which one on so many of them fail. */
static int folder_syncs, failing_from, failing;

int fsync(int fd)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        int n = ++folder_syncs;

        if (failing > 0 && n >= failing_from && n < failing_from + failing) {
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(SYS_fsync, fd);
}

/* The next n syncs of folders fail. */
static void folder_syncs_fail(int n)
{
    folder_syncs = 0;
    failing_from = 1;
    failing = n;
}

static void write_refused(const struct file_box *box, const char *reason)
{
    struct err err = ERR_INIT;

    assert_false(durable_write(box->fd, "f", "new content", 11, &err));
    assert_string_equal(err.reason, reason);
    err_clear(&err);
}

static void content_is_replaced_as_a_whole(void **state)
{
    struct file_box *box = *state;
    struct err err = ERR_INIT;

    assert_true(durable_write(box->fd, "f", "a long first content", 20, &err));
    assert_true(durable_write(box->fd, "f", "short", 5, &err));
    assert_file(box->fd, "f", "short");
    assert_int_equal(file_mode_of(box->fd, "f"), S_IFREG | 0600);
    assert_false(file_is_there(box->fd, ".f.tmp"));
    file_put(box->fd, ".f.tmp", "left over by a crash, and longer than what follows");
    assert_true(durable_write(box->fd, "f", "", 0, &err));
    assert_file(box->fd, "f", "");
    assert_false(file_is_there(box->fd, ".f.tmp"));
}

static void links_are_not_followed(void **state)
{
    struct file_box *box = *state;
    struct err err = ERR_INIT;
    json_t *out;

    file_put(box->fd, "victim", "{\"secret\": 1}");
    assert_int_equal(symlinkat("victim", box->fd, ".f.tmp"), 0);
    assert_int_equal(symlinkat("victim", box->fd, "f"), 0);
    assert_false(durable_read_json(box->fd, "f", &out, &err));
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    err_clear(&err);
    assert_true(durable_write(box->fd, "f", "new", 3, &err));
    assert_file(box->fd, "victim", "{\"secret\": 1}");
    assert_file(box->fd, "f", "new");
    assert_int_equal(linkat(box->fd, "victim", box->fd, ".f.tmp", 0), 0);   /* a hard link too */
    assert_true(durable_write(box->fd, "f", "newer", 5, &err));
    assert_file(box->fd, "victim", "{\"secret\": 1}");
    assert_int_equal(symlinkat("victim", box->fd, "gone"), 0);
    assert_true(durable_remove(box->fd, "gone", &err));
    assert_file(box->fd, "victim", "{\"secret\": 1}");
}

static void what_cannot_be_written_leaves_the_old_content(void **state)
{
    struct file_box *box = *state;

    file_put(box->fd, "f", "old");
    assert_int_equal(mkdirat(box->fd, ".f.tmp", 0700), 0);
    write_refused(box, REASON_FILE_UNUSABLE);
    assert_file(box->fd, "f", "old");
    unlinkat(box->fd, ".f.tmp", AT_REMOVEDIR);
    unlinkat(box->fd, "f", 0);
    assert_int_equal(mkdirat(box->fd, "f", 0700), 0);   /* the rename fails */
    write_refused(box, REASON_FILE_UNUSABLE);
    assert_false(file_is_there(box->fd, ".f.tmp"));
}

/* Stands for a full disk: the write fails half way. */
static void half_written_file_is_thrown_away(void **state)
{
    struct file_box *box = *state;
    struct rlimit old, small;
    struct err err = ERR_INIT;
    bool ok;

    file_put(box->fd, "f", "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){ .rlim_cur = 5, .rlim_max = old.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    ok = durable_write(box->fd, "f", "new content", 11, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(ok);
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    assert_string_equal(state_str(err.data, "file"), "f");
    err_clear(&err);
    assert_file(box->fd, "f", "old");
    assert_false(file_is_there(box->fd, ".f.tmp"));
}

static void file_that_may_not_be_on_the_disk_goes_again(void **state)
{
    struct file_box *box = *state;
    struct err err = ERR_INIT;

    for (int n = 1; n <= 2; n++) { /* the way back can be synced, or cannot */
        folder_syncs_fail(n);
        write_refused(box, REASON_FILE_UNUSABLE);
        assert_int_equal(folder_syncs, 2);
        assert_false(file_is_there(box->fd, "f"));
        file_put(box->fd, "f", "old");
        folder_syncs_fail(n);
        write_refused(box, REASON_FILE_UNUSABLE);
        assert_file(box->fd, "f", "old");
        assert_false(file_is_there(box->fd, ".f.tmp"));
        folder_syncs_fail(0);
        assert_true(durable_write(box->fd, "f", "new", 3, &err));
        assert_int_equal(folder_syncs, 1);
        assert_file(box->fd, "f", "new");
        unlinkat(box->fd, "f", 0);
    }
}

static void file_that_may_not_be_gone_is_synced_again(void **state)
{
    struct file_box *box = *state;
    struct err err = ERR_INIT;

    file_put(box->fd, "f", "old");
    folder_syncs_fail(2);
    for (int i = 0; i < 2; i++) {
        assert_false(durable_remove(box->fd, "f", &err));
        err_clear(&err);
    }
    assert_true(durable_remove(box->fd, "f", &err));
    assert_int_equal(folder_syncs, 3);
}

static void folder_without_permission_is_an_error(void **state)
{
    struct file_box *box = *state;
    struct err err = ERR_INIT;
    bool root = geteuid() == 0;

    file_put(box->fd, "f", "old");
    fchmod(box->fd, 0555);
    if (root)
        assert_int_equal(seteuid(FILE_BOX_NOBODY), 0);
    write_refused(box, REASON_FILE_UNUSABLE);
    assert_false(durable_remove(box->fd, "f", &err));
    err_clear(&err);
    if (root)
        assert_int_equal(seteuid(0), 0);
    fchmod(box->fd, 0755);
    assert_file(box->fd, "f", "old");
}

static void what_is_not_there_is_no_error(void **state)
{
    struct file_box *box = *state;
    struct err err = ERR_INIT;
    json_t *out = json_true();

    assert_true(durable_read_json(box->fd, "f", &out, &err));
    assert_null(out);
    assert_true(durable_remove(box->fd, "f", &err));
    assert_true(durable_remove_path("/no/such/folder/f", &err));
    assert_true(durable_remove_path(box->path, &err));
    file_put(box->fd, "vm", "x");
    assert_true(durable_remove_path(box->path, &err));
    assert_false(file_is_there(box->fd, "vm"));
    assert_int_equal(mkdirat(box->fd, "vm", 0700), 0);
    assert_false(durable_remove_path(box->path, &err));
    err_clear(&err);
}

static void errors_are_told_apart(void **state)
{
    static const struct {
        int error;
        const char *reason;
    } rows[] = {
        { ENOSPC, REASON_NO_SPACE },      { EDQUOT, REASON_NO_SPACE },
        { EEXIST, REASON_FILE_EXISTS },   { EIO, REASON_FILE_UNUSABLE },
        { EACCES, REASON_FILE_UNUSABLE }, { EROFS, REASON_FILE_UNUSABLE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err err = ERR_INIT;

        durable_errno(&err, rows[i].error, "write", "/a");
        assert_string_equal(err.reason, rows[i].reason);
        assert_non_null(strstr(err.desc, "Cannot write '/a': "));
        err_clear(&err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_BOX_TEST(content_is_replaced_as_a_whole),
        FILE_BOX_TEST(links_are_not_followed),
        FILE_BOX_TEST(what_cannot_be_written_leaves_the_old_content),
        FILE_BOX_TEST(half_written_file_is_thrown_away),
        FILE_BOX_TEST(file_that_may_not_be_on_the_disk_goes_again),
        FILE_BOX_TEST(file_that_may_not_be_gone_is_synced_again),
        FILE_BOX_TEST(folder_without_permission_is_an_error),
        FILE_BOX_TEST(what_is_not_there_is_no_error),
        FILE_BOX_TEST(errors_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
