/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store: what has to be on the disk before it is relied on, and an fsync that says that it is not. */
#include "tests/unit/file_box.h"

#include <dlfcn.h>
#include <errno.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/store.h"

/* The fsync of that folder fails. */
static ino_t sync_fails_on;
static int sync_error;

int fsync(int fd)
{
    static int (*real)(int fd);
    struct stat st;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fsync");
    if (sync_error && fstat(fd, &st) == 0 && st.st_ino == sync_fails_on) {
        errno = sync_error;
        return -1;
    }
    return real(fd);
}

static void fail_on(int fd, int error)
{
    struct stat st;

    assert_int_equal(fstat(fd, &st), 0);
    sync_fails_on = st.st_ino;
    sync_error = error;
}

static int mend(void **state)
{
    sync_error = 0;
    return file_box_teardown(state);
}

static struct store *open_fine(const char *path)
{
    struct err err = ERR_INIT;
    struct store *store = store_open(path, &err);

    if (!store)
        fail_msg("%s", err.desc);
    return store;
}

static void nothing_is_recorded_in_a_folder_that_is_not_on_the_disk(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);
    json_t *record = json_deep_copy(store->state);
    struct err err = ERR_INIT;

    fail_on(box->fd, EIO);                  /* the folder that it is in */
    assert_false(store_write_journal(store, record, &err));
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    err_clear(&err);
    assert_false(store_write(store, record, &err));
    err_clear(&err);
    assert_false(file_is_there(store->dirfd, "journal.json"));
    assert_false(file_is_there(store->dirfd, "state.json"));
    fail_on(box->fd, EINVAL);               /* a file system without a disk */
    assert_true(store_write(store, record, &err));
    fail_on(box->fd, EIO);                  /* it is known to be there now */
    assert_true(store_write(store, record, &err));
    store_free(store);
    store = open_fine(box->path);
    assert_true(store_write(store, record, &err));
    store_free(store);
    json_decref(record);
}

static void a_journal_that_may_not_be_on_the_disk_is_not_read(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);
    json_t *journal = json_text("{'format': 1, 'committed': true}"), *out;
    struct err err = ERR_INIT;

    fail_on(store->dirfd, EIO);
    assert_true(store_read_journal(store, &out, &err));
    assert_null(out);
    sync_error = 0;
    assert_true(store_write_journal(store, journal, &err));
    fail_on(store->dirfd, EIO);
    assert_false(store_read_journal(store, &out, &err));
    assert_null(out);
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    err_clear(&err);
    sync_error = 0;
    assert_true(store_read_journal(store, &out, &err));
    assert_json(out, journal);
    json_decref(out);
    json_decref(journal);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_recorded_in_a_folder_that_is_not_on_the_disk,
                                        file_box_setup, mend),
        cmocka_unit_test_setup_teardown(a_journal_that_may_not_be_on_the_disk_is_not_read,
                                        file_box_setup, mend),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
