// SPDX-License-Identifier: MIT
#include "proxy/backend_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/fd.h"

/* 2^64 divided by the golden ratio spreads a number over all its bits. */
#define SPREAD 0x9e3779b97f4a7c15ull

/* Of an IPv6 visitor the network, of which it has all addresses. */
static uint64_t number_of(const struct sockaddr *visitor)
{
	const struct sockaddr_in *ipv4 = (const void *)visitor;
	const struct sockaddr_in6 *ipv6 = (const void *)visitor;
	uint64_t number = 0;

	if (visitor->sa_family == AF_INET)
		memcpy(&number, &ipv4->sin_addr, sizeof(ipv4->sin_addr));
	else
		memcpy(&number, &ipv6->sin6_addr, sizeof(number));
	return number;
}

/* The second byte is neither that of 127.0.0.1, which web servers may trust,
 * nor that of the broadcast address. */
static in_addr_t source_for(const struct sockaddr *visitor)
{
	const uint64_t digest = number_of(visitor) * SPREAD;
	const uint32_t second = 1 + (uint32_t)(digest >> 56) % 254;

	return htonl((uint32_t)IN_LOOPBACKNET << 24 | second << 16 |
		     (uint32_t)(digest >> 40 & 0xffff));
}

/* The port is found by connect(), which needs it to be free for its
 * destination alone. */
static void take_source(int fd, const struct sockaddr *visitor)
{
	const struct sockaddr_in source = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = source_for(visitor),
	};
	const int on = 1;

	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
		       sizeof(on)) == 0)
		(void)bind(fd, (const struct sockaddr *)&source,
			   sizeof(source));
}

int backend_socket_connect(const struct endpoint *endpoint,
			   const struct sockaddr *visitor, size_t limit,
			   int *made)
{
	const sa_family_t family = endpoint->address.any.sa_family;
	cleanup_fd int fd =
		socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	if ((size_t)fd >= limit)
		return -EMFILE;
	if (visitor && family == AF_INET)
		take_source(fd, visitor);
	if (connect(fd, &endpoint->address.any, endpoint->length) < 0)
		err = -errno;
	if (!err || err == -EINPROGRESS)
		*made = steal_fd(&fd);
	return err;
}
