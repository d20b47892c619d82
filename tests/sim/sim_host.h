/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_host: the host of a simulated VM: a folder with images, what is in them, and what goes wrong.
 *
 * Model: images are real files with real headers, so that the proxy's own deeds look at them.  What a
 * guest has written is kept beside them: a few blocks, each of which holds a number or nothing, and is
 * then read from the image below.  A change of an image gives its file another time and size.  qemu-img
 * is done here, in place of posix_spawnp(); fsync() does nothing.
 *
 * Every call that could fail on a real host (fsync, rename, qemu-img) is counted; one of them can be
 * made to fail.  Locks are those of QEMU's on its images: who writes to one is alone on it.
 *
 * One host at a time.
 */
#ifndef TESTS_SIM_HOST_H
#define TESTS_SIM_HOST_H

#include <jansson.h>
#include <stdbool.h>

#define SIM_BLOCKS 4
#define SIM_DISK_BYTES (64LL << 20)

struct sim_image;

/* Makes the folder. */
void sim_host_begin(void);
/* Removes it and all that is in it. */
void sim_host_end(void);
/* borrowed. */
const char *sim_host_path(void);

/* ---- images ---- */

/* Makes an image file as qemu-img does; backing may be NULL. */
void sim_image_make(const char *path, const char *format, const char *backing,
                    const char *backing_format);
/* NULL: there is none at that path. */
struct sim_image *sim_image_find(const char *path);
/* The paths and formats that its header names; NULL: none. */
const char *sim_image_backing(const struct sim_image *image);
const char *sim_image_backing_format(const struct sim_image *image);
const char *sim_image_format(const struct sim_image *image);
/* The header names another image from now on (NULL: none). */
void sim_image_rebase(struct sim_image *image, const char *backing, const char *format);

/* Its own block (0: nothing), and what is read through it. */
long sim_image_own(const struct sim_image *image, unsigned block);
long sim_image_read(const struct sim_image *image, unsigned block);
void sim_image_write(struct sim_image *image, unsigned block, long value);
/* new: [number of each block], read through. */
json_t *sim_image_content(const struct sim_image *image);

/* A saved state of the machine in an image; NULL: there is none. */
void sim_image_save(struct sim_image *image, const char *tag, const json_t *memory);
const json_t *sim_image_saved(const struct sim_image *image, const char *tag);

/* ---- locks ---- */

/* False: somebody else has it. */
bool sim_lock_take(const void *owner, const char *path, bool write);
void sim_lock_drop(const void *owner);
bool sim_lock_free(const char *path);

/* ---- what goes wrong ---- */

/* The at-th call from now on fails (0: the next); negative: none.  Returns how many there were since the last
 * call of this. */
long sim_host_fail(long at);
/* Has it failed? */
bool sim_host_failed(void);

#endif
