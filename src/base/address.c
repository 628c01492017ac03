// SPDX-License-Identifier: MIT
#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <nss.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"

#define UNIX_PREFIX	   "unix:"
#define UNIX_PREFIX_LENGTH (sizeof(UNIX_PREFIX) - 1)

static bool port_is_valid(const char *port)
{
	size_t digits = strspn(port, "0123456789");
	long value;

	if (digits == 0 || digits > 5 || port[digits])
		return false;
	value = strtol(port, NULL, 10);
	return value >= 1 && value <= 65535;
}

static int split_port(struct address_parts *parts)
{
	char *colon = strrchr(parts->buffer, ':');

	if (!colon || !port_is_valid(colon + 1))
		return -EINVAL;
	*colon = '\0';
	parts->port = colon + 1;
	parts->host = parts->buffer;

	if (parts->buffer[0] == '[') {
		if (colon - parts->buffer < 3 || colon[-1] != ']')
			return -EINVAL;
		colon[-1] = '\0';
		parts->host = parts->buffer + 1;
	} else if (strchr(parts->buffer, ':')) {
		/* A bare IPv6 address: where does its port begin? */
		return -EINVAL;
	}
	return *parts->host && !strpbrk(parts->host, "[] \t/") ? 0 : -EINVAL;
}

static int split_path(struct address_parts *parts)
{
	const size_t length = strlen(parts->buffer + UNIX_PREFIX_LENGTH);

	parts->path = parts->buffer + UNIX_PREFIX_LENGTH;
	if (length < 2)
		return -EINVAL;
	/* A zero byte comes behind a path, and takes the place of the "@". */
	return length < sizeof(((struct sockaddr_un *)0)->sun_path) ? 0
								    : -E2BIG;
}

int address_split(const char *text, struct address_parts *parts)
{
	if (strlen(text) >= sizeof(parts->buffer))
		return -E2BIG;
	*parts = (struct address_parts){ .path = NULL };
	strcpy(parts->buffer, text);
	/* A host may be called "unix", but no port begins like this. */
	if (strncmp(text, UNIX_PREFIX "/", UNIX_PREFIX_LENGTH + 1) == 0 ||
	    strncmp(text, UNIX_PREFIX "@", UNIX_PREFIX_LENGTH + 1) == 0)
		return split_path(parts);
	return split_port(parts);
}

int endpoints_look_up(const char *host, const char *port, int family,
		      struct endpoint *endpoints, size_t most)
{
	const struct addrinfo hints = {
		.ai_family = family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV,
	};
	struct addrinfo *results;
	size_t count = 0;
	int err;

	/*
	 * A static binary must not load the host's NSS modules, which belong
	 * to another C library; these two are built in (glibc 2.34).
	 */
	__nss_configure_lookup("hosts", "files dns");
	err = getaddrinfo(host, port, &hints, &results);
	if (err)
		return err == EAI_AGAIN || err == EAI_FAIL ? -EAGAIN : -ENOENT;

	for (struct addrinfo *result = results; result && count < most;
	     result = result->ai_next) {
		struct endpoint *endpoint = &endpoints[count++];

		memcpy(&endpoint->address, result->ai_addr, result->ai_addrlen);
		endpoint->length = result->ai_addrlen;
	}
	freeaddrinfo(results);
	return (int)count;
}

struct endpoint unix_endpoint(const char *name)
{
	struct endpoint endpoint = { .address.local.sun_family = AF_UNIX };
	char *const path = endpoint.address.local.sun_path;
	size_t length = strlen(name);

	memcpy(path, name, length);
	if (*name == '@')
		path[0] = '\0';
	else if (length < sizeof(endpoint.address.local.sun_path))
		length++;
	endpoint.length =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	return endpoint;
}

int backend_resolve(const char *text, struct backend *backend)
{
	struct address_parts parts;
	int result = address_split(text, &parts);

	if (result)
		return result;

	*backend = (struct backend){ .count = 0 };
	strcpy(backend->text, text);
	if (parts.path) {
		backend->addresses[0] = unix_endpoint(parts.path);
		backend->count = 1;
		return 0;
	}
	result = endpoints_look_up(parts.host, parts.port, AF_UNSPEC,
				   backend->addresses, BACKEND_MAX_ADDRESSES);
	if (result < 0)
		return result;
	backend->count = (size_t)result;
	return 0;
}

bool backend_is_unix(const struct backend *backend)
{
	return backend->addresses[0].address.any.sa_family == AF_UNIX;
}

bool backend_has_path(const struct backend *backend)
{
	return backend_is_unix(backend) &&
	       backend->addresses[0].address.local.sun_path[0];
}

