/* SPDX-License-Identifier: GPL-2.0-or-later */
/* runner and deeds: an fsync that has failed is not asked again. */
#include "tests/unit/file_box.h"
#include "tests/unit/runner_steps.h"

#include <dlfcn.h>
#include <errno.h>

#include "policy/plan.h"
#include "policy/reason.h"
#include "proxy/deeds.h"

/* The first fsync of a regular file fails, and those behind it do not, as with a disk of which the kernel
 * has given up what it could not write. */
static unsigned syncs;
static bool sync_fails;

int fsync(int fd)
{
    static int (*real)(int fd);
    struct stat st;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fsync");
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        syncs++;
        if (sync_fails) {
            sync_fails = false;
            errno = EIO;
            return -1;
        }
    }
    return real(fd);
}

/* make | commit | sync, end */
static json_t *plan_make(void)
{
    json_t *plan = plan_new("test", "s1"), *step;

    plan_add(plan, deed("make", "unmake"));
    step = deed("commit", NULL);
    step_commit_point(step);
    plan_add(plan, step);
    plan_add(plan, deed("sync", NULL));
    plan_add(plan, deed("end", NULL));
    return plan;
}

static void fails_at(size_t at, bool unsynced, enum runner_end end, const char *log)
{
    struct runner_fake *fake = runner_fake_new(vm_new());

    fake->deed_fails_at = at;
    fake->deed_unsynced = unsynced;
    runner_fake_run(fake, plan_make());
    assert_end(fake, end, end == RUNNER_DONE ? NULL : REASON_NO_SPACE);
    assert_log(fake, log);
    runner_fake_free(fake);
}

static void behind_the_commit_point_a_failed_fsync_is_the_end(void **state)
{
    (void)state;
    fails_at(2, true, RUNNER_STUCK, "journal, deed make, deed commit, journal committed, deed sync");
    fails_at(2, false, RUNNER_DONE,
             "journal, deed make, deed commit, journal committed, deed sync, deed sync, deed end");
}

static void before_it_a_failed_fsync_takes_everything_back(void **state)
{
    (void)state;
    fails_at(1, true, RUNNER_UNDONE, "journal, deed make, deed commit, deed unmake");
}

static void a_deed_says_that_an_fsync_has_failed(void **state)
{
    struct file_box *box = *state;
    struct err err = ERR_INIT;
    json_t *args, *result = NULL;

    file_put(box->fd, "vm", "x");
    args = json_pack("{s:s}", "file", box->path);
    syncs = 0;
    sync_fails = true;
    assert_false(deeds_find("file-sync")(args, &result, &err));
    assert_true(err.unsynced);
    assert_int_equal(syncs, 1);
    err_clear(&err);
    assert_false(err.unsynced);
    unlinkat(box->fd, "vm", 0);
    assert_false(deeds_find("file-sync")(args, &result, &err));
    assert_false(err.unsynced);
    err_clear(&err);
    json_decref(args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_the_commit_point_a_failed_fsync_is_the_end),
        cmocka_unit_test(before_it_a_failed_fsync_takes_everything_back),
        FILE_BOX_TEST(a_deed_says_that_an_fsync_has_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
