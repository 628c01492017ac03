// SPDX-License-Identifier: MIT
#include "listen/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/memory.h"

/*
 * The kernel cuts this to net.core.somaxconn. Long, because a visitor who
 * finds the queue full waits a second for the next SYN.
 */
#define BACKLOG 4096

/*
 * Set before listen(): accepted sockets inherit them, which saves two system
 * calls for every connection.
 */
int listeners_set_inherited(int fd)
{
	static const struct {
		int level;
		int option;
		int value;
	} inherited[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		/* As the kernel does it by default: a client that is out of
		 * reach for minutes may come back. */
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(inherited); i++) {
		if (setsockopt(fd, inherited[i].level, inherited[i].option,
			       &inherited[i].value,
			       sizeof(inherited[i].value)) < 0)
			return -errno;
	}
	return 0;
}

static int set_address_options(int fd, int family, enum listener_scope scope)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (scope != LISTENER_STEERED)
		return 0;
	if (setsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       family == AF_INET6 ? IPV6_TRANSPARENT : IP_TRANSPARENT,
		       &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

/* Where a listener of @scope is bound to. */
static struct endpoint name_scope(int family, enum listener_scope scope,
				  uint16_t port)
{
	const bool any = scope == LISTENER_ANY;

	if (family == AF_INET)
		return endpoint_at(any ? &ipv4_any : &ipv4_loopback, port);
	return endpoint_at(any ? &in6addr_any : &in6addr_loopback, port);
}

static int listener_open(int family, enum listener_scope scope, uint16_t port)
{
	const struct endpoint place = name_scope(family, scope, port);
	cleanup_fd int fd = -1;
	int err;

	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = set_address_options(fd, family, scope);
	if (!err)
		err = listeners_set_inherited(fd);
	if (err)
		return err;
	if (bind(fd, &place.address.any, place.length) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return steal_fd(&fd);
}

int listeners_open(struct listeners *listeners, enum listener_scope scope,
		   uint16_t port, bool ipv6)
{
	int fd;

	*listeners = LISTENERS_NONE;
	fd = listener_open(AF_INET, scope, port);
	if (fd < 0)
		return fd;
	listeners->ipv4 = fd;
	if (!ipv6)
		return 0;

	fd = listener_open(AF_INET6, scope, port);
	if (fd >= 0) {
		listeners->ipv6 = fd;
		return 0;
	}
	/* No IPv6 in the kernel, or none on the loopback interface. */
	if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
		return 0;
	listeners_close(listeners);
	return fd;
}

static bool has_waiting(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t length = sizeof(info);

	/* Of a listener, it is the length of its queue. */
	return fd >= 0 &&
	       getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
	       info.tcpi_unacked > 0;
}

bool listeners_have_waiting(const struct listeners *listeners)
{
	return has_waiting(listeners->ipv4) || has_waiting(listeners->ipv6);
}

/* Bound but not listening, a socket can be reached by nobody. */
static bool is_taken(int family, enum listener_scope scope, uint16_t port)
{
	const struct endpoint place = name_scope(family, scope, port);
	cleanup_fd int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && set_address_options(fd, family, LISTENER_ANY) == 0 &&
	       bind(fd, &place.address.any, place.length) < 0 &&
	       errno == EADDRINUSE;
}

bool listeners_port_is_taken(enum listener_scope scope, uint16_t port)
{
	return is_taken(AF_INET, scope, port) ||
	       is_taken(AF_INET6, scope, port);
}

/* The unspecified address leads to the loopback one. */
static bool is_loopback(const struct sockaddr *address)
{
	const struct in6_addr mapped = address_as_ipv6(address);

	return address_is_any(&mapped) || IN6_IS_ADDR_LOOPBACK(&mapped) ||
	       IN6_ARE_ADDR_EQUAL(&mapped, &ipv4_loopback);
}

/* Only an address of this host can be bound to. */
static bool is_local(struct endpoint endpoint)
{
	cleanup_fd int fd = socket(endpoint.address.any.sa_family,
				   SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* In the same place for both families. */
	endpoint.address.ipv4.sin_port = 0;
	return fd >= 0 && bind(fd, &endpoint.address.any, endpoint.length) == 0;
}

bool listeners_are_at(enum listener_scope scope, uint16_t port,
		      const struct endpoint *endpoint)
{
	if (endpoint->address.any.sa_family == AF_UNIX ||
	    endpoint_port(endpoint) != port)
		return false;
	return is_loopback(&endpoint->address.any) ||
	       (scope == LISTENER_ANY && is_local(*endpoint));
}

void listeners_close(struct listeners *listeners)
{
	close_fd_at(&listeners->ipv4);
	close_fd_at(&listeners->ipv6);
}
