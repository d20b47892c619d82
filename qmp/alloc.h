/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * alloc: memory that is never lacking.
 *
 * Model: where there is none left the program ends, with a message on stderr and by abort(): what it
 * has on the disk is made for a proxy that dies at any moment, and the next one goes on from there.  To
 * go on without memory would be worse: a plan that lacks a step is carried out.
 *
 * Rules: nothing else in qmp/, policy/ and proxy/ asks for memory of its own.  jansson is given these
 * functions before main() in every program that links this file, so that json_pack() and the like
 * return NULL, and the setters fail, only for what is no UTF-8; libevent is given them by proxy/loop.h.
 * What libc allocates inside its functions (opendir() ...) may still fail: look at what they return.
 * All that is returned is freed with free().
 */
#ifndef QMP_ALLOC_H
#define QMP_ALLOC_H

#include <stddef.h>

/* There is no memory: says so and ends the program. */
_Noreturn void alloc_fail(void);

/* new: each as the function of libc with that job. */
void *alloc_bytes(size_t size);                             /* malloc */
void *alloc_zeroed(size_t n, size_t size);                  /* calloc */
void *alloc_again(void *old, size_t size);                  /* realloc */
void *alloc_array(void *old, size_t n, size_t size);        /* reallocarray */
char *alloc_copy(const char *text);                         /* strdup */
char *alloc_copy_n(const char *text, size_t len);           /* strndup */
char *alloc_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* asprintf */

#endif
