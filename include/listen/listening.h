/* SPDX-License-Identifier: MIT */
/* Who listens in this network namespace (that of the thread that asks), as the
 * kernel tells everybody: unlike a bind() to a low port, that needs no rights.
 */
#ifndef LISTEN_LISTENING_H
#define LISTEN_LISTENING_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

struct listening {
	/* AF_INET or AF_INET6; 16 bytes of which the first 4 or all count, zeros
	 * for all addresses, which an IPv6 socket may mean of IPv4 as well. */
	sa_family_t family;
	uint8_t address[16];
	/* Of the socket, as in "socket:[123]". */
	unsigned long inode;
};

/*
 * The sockets that listen on TCP @port: the first @most are filled into @found,
 * which may be NULL if that is 0. Returns how many there are.
 */
size_t listening_find(uint16_t port, struct listening *found, size_t most);

/*
 * A socket that has TCP @port, whatever it does, but one that listens if there
 * is one. Returns its state (TCP_LISTEN, ...), or 0 if there is none.
 */
unsigned int listening_find_holder(uint16_t port, struct listening *holder);

/* Does anybody, at whatever address? False if the kernel does not tell. */
bool listeners_serve(uint16_t port);

/* Does it get what is sent to @address? */
bool listening_takes(const struct listening *listening,
		     const struct sockaddr *address);

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

#endif
