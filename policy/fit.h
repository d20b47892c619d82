/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fit: does the QEMU that a revert starts fit the memory that a snapshot has saved?
 *
 * Model: facts about a process, read from its own answers to fit_queries:
 *
 *   { qemu: [major, minor, micro], package?, machine?, accelerator?, cpu?, cpus?, memory? }
 *
 * machine is the type that really runs ("pc-i440fx-7.2", where the user may have said "pc" or nothing);
 * accelerator is "kvm" or, for all else, "tcg"; cpu the model's QOM type; memory the bytes without those
 * of plugged devices, which are checked as devices.  What QEMU cannot tell is left out, and what is left
 * out of a snapshot (older records have less) is not compared.
 *
 * There are two looks.  Before anything is changed, at the program that would start: its version must not
 * be older than the one that saved, and it must know the machine.  And at the second process, before it
 * loads: all of the above.  package is for people only.
 *
 * Rules: pure.  Errors: "version-mismatch" and "machine-mismatch", with both values in the data (saved,
 * found).
 */
#ifndef POLICY_FIT_H
#define POLICY_FIT_H

#include <jansson.h>
#include <stdbool.h>

#include "policy/world.h"
#include "qmp/err.h"

struct fit_query {
    const char *as;             /* member of the answers */
    const char *execute;
    const char *path, *property;    /* of qom-get; else NULL */
};

#define FIT_QUERIES 6
extern const struct fit_query fit_queries[FIT_QUERIES];

/* new: the arguments of that query, or NULL. */
json_t *fit_query_arguments(const struct fit_query *query);

/* new: facts from { as: return, ... }; what failed is null or left out. */
json_t *fit_read(const json_t *answers);

/* new: { qemu?, package?, machines?: [type] } of a program; version and machines are what it prints
 * when it is asked for them, or NULL. */
json_t *fit_read_program(const char *version, const char *machines);

/* Puts the facts of the VM as it is into a snapshot's record: qemu, and the others as fit. */
void fit_record(const struct world *world, json_t *snapshot);

/* Do facts of another process fit those of the record?  qemu and fit: of the snapshot, may be NULL. */
bool fit_compare(const json_t *qemu, const json_t *fit, const json_t *facts, struct err *err);

/* Can the program that would start (world.program; nothing is known: yes) load the snapshot's memory? */
bool fit_check_program(const struct world *world, const json_t *snapshot, struct err *err);

/* new: the expectation (expect.h) that a process fits the snapshot. */
json_t *fit_expect(const json_t *snapshot);

/* borrowed: the machine type that the new process is to be told; NULL: as the command line says. */
const char *fit_machine(const struct world *world, const json_t *snapshot);

/* The version of QEMU that a revert starts. */
void fit_version(const struct world *world, int version[2]);

#endif
