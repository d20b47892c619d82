/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/sim/sim_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/sim_fail.h"

/* An image has its header in the first page, a saved state of the machine behind it. */
#define SIM_TABLE_AT 4096
#define SIM_PAGE 4096

struct sim_image {
    struct sim_image *next;
    char *path, *format, *backing, *backing_format;
    long block[SIM_BLOCKS];
    json_t *saved;              /* tag -> memory */
};

struct sim_lock {
    struct sim_lock *next;
    const void *owner;
    char *path;
    bool write;
};

static struct {
    char path[64];
    struct sim_image *images;
    struct sim_lock *locks;
    long long changes;          /* how often any image was changed */
} host;

/* ---- the folder ---- */

void sim_host_begin(void)
{
    bool shm = access("/dev/shm", W_OK) == 0;

    snprintf(host.path, sizeof(host.path), "%s/qmp-sim.XXXXXX", shm ? "/dev/shm" : "/tmp");
    sim_fail_check(mkdtemp(host.path) != NULL, "no folder");
    sim_host_fail(-1);
}

static void host_remove(int dirfd, const char *name)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(fd, entry->d_name, 0) < 0)
            host_remove(fd, entry->d_name);
    if (dir)
        closedir(dir);
    unlinkat(dirfd, name, AT_REMOVEDIR);
}

static void image_free(struct sim_image *image)
{
    free(image->path);
    free(image->format);
    free(image->backing);
    free(image->backing_format);
    json_decref(image->saved);
    free(image);
}

void sim_host_end(void)
{
    struct sim_image *image;

    while ((image = host.images)) {
        host.images = image->next;
        image_free(image);
    }
    while (host.locks)
        sim_lock_drop(host.locks->owner);
    host_remove(AT_FDCWD, host.path);
}

const char *sim_host_path(void)
{
    return host.path;
}

/* ---- headers ---- */

