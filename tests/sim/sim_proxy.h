/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sim_proxy: the whole proxy, in this process, before simulated QEMUs (sim_qemu.h) on a simulated host
 * (sim_host.h).
 *
 * Model: it is started by its own launch_start() with a command line, as the program is, and taken apart
 * when it is to die: then nothing is written or sent any more, and the next one finds what there is.
 * Only processes, the worker's thread, qemu-img and the clock are not the real ones.  One client is
 * connected to its socket.
 */
#ifndef TESTS_SIM_PROXY_H
#define TESTS_SIM_PROXY_H

#include "proxy/daemon.h"
#include "tests/sim/sim_qemu.h"

/* Starts the simulation: a host and nothing on it.  argv (copied) is QEMU's command line. */
void sim_begin(char *const argv[]);
void sim_end(void);

/* Starts the proxy, and turns until it is at rest; false: it has ended at once (why: sim_proxy_error()). */
bool sim_proxy_start(void);
/* The same without a turn. */
bool sim_proxy_launch(void);
/* It is killed. */
void sim_proxy_kill(void);
bool sim_proxy_is_dying(void);
/* borrowed; NULL when there is none. */
struct daemon *sim_proxy(void);
const char *sim_proxy_error(void);

/* One turn of the loop.  False: the proxy has ended. */
bool sim_turn(void);
/* Turns until there is no operation, and nothing is under way; false: the proxy has ended. */
bool sim_settle(void);

/* Sends a command of the client's; the answer comes with sim_answer(). */
void sim_send(const char *execute, const json_t *args);
/* new: the answer, an object with "return" or "error"; NULL: none is there yet. */
json_t *sim_answer(void);
/* new: sends, and turns until it is answered; NULL: the proxy has ended before. */
json_t *sim_ask(const char *execute, const json_t *args);

/* borrowed: the QEMU that is the VM, as far as the proxy knows; NULL: none. */
struct sim_qemu *sim_main(void);

/* What happens, for the log of a failure. */
void sim_proxy_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints the notes and starts anew. */
void sim_proxy_print_notes(void);
void sim_proxy_clear_notes(void);

#endif
