/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * deeds: what steps do on the host: files made, checked, removed.
 *
 * Each blocks and runs in the worker's thread (worker.h); each looks afterwards whether what it did
 * is so, and clears up behind itself when it fails.
 *
 *   overlay-create  { file, size, backing, backing-format, qemu-img } -> { ino, print }   never over an existing file
 *   header-check    { file, backing, backing-format }   the header names that, and is durable
 *   header-rewrite  { file, backing, backing-format, qemu-img }   makes it so; nothing else changes
 *   vmstate-create  { file, size, qemu-img }        an empty image, never over an existing file
 *   memory-create   { file }
 *   memory-seal     { file, tag? } -> { size, xxh3 }    durable from here on
 *   memory-check    { file, size, xxh3, tag? }      the file is what was sealed; tag: a state of that name
 *                                                   is in the image
 *   layers-freeze   { layers: {id: path} } -> { id: print }
 *   present-print   { files: [path] } -> { path: print }   of files that are written to again later
 *   stood-still     { prints: {path: print} }       nobody has written to them since
 *   files-sync      { files: [path] }               what QEMU has written is on the disk, if it can be
 *   file-sync       { file }                        it is on the disk
 *   file-remove     { file, known, own? }           unless it is in use (in_use.h says what known is); own: unless it
 *                                                   is on record
 *   files-remove    { files: [path], known }        the same of all of them, then the first error
 *   inspect         { files: [path], folders: [path], sync?: [path], pid?, program? }
 *                   -> { files, rooms, open?, program? } (policy/world.h; program: program.h);
 *                   what is in sync is on the disk then
 *   preflight       { steps }                       would the plan's new files find their place?
 */
#ifndef PROXY_DEEDS_H
#define PROXY_DEEDS_H

#include "proxy/worker.h"

/* NULL: no such deed. */
worker_fn *deeds_find(const char *name);

/* Is it one that needs `known`? */
bool deeds_unlinks(const char *name);

/* The locked state folder (borrowed), for the programs that are run to hold as well. */
void deeds_lend_lock(int fd);

worker_fn deed_inspect;
worker_fn deed_preflight;

#endif
