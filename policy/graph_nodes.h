/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * graph_nodes: the half of graph.c that knows no disks: nodes, edges, depth.
 *
 * Model: graph->answers holds copies of QEMU's answers as "nodes", "blocks" and, when given,
 * "graph".  graph_nodes_read() fills graph->nodes from them and leaves behind
 * "index" (node-name -> number) and "backends" ([[name, number of the node below], ...]).
 *
 * Rules: private to graph.c; everything else includes policy/graph.h.
 */
#ifndef POLICY_GRAPH_NODES_H
#define POLICY_GRAPH_NODES_H

#include "policy/graph.h"

bool graph_nodes_read(struct graph *graph, struct err *err);

/* The member, *borrowed from object*; NULL with *err set when it is missing or no string (boolean,
 * integer).  where names the query in the error. */
const json_t *graph_nodes_member(const json_t *object, const char *key, json_type type,
                                 const char *where, struct err *err);

#endif
