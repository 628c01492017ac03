/* SPDX-License-Identifier: MIT */
/*
 * Make a TCP socket again that was taken away from the web server: same names,
 * same numbers, what the client has sent in its queue (TCP_REPAIR, tcp(7)). To
 * the client nothing has happened.
 *
 * The client's bytes are copied, and never looked at.
 */
#ifndef REDIRECT_BPF_REPAIR_H
#define REDIRECT_BPF_REPAIR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <linux/types.h>
#include "bpf/shared.h"

/*
 * A socket as @event tells, still under repair: it sends nothing. Needs
 * CAP_NET_ADMIN. Returns a close-on-exec descriptor or negative errno;
 * -EADDRNOTAVAIL: some 10 ms after its segment came another socket has its name
 * still, because the RST did not get through, or again.
 */
int repair_begin(const struct handoff_event *event);

/* @length bytes more that the client has sent. 0 or negative errno. */
int repair_receive(int fd, const uint8_t *bytes, size_t length);

/* From here on it is an ordinary connected socket, whose first ACK tells the
 * client what has come. 0 or negative errno. */
int repair_end(int fd);

/* The client's end of the connection, as a socket address. */
void repair_client(const struct handoff_event *event,
		   struct sockaddr_storage *address, socklen_t *length);

#endif
