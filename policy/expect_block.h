/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * expect_block: the kinds of expectation about block nodes, disks and chains.
 *
 * Rules: private to expect.c, which knows the table of kinds; see policy/expect.h.
 */
#ifndef POLICY_EXPECT_BLOCK_H
#define POLICY_EXPECT_BLOCK_H

#include "policy/expect.h"

enum expect_verdict expect_block_node(const json_t *expect, const json_t *answer,
                                      struct err *why);
enum expect_verdict expect_block_disk(const json_t *expect, const json_t *answer,
                                      struct err *why);
enum expect_verdict expect_block_chain(const json_t *expect, const json_t *answer,
                                       struct err *why);

#endif
