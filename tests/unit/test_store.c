/* SPDX-License-Identifier: GPL-2.0-or-later */
/* store: the state folder: whose it is, who works in it, and what is kept there. */
#include "tests/unit/file_box.h"

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/store.h"

static struct store *open_fine(const char *path)
{
    struct err err = ERR_INIT;
    struct store *store = store_open(path, &err);

    if (!store)
        fail_msg("%s", err.desc);
    return store;
}

static void open_refused(const char *path)
{
    struct err err = ERR_INIT;

    assert_null(store_open(path, &err));
    assert_true(err.set);
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    err_clear(&err);
}

static void new_folder_is_private_and_empty(void **state)
{
    struct file_box *box = *state;
    struct store *store;
    struct err err = ERR_INIT;
    char deep[256];

    snprintf(deep, sizeof(deep), "%s/a/b/vm", box->dir);
    store = open_fine(deep);
    assert_string_equal(store->path, deep);
    assert_int_equal(file_mode_of(box->fd, "a/b/vm"), S_IFDIR | 0700);
    assert_int_equal(file_mode_of(store->dirfd, "memory"), S_IFDIR | 0700);
    assert_true(state_check(store->state, &err));
    assert_false(file_is_there(store->dirfd, "state.json"));
    store_free(store);
    store_free(NULL);
}

static void folder_that_cannot_be_made_is_refused(void **state)
{
    struct file_box *box = *state;
    bool root = geteuid() == 0;

    fchmod(box->fd, 0555);
    if (root)
        assert_int_equal(seteuid(FILE_BOX_NOBODY), 0);
    open_refused(box->path);
    if (root)
        assert_int_equal(seteuid(0), 0);
    fchmod(box->fd, 0755);
    assert_false(file_is_there(box->fd, "vm"));
}

static void one_proxy_works_in_a_folder(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);

    open_refused(box->path);
    open_refused(box->path);
    store_free(store);
    store_free(open_fine(box->path));
}

static void folders_of_others_and_loose_ones(void **state)
{
    struct file_box *box = *state;

    assert_int_equal(mkdirat(box->fd, "vm", 0700), 0);
    fchmodat(box->fd, "vm", 0777, 0);
    store_free(open_fine(box->path));
    assert_int_equal(file_mode_of(box->fd, "vm"), S_IFDIR | 0700);
    if (geteuid() == 0) {
        assert_int_equal(fchownat(box->fd, "vm", FILE_BOX_NOBODY, FILE_BOX_NOBODY, 0), 0);
        open_refused(box->path);
        fchownat(box->fd, "vm", 0, 0, 0);
    }
    assert_int_equal(renameat(box->fd, "vm", box->fd, "real"), 0);
    assert_int_equal(symlinkat("real", box->fd, "vm"), 0);
    open_refused(box->path);
    unlinkat(box->fd, "vm", 0);
    file_put(box->fd, "vm", "a file");
    open_refused(box->path);
    strcat(box->path, "/below");
    open_refused(box->path);
}

static void record_is_kept(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);
    json_t *record = json_deep_copy(store->state);
    struct err err = ERR_INIT;

    json_object_set_new(record, "counter", json_integer(7));
    assert_true(store_write(store, record, &err));
    json_object_set_new(record, "counter", json_integer(8));        /* it was copied */
    assert_int_equal(json_integer_value(json_object_get(store->state, "counter")), 7);
    unlinkat(store->dirfd, "state.json", 0);
    mkdirat(store->dirfd, "state.json", 0700);
    assert_false(store_write(store, record, &err));
    err_clear(&err);
    assert_int_equal(json_integer_value(json_object_get(store->state, "counter")), 7);
    unlinkat(store->dirfd, "state.json", AT_REMOVEDIR);
    assert_true(store_write(store, record, &err));
    store_free(store);
    store = open_fine(box->path);
    assert_json(store->state, record);
    store_free(store);
    json_decref(record);
}

