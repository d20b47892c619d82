/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fdnames: where a QMP command names a descriptor that came with getfd, and other names in there.
 *
 * Model: a table of commands and of the keys that lead to such a name.  The text of a command's
 * arguments is walked token by token, without recursion and without a tree; of a text that
 * changes, nothing changes but the bytes of the names.
 *
 * Rules: the text is what message_parse_request() took, so it is well-formed, its keys are unique,
 * and it is not nested deeper than PARSE_MAX_NESTING.  A name that begins with a digit is none:
 * getfd refuses it, and everybody else takes it for a number.
 *
 * Facts.  Names are per monitor, and found through monitor_cur() (QEMU monitor/fds.c, before 8.0
 * monitor/misc.c: monitor_add_fd, monitor_get_fd, monitor_fd_param).  Who asks for one:
 *   qmp_getfd, qmp_closefd (there), qmp_add_client (monitor/qmp-cmds.c), qmp_dump_guest_memory
 *   (dump/dump.c), fd_start_outgoing_migration and fd_start_incoming_migration (migration/fd.c;
 *   "channels" since 8.2), net_init_tap (net/tap.c), net_init_socket (net/socket.c),
 *   net_init_vhost_vdpa (net/vhost-vdpa.c), parse_socket_fds (net/af-xdp.c, since 8.2),
 *   net_dgram_init (net/dgram.c), socket_get_fd (util/qemu-sockets.c) for a SocketAddress that is
 *   opened at once: chardev-add, nbd-server-start, block-export-add, display-update, NBD's client
 *   (block/nbd.c); vhost_scsi_realize, vhost_vsock_device_realize, pci_proxy_dev_realize
 *   (hw/remote/proxy.c), vfio_device_set_fd (since 9.0), virtio_net_load_ebpf_fds (since 9.0),
 *   remote_object_set_fd (hw/remote/remote-obj.c), iommufd_backend_set_fd (since 9.0).
 * "str" stands in no SocketAddress but one of type "fd", so the type need not be looked at.
 *
 * No places: the address of a netdev of type "stream", which is opened in a thread that has no
 * monitor (net/stream.c) and knows numbers only; socket addresses of chardev type "udp", which
 * refuses descriptors; the line of human-monitor-command, which has a monitor of its own; add-fd
 * and its relatives, which have numbers; transaction, whose actions name nodes and files.
 * Not looked into: "json:" file names, which can spell out a blockdev-add inside of a string.
 */
#ifndef POLICY_FDNAMES_H
#define POLICY_FDNAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "qmp/span.h"

/* May this command name a descriptor? */
bool fdnames_concerned(const char *command);

/*
 * Called for each name, in the order of the text.  name is decoded (U+0000 is C0 80) and borrowed
 * for the call.  Returns NULL to leave it as it is, or what is to stand there, borrowed until the
 * next call: UTF-8, without a colon, and no digit first.
 */
typedef const char *fdnames_fn(const char *name, void *arg);

/* new, from malloc, with a NUL that is not counted: the arguments with other names in them.  NULL
 * when fn left them all as they are; *len is then untouched. */
char *fdnames_rewrite(const char *command, struct span arguments, fdnames_fn *fn, void *arg,
                      size_t *len);

#endif