const struct in6_addr ipv4_any = { .s6_addr = { [10] = 0xff, 0xff } };
const struct in6_addr ipv4_loopback = {
	.s6_addr = { [10] = 0xff, 0xff, 127, [15] = 1 }
};

static struct in6_addr of_ipv4(struct in_addr ipv4)
{
	struct in6_addr address = ipv4_any;

	memcpy(&address.s6_addr[12], &ipv4, sizeof(ipv4));
	return address;
}

struct in6_addr address_as_ipv6(const struct sockaddr *address)
{
	const void *any = address;

	return address->sa_family == AF_INET6
		       ? ((const struct sockaddr_in6 *)any)->sin6_addr
		       : of_ipv4(((const struct sockaddr_in *)any)->sin_addr);
}

struct endpoint endpoint_at(const struct in6_addr *address, uint16_t port)
{
	if (IN6_IS_ADDR_V4MAPPED(address))
		return (struct endpoint){
			.address.ipv4 = { .sin_family = AF_INET,
					  .sin_port = htons(port),
					  .sin_addr.s_addr =
						  address->s6_addr32[3] },
			.length = sizeof(struct sockaddr_in),
		};
	return (struct endpoint){
		.address.ipv6 = { .sin6_family = AF_INET6,
				  .sin6_port = htons(port),
				  .sin6_addr = *address },
		.length = sizeof(struct sockaddr_in6),
	};
}

bool address_parse(const char *text, struct in6_addr *address)
{
	struct in_addr ipv4;

	if (inet_pton(AF_INET6, text, address) == 1)
		return true;
	if (inet_pton(AF_INET, text, &ipv4) != 1)
		return false;
	*address = of_ipv4(ipv4);
	return true;
}

const char *address_text(const struct in6_addr *address,
			 char text[static INET6_ADDRSTRLEN])
{
	const bool ipv4 = IN6_IS_ADDR_V4MAPPED(address);

	inet_ntop(ipv4 ? AF_INET : AF_INET6, &address->s6_addr[ipv4 ? 12 : 0],
		  text, INET6_ADDRSTRLEN);
	return text;
}

bool address_begins_with(const struct in6_addr *address,
			 const struct in6_addr *prefix, unsigned int bits)
{
	const uint8_t mask = (uint8_t)(0xff00 >> bits % 8);

	return memcmp(address, prefix, bits / 8) == 0 &&
	       (bits % 8 == 0 ||
		((address->s6_addr[bits / 8] ^ prefix->s6_addr[bits / 8]) &
		 mask) == 0);
}

bool address_is_among(const struct in6_addr *address,
		      const struct in6_addr *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (IN6_ARE_ADDR_EQUAL(&items[i], address))
			return true;
	}
	return false;
}

bool address_is_loopback(const struct in6_addr *address)
{
	return IN6_IS_ADDR_V4MAPPED(address)
		       ? address->s6_addr[12] == IN_LOOPBACKNET
		       : IN6_IS_ADDR_LOOPBACK(address);
}

bool address_is_any(const struct in6_addr *address)
{
	return IN6_IS_ADDR_UNSPECIFIED(address) ||
	       IN6_ARE_ADDR_EQUAL(address, &ipv4_any);
}

uint16_t endpoint_port(const struct endpoint *endpoint)
{
	/* At the same place in both families. */
	return ntohs(endpoint->address.ipv4.sin_port);
}

const char *endpoint_host(const struct endpoint *endpoint,
			  char text[static INET6_ADDRSTRLEN])
{
	const struct in6_addr address = address_as_ipv6(&endpoint->address.any);

	return address_text(&address, text);
}

const char *endpoint_text(const struct endpoint *endpoint,
			  char text[static ENDPOINT_TEXT_SIZE])
{
	char host[INET6_ADDRSTRLEN];

	endpoint_host(endpoint, host);
	snprintf(text, ENDPOINT_TEXT_SIZE,
		 strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
		 endpoint_port(endpoint));
	return text;
}

static int wait_for_answer(int fd, uint64_t deadline)
{
	struct pollfd event = { .fd = fd, .events = POLLOUT };
	socklen_t size = sizeof(int);
	int error = 0;

	if (poll(&event, 1, ms_until(deadline)) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

int dial(const struct endpoint *endpoint, uint64_t deadline_ns)
{
	const struct sockaddr *address = &endpoint->address.any;
	cleanup_fd int fd = -1;

	fd = socket(address->sa_family,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, address, endpoint->length) == 0)
		return 0;
	return errno == EINPROGRESS ? wait_for_answer(fd, deadline_ns) : -errno;
}