/* Its operation would be finished or taken back on a record that has gone on. */
static void record_does_not_go_on_beside_a_journal_that_is_over(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);
    json_t *journal = json_pack("{s:i}", "format", STATE_FORMAT), *found;
    struct err err = ERR_INIT;

    assert_true(store_write_journal(store, journal, &err));
    assert_true(store_write(store, store->state, &err)); /* the operation's own */
    unlinkat(store->dirfd, "journal.json", 0);
    mkdirat(store->dirfd, "journal.json", 0700);
    assert_false(store_remove_journal(store, &err));
    err_clear(&err);
    assert_false(store_write(store, store->state, &err));
    err_clear(&err);
    unlinkat(store->dirfd, "journal.json", AT_REMOVEDIR);
    file_put(store->dirfd, "journal.json", "{}");
    assert_true(store_write(store, store->state, &err));
    assert_true(store_read_journal(store, &found, &err));
    assert_null(found);
    store_free(store);
    json_decref(journal);
}

static void damaged_record_is_refused_and_kept(void **state)
{
    static const char *const texts[] = {
        "", "{", "not JSON", "null", "7", "{}", "{\"format\": 1}", "{\"format\": 1, \"format\": 1}",
        "{\"format\": 2}", "{\"format\": 1} x", "\xff", "[]", "[1, 2]", "\"text\"",
    };
    struct file_box *box = *state;
    int fd;

    store_free(open_fine(box->path));
    fd = open(box->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        file_put(fd, "state.json", texts[i]);
        open_refused(box->path);
        assert_file(fd, "state.json", texts[i]);
    }
    unlinkat(fd, "state.json", 0);
    assert_int_equal(mkfifoat(fd, "state.json", 0600), 0);
    open_refused(box->path);
    close(fd);
}

static void journal_and_process_come_and_go(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);
    json_t *value = json_text("['qemu', '-m', '64']"), *out;
    json_t *journal = json_text("{'format': 1, 'committed': false}");
    struct err err = ERR_INIT;

    assert_true(store_read_journal(store, &out, &err));
    assert_null(out);
    assert_true(store_write_journal(store, journal, &err));
    assert_true(store_read_journal(store, &out, &err));
    assert_json(out, journal);
    json_decref(out);
    assert_true(store_remove_journal(store, &err));
    assert_true(store_remove_journal(store, &err));
    assert_false(file_is_there(store->dirfd, "journal.json"));
    file_put(store->dirfd, "journal.json", "[1]");
    assert_false(store_read_journal(store, &out, &err));
    err_clear(&err);
    assert_true(store_write_process(store, 4711, 99, value, &err));
    assert_file(store->dirfd, "qemu.pid", "4711\n");
    file_put(store->dirfd, STORE_SOCKET, "");
    store_forget_process(store);
    assert_false(file_is_there(store->dirfd, "process.json"));
    assert_false(file_is_there(store->dirfd, STORE_PID));
    assert_false(file_is_there(store->dirfd, STORE_SOCKET));
    assert_true(file_is_there(store->dirfd, "journal.json"));
    json_decref(value);
    json_decref(journal);
    store_free(store);
}

static void the_second_process_becomes_the_first(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);
    json_t *argv = json_text("['qemu']"), *out, *first = NULL;
    struct err err = ERR_INIT;

    assert_true(store_write_process(store, 4711, 99, argv, &err));
    assert_true(store_write_next(store, 4712, 100, argv, &err));
    assert_true(store_read_process(store, true, &out, &err));
    assert_true(store_promote_next(store, 4712, &err));
    assert_true(store_read_process(store, false, &first, &err));
    assert_true(json_equal(first, out));
    assert_int_equal(json_integer_value(json_object_get(first, "pid")), 4712);
    assert_true(json_equal(json_object_get(first, "argv"), argv));
    assert_file(store->dirfd, "qemu.pid", "4712\n");
    assert_false(file_is_there(store->dirfd, "process.next.json"));
    assert_false(store_promote_next(store, 4712, &err));
    assert_true(err.set);
    err_clear(&err);
    json_decref(argv);
    json_decref(out);
    json_decref(first);
    store_free(store);
}

