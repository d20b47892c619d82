/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * expect: what the verification of a step means, as data.
 *
 * Model: a step carries an expectation, a JSON object whose member "is" names its kind.  The runner
 * sends the query that belongs to the kind, gives the return here, and gets one of three verdicts:
 * it is so, it may become so (ask again), it will not become so.
 *
 * kind          return of                    further members ("?": optional)
 * status        query-status                 in: [str]
 * migrated      query-migrate                final?: [str], default ["completed"]
 * job           query-jobs                   id: str, in: [str] ("null": absent), error-ok?: bool
 * node          query-named-block-nodes      name: str, present: bool, driver?: str,
 *                                            read-only?: bool, file?: str
 * disk          query-block                  device: str and/or qdev: str, node: str
 * chain         {nodes, blocks, graph?}      disks: [{device and/or qdev, chain: [link]}],
 *                                            only?: bool;
 *                                            link: {file: str, driver: str, node?: str,
 *                                            also?: [str]}
 * parameters    query-migrate-parameters     equal: object
 * capabilities  query-migrate-capabilities   equal: {capability: bool}
 * fdset         query-fdsets                 id: int, present: bool
 * devices       qom-list (EXPECT_DEVICES)    present: [str], absent: [str]: ids
 * fit           {as: return} of fit_queries  qemu?: [int], fit?: object: see fit.h
 * any           whatever
 *
 * status and migrated say NO at once to a state that does not pass by itself (io-error, failed,
 * ...) and is not listed; job to an error (unless error-ok), to a job that is gone, and to one that
 * is concluded while neither that nor "null" is listed.  Only these three kinds ever WAIT: the
 * others ask about effects that are there when the command is answered.
 *
 * In "chain", every listed disk's chain must equal the list, active image first; file is the
 * protocol node's filename ("x/../" and the like left out) or one of also, driver that of the image
 * node.  With only, no other disk may be
 * writable.  qdev is compared by graph_qdev_match().
 *
 * Rules: pure.  A plan is read from a journal too, so it is not trusted: an unknown kind or a
 * member of the wrong type is EXPECT_NO with the reason "bad-plan", whatever the answer.  An answer
 * that lacks what QEMU's schema promises is EXPECT_NO with "unexpected-answer", a wrong chain with
 * "chain-mismatch", one that does not fit with the reasons of fit.h, any other no with "qemu-failed".  Names of states are those of QEMU's schema
 * (RunState, MigrationStatus, JobStatus); a state that is not known here is waited out.
 */
#ifndef POLICY_EXPECT_H
#define POLICY_EXPECT_H

#include <jansson.h>
#include <stdbool.h>

#include "qmp/err.h"

/* stands for query-named-block-nodes (flat), query-block and x-debug-query-block-graph */
#define EXPECT_QUERY_CHAIN "chain"
/* stands for fit_queries (fit.h) */
#define EXPECT_QUERY_FIT "fit"

/* the path that qom-list is asked for: where QEMU keeps the devices that have an id */
#define EXPECT_DEVICES "/machine/peripheral"

enum expect_verdict { EXPECT_YES, EXPECT_WAIT, EXPECT_NO };

/* Both JSON values are only read.  why is set for EXPECT_NO, and untouched otherwise. */
enum expect_verdict expect_check(const json_t *expect, const json_t *reply_return,
                                 struct err *why);

/* The QMP command (static) whose return the expectation reads: "query-status", ...; NULL for
 * "any" and for an unknown kind; for those that read several, EXPECT_QUERY_CHAIN and EXPECT_QUERY_FIT. */
const char *expect_query(const json_t *expect);

/* new: what is to be asked, in order: [{execute, arguments?, as?}].  Where there is an "as", the answers
 * are given to expect_check() as members of an object (null for one that failed). */
json_t *expect_queries(const json_t *expect);

/* Is what a "no" says a refusal with a reason of its own, and no failure of QEMU's? */
bool expect_is_refusal(const struct err *why);

#endif
