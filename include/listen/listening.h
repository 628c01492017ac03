/* SPDX-License-Identifier: MIT */
/* Who listens in this network namespace (that of the thread that asks), as the
 * kernel tells everybody: unlike a bind() to a low port, that needs no rights.
 */
#ifndef LISTEN_LISTENING_H
#define LISTEN_LISTENING_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"

struct listening {
	/* IPv4 as ::ffff:a.b.c.d; zeros for all addresses, which an IPv6 socket
	 * may mean of IPv4 as well. */
	struct in6_addr address;
	/* Of the socket, as in "socket:[123]". */
	unsigned long inode;
};

/*
 * The sockets that listen on TCP @port: the first @most are filled into @found,
 * which may be NULL if that is 0. Returns how many there are.
 */
size_t listening_find(uint16_t port, struct listening *found, size_t most);

/* Does anybody, at whatever address? False if the kernel does not tell. */
bool listeners_serve(uint16_t port);

/* Does it get what is sent to @endpoint? */
bool listening_takes(const struct listening *listening,
		     const struct endpoint *endpoint);

/* Does one that listens on TCP @port have an address of its own, and not one of
 * loopback? */
bool listening_at_own_address(uint16_t port);

/*
 * The name of the process that has the socket open, cut to @size, and as the
 * result its pid; 0 if it is another user's, or of another pid namespace, or
 * gone.
 */
pid_t listening_process(const struct listening *listening, char *name,
			size_t size);

#define LISTENING_HOLDER_SIZE 96

/*
 * Who keeps a port from us, for people to read: "nginx (process 812) listens
 * there", "a connection of curl (process 901) is there", or that nobody is seen
 * who does. Looks at all processes.
 */
void listening_describe_holder(uint16_t port,
			       char text[static LISTENING_HOLDER_SIZE]);

#endif