static void a_process_of_another_boot_is_none(void **state)
{
    struct file_box *box = *state;
    json_t *argv, *out = NULL;
    struct err err = ERR_INIT;
    struct store *store;

    if (access("/proc/sys/kernel/random/boot_id", R_OK) < 0)
        skip();
    store = open_fine(box->path);
    argv = json_text("['qemu']");
    for (int next = 0; next < 2; next++) {
        const char *file = next ? "process.next.json" : "process.json";
        char *text;

        assert_true((next ? store_write_next : store_write_process)(store, 4711, 99, argv, &err));
        assert_true(store_read_process(store, next, &out, &err));
        assert_int_equal(json_integer_value(json_object_get(out, "pid")), 4711);
        json_object_set_new(out, "boot", json_string("another"));
        text = json_dumps(out, 0);
        file_put(store->dirfd, file, text);
        free(text);
        json_decref(out);
        assert_true(store_read_process(store, next, &out, &err));
        assert_null(out);
        /* Written by a proxy that did not know of it. */
        file_put(store->dirfd, file, "{\"format\": 1, \"pid\": 4711, \"start\": 99}");
        assert_true(store_read_process(store, next, &out, &err));
        assert_non_null(out);
        json_decref(out);
    }
    json_decref(argv);
    store_free(store);
}

static void memory_that_nothing_names_is_swept(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);
    json_t *snapshots = json_object_get(store->state, "snapshots");

    json_array_append_new(snapshots, json_text("{'name': 's1', 'memory': {'file': '/x/s1.mem'}}"));
    json_array_append_new(snapshots, json_text("{'name': 's2'}"));
    file_put(store->dirfd, "memory/s1.mem", "a");
    file_put(store->dirfd, "memory/s2.mem", "b");
    store_sweep_memory(store);
    assert_file(store->dirfd, "memory/s1.mem", "a");
    assert_false(file_is_there(store->dirfd, "memory/s2.mem"));
    store_free(store);
}

/* They are the VM's whose record is lost, unless its first operation was interrupted. */
static void memory_without_a_record_is_refused_and_kept(void **state)
{
    struct file_box *box = *state;
    struct store *store = open_fine(box->path);

    file_put(store->dirfd, "memory/s1-1.mem", "a");
    store_free(store);
    open_refused(box->path);
    assert_file(box->fd, "vm/memory/s1-1.mem", "a");
    file_put(box->fd, "vm/journal.json", "{}");
    store = open_fine(box->path);
    assert_int_equal(unlinkat(store->dirfd, "journal.json", 0), 0);
    assert_int_equal(unlinkat(store->dirfd, "memory/s1-1.mem", 0), 0);
    store_free(store);
    store_free(open_fine(box->path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_BOX_TEST(new_folder_is_private_and_empty),
        FILE_BOX_TEST(folder_that_cannot_be_made_is_refused),
        FILE_BOX_TEST(one_proxy_works_in_a_folder),
        FILE_BOX_TEST(folders_of_others_and_loose_ones),
        FILE_BOX_TEST(record_is_kept),
        FILE_BOX_TEST(record_does_not_go_on_beside_a_journal_that_is_over),
        FILE_BOX_TEST(damaged_record_is_refused_and_kept),
        FILE_BOX_TEST(journal_and_process_come_and_go),
        FILE_BOX_TEST(the_second_process_becomes_the_first),
        FILE_BOX_TEST(a_process_of_another_boot_is_none),
        FILE_BOX_TEST(memory_that_nothing_names_is_swept),
        FILE_BOX_TEST(memory_without_a_record_is_refused_and_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