static void put32(unsigned char *at, unsigned value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* The first page of a qcow2 image. */
static void header_fill(const struct sim_image *image, unsigned char page[SIM_PAGE])
{
    size_t len = image->backing ? strlen(image->backing) : 0, at = 104;
    size_t format = image->backing_format ? strlen(image->backing_format) : 0;

    memset(page, 0, SIM_PAGE);
    memcpy(page, "QFI\xfb", 4);
    put32(page + 4, 3);
    put32(page + 20, 16);
    put32(page + 28, (unsigned)SIM_DISK_BYTES);
    put32(page + 60, (unsigned)json_object_size(image->saved));
    put32(page + 68, image->saved ? SIM_TABLE_AT : 0);
    put32(page + 96, 4);
    put32(page + 100, 104);
    if (format) {
        put32(page + at, 0xe2792aca);
        put32(page + at + 4, (unsigned)format);
        memcpy(page + at + 8, image->backing_format, format);
        at += 8 + ((format + 7) & ~(size_t)7);
    }
    at += 8;
    if (len) {
        put32(page + 12, (unsigned)at);
        put32(page + 16, (unsigned)len);
        memcpy(page + at, image->backing, len);
    }
}

/* The table of states that were saved: one entry, with its name and what was saved behind it. */
static size_t table_fill(const struct sim_image *image, unsigned char *out)
{
    const char *tag = json_object_iter_key(json_object_iter(image->saved));
    size_t len = strlen(tag);

    memset(out, 0, 40);
    out[12] = (unsigned char)(1 >> 8);
    out[13] = 1;
    out[14] = (unsigned char)(len >> 8);
    out[15] = (unsigned char)len;
    put32(out + 32, 4096);
    out[40] = '1';
    memcpy(out + 41, tag, len);
    return 41 + len;
}

/* What changed is in the file: its size, or at least its time, is another one. */
static void image_stamp(int fd)
{
    struct timespec times[2];

    host.changes++;
    times[0].tv_sec = times[1].tv_sec = 1000000 + host.changes / 1000;
    times[0].tv_nsec = times[1].tv_nsec = (long)(host.changes % 1000) * 1000;
    sim_fail_check(futimens(fd, times) == 0, "cannot stamp an image");
}

static void image_store(const struct sim_image *image)
{
    unsigned char page[2 * SIM_PAGE];
    int fd = open(image->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    size_t len = SIM_PAGE;
    char *text;

    sim_fail_check(fd >= 0, image->path);
    memset(page, 0, sizeof(page));
    if (strcmp(image->format, "qcow2") == 0)
        header_fill(image, page);
    if (image->saved) {
        len = SIM_TABLE_AT + table_fill(image, page + SIM_TABLE_AT);
        text = json_dumps(image->saved, JSON_COMPACT | JSON_SORT_KEYS);
        sim_fail_check(pwrite(fd, text, strlen(text), 2 * SIM_PAGE) > 0, image->path);
        free(text);
    }
    sim_fail_check(pwrite(fd, page, len, 0) == (ssize_t)len, image->path);
    image_stamp(fd);
    close(fd);
}

/* ---- images ---- */

struct sim_image *sim_image_find(const char *path)
{
    struct sim_image *image = host.images;

    while (image && strcmp(image->path, path) != 0)
        image = image->next;
    return image && access(path, F_OK) == 0 ? image : NULL;
}

static struct sim_image *image_entry(const char *path)
{
    struct sim_image *image = host.images;

    while (image && strcmp(image->path, path) != 0)
        image = image->next;
    if (!image) {
        image = calloc(1, sizeof(*image));
        image->path = strdup(path);
        image->next = host.images;
        host.images = image;
    }
    return image;
}

static void text_set(char **to, const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    free(*to);
    *to = copy;
}

void sim_image_make(const char *path, const char *format, const char *backing,
                    const char *backing_format)
{
    struct sim_image *image = image_entry(path);

    text_set(&image->format, format);
    text_set(&image->backing, backing);
    text_set(&image->backing_format, backing_format);
    memset(image->block, 0, sizeof(image->block));
    json_decref(image->saved);
    image->saved = NULL;
    image_store(image);
}

const char *sim_image_backing(const struct sim_image *image)
{
    return image->backing;
}

const char *sim_image_backing_format(const struct sim_image *image)
{
    return image->backing_format;
}

const char *sim_image_format(const struct sim_image *image)
{
    return image->format;
}

void sim_image_rebase(struct sim_image *image, const char *backing, const char *format)
{
    text_set(&image->backing, backing);
    text_set(&image->backing_format, format);
    image_store(image);
}

long sim_image_own(const struct sim_image *image, unsigned block)
{
    return image->block[block];
}

long sim_image_read(const struct sim_image *image, unsigned block)
{
    while (image && !image->block[block])
        image = image->backing ? sim_image_find(image->backing) : NULL;
    return image ? image->block[block] : 0;
}

void sim_image_write(struct sim_image *image, unsigned block, long value)
{
    int fd = open(image->path, O_WRONLY | O_CLOEXEC);

    /* QEMU has a file open that was unlinked: what it writes ends with it. */
    if (fd < 0)
        return;
    if (!image->block[block])
        sim_fail_check(pwrite(fd, "x", 1, (off_t)(block + 3) * SIM_PAGE) == 1, image->path);
    image->block[block] = value;
    image_stamp(fd);
    close(fd);
}

json_t *sim_image_content(const struct sim_image *image)
{
    json_t *content = json_array();

    for (unsigned i = 0; i < SIM_BLOCKS; i++)
        json_array_append_new(content, json_integer(sim_image_read(image, i)));
    return content;
}

void sim_image_save(struct sim_image *image, const char *tag, const json_t *memory)
{
    json_decref(image->saved);
    image->saved = json_object();
    json_object_set_new(image->saved, tag, json_deep_copy(memory));
    image_store(image);
}

const json_t *sim_image_saved(const struct sim_image *image, const char *tag)
{
    return json_object_get(image->saved, tag);
}

/* ---- locks ---- */

bool sim_lock_take(const void *owner, const char *path, bool write)
{
    struct sim_lock *lock;

    for (lock = host.locks; lock; lock = lock->next)
        if (lock->owner != owner && strcmp(lock->path, path) == 0 && (write || lock->write))
            return false;
    sim_lock_drop(owner);
    lock = calloc(1, sizeof(*lock));
    lock->owner = owner;
    lock->path = strdup(path);
    lock->write = write;
    lock->next = host.locks;
    host.locks = lock;
    return true;
}

void sim_lock_drop(const void *owner)
{
    struct sim_lock **at = &host.locks;

    while (*at && (*at)->owner != owner)
        at = &(*at)->next;
    if (*at) {
        struct sim_lock *lock = *at;

        *at = lock->next;
        free(lock->path);
        free(lock);
    }
}

bool sim_lock_free(const char *path)
{
    for (struct sim_lock *lock = host.locks; lock; lock = lock->next)
        if (strcmp(lock->path, path) == 0)
            return false;
    return true;
}
