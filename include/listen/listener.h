/* SPDX-License-Identifier: MIT */
/*
 * The one interface between redirect and proxy: a listening TCP socket for
 * each address family.
 */
#ifndef LISTEN_LISTENER_H
#define LISTEN_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"

enum listener_scope {
	/* 127.0.0.1 and [::1]: packets are assigned to the socket, or it is
	 * reached from this host alone. */
	LISTENER_LOOPBACK,
	/* The same with IP_TRANSPARENT, which a steered listener needs: without
	 * it any NAT rule on the host takes the socket off the packet again
	 * (nf_nat_ipv4_local_in), and the flow is reset. */
	LISTENER_STEERED,
	/* 0.0.0.0 and [::]: an iptables REDIRECT sends each packet to the
	 * address of the interface it came in on. */
	LISTENER_ANY,
};

/* -1 for a family that is switched off or that the host does not have. */
struct listeners {
	int ipv4;
	int ipv6;
};

#define LISTENERS_NONE ((struct listeners){ .ipv4 = -1, .ipv6 = -1 })

/*
 * Open non-blocking, close-on-exec listeners on @port; TCP_NODELAY and
 * SO_KEEPALIVE are set on them because accepted sockets inherit both. IPv6 is
 * left out without an error where the host has none. Returns 0 or negative
 * errno (-EADDRINUSE: somebody listens there); nothing stays open then.
 */
int listeners_open(struct listeners *listeners, enum listener_scope scope,
		   uint16_t port, bool ipv6);

/* Set on @fd, which no listener accepted, what accepted sockets inherit. 0 or
 * negative errno. */
int listeners_set_inherited(int fd);

/* Is there anybody, a connection from this host perhaps, who keeps listeners of
 * @scope from @port? Opens nothing. */
bool listeners_port_is_taken(enum listener_scope scope, uint16_t port);

/* Does a connection of this host to @endpoint come to listeners of @scope on
 * @port? Opens nothing. */
bool listeners_are_at(enum listener_scope scope, uint16_t port,
		      const struct endpoint *endpoint);

/* Has anybody come to them who was not accepted yet? */
bool listeners_have_waiting(const struct listeners *listeners);

/* Close both; safe on LISTENERS_NONE and twice. */
void listeners_close(struct listeners *listeners);

#endif
