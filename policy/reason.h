/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * reason: the fixed words by which a refusal says why, in the error's data.reason.
 *
 * Clients may rely on them; a word is never renamed.  The table (reason_table) says what each one
 * means and is what the manual page is checked against.
 */
#ifndef POLICY_REASON_H
#define POLICY_REASON_H

#define REASON_BAD_NAME "bad-name"
#define REASON_BAD_IMAGE "bad-image"
#define REASON_BAD_PLAN "bad-plan"
#define REASON_BUSY "busy"
#define REASON_CANCELLED "cancelled"
#define REASON_CHAIN_MISMATCH "chain-mismatch"
#define REASON_CONFIGURATION_CHANGED "configuration-changed"
#define REASON_CURRENT_BRANCH "current-branch"
#define REASON_DELETING "being-deleted"
#define REASON_DIRECTION_UNAVAILABLE "direction-unavailable"
#define REASON_DISK_GONE "disk-gone"
#define REASON_DUPLICATE_NAME "duplicate-name"
#define REASON_FILE_EXISTS "file-exists"
#define REASON_FILE_UNUSABLE "file-unusable"
#define REASON_IMAGE_CHANGED "image-changed"
#define REASON_JOB_RUNNING "job-running"
#define REASON_MACHINE_MISMATCH "machine-mismatch"
#define REASON_MEMORY_CHANGED "memory-changed"
#define REASON_MEMORY_MISSING "memory-missing"
#define REASON_METHOD_UNAVAILABLE "method-unavailable"
#define REASON_MIGRATION_BLOCKED "migration-blocked"
#define REASON_NEEDS_REPLACE "needs-replace"
#define REASON_NO_SPACE "no-space"
#define REASON_NOT_SUPPORTED "not-supported"
#define REASON_OPERATION_RUNNING "operation-running"
#define REASON_QEMU_FAILED "qemu-failed"
#define REASON_STUCK "stuck"
#define REASON_TIMEOUT "timeout"
#define REASON_UNEXPECTED_ANSWER "unexpected-answer"
#define REASON_UNKNOWN_ARGUMENT "unknown-argument"
#define REASON_UNKNOWN_DISK "unknown-disk"
#define REASON_UNKNOWN_SNAPSHOT "unknown-snapshot"
#define REASON_UNSAVED_STATE "unsaved-state"
#define REASON_UNSUPPORTED_ARGUMENT "unsupported-argument"
#define REASON_UNSUPPORTED_DISK "unsupported-disk"
#define REASON_VERSION_MISMATCH "version-mismatch"
#define REASON_WRONG_STATE "wrong-state"

struct reason_row {
    const char *word;
    const char *meaning;
};

/* Ends with a row of NULLs. */
extern const struct reason_row reason_table[];

#endif
