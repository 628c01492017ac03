/* SPDX-License-Identifier: MIT */
/*
 * Backends: where a judged connection is relayed to.
 *
 * A backend is named on the command line as "host:port" or "[v6]:port" and
 * resolved once, at start, by the supervisor: the worker that faces the
 * internet has no resolver, no files and no rights to use them. Or it is a
 * socket of this host: "unix:/path", looked up anew for each connection, or
 * "unix:@name", an abstract one (unix(7)).
 */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Enough for "localhost" and for a name with a few addresses. */
#define BACKEND_MAX_ADDRESSES 4
/* A DNS name (253), brackets, colon and port. */
#define BACKEND_TEXT_SIZE 272
/* "[v6%scope]:port" */
#define ENDPOINT_TEXT_SIZE 96

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
		struct sockaddr_un local;
		struct sockaddr_storage storage;
	} address;
	socklen_t length;
};

/* What a connection to a backend begins with (proxy/proxy_header.h). */
enum proxy_protocol {
	/* No header. */
	PROXY_PROTOCOL_NONE,
	PROXY_PROTOCOL_V1,
	PROXY_PROTOCOL_V2,
};

struct backend {
	/* As given by the user, for messages. */
	char text[BACKEND_TEXT_SIZE];
	/* Tried in this order until one connects. */
	struct endpoint addresses[BACKEND_MAX_ADDRESSES];
	size_t count;
	/* What each connection to it begins with. */
	enum proxy_protocol proxy_protocol;
};

/* "host:port" taken apart; the strings point into @buffer. */
struct address_parts {
	char buffer[BACKEND_TEXT_SIZE];
	const char *host;
	const char *port;
	/* "/path" or "@name"; then there is no host and no port, else NULL. */
	const char *path;
};

/*
 * Take "host:port", "[v6]:port", "unix:/path" or "unix:@name" apart. Pure, no
 * look-up. The port is a number from 1 to 65535; path and name are what fits
 * into a socket's address. Returns 0 or -EINVAL, -E2BIG.
 */
int address_split(const char *text, struct address_parts *parts);

/*
 * Look @host up in /etc/hosts and DNS, for addresses of @family or AF_UNSPEC
 * for both, and fill in the first @most, with @port. Returns how many there
 * are, or -ENOENT (none, or no such name), -EAGAIN (the name server did not
 * answer, or fails).
 */
int endpoints_look_up(const char *host, const char *port, int family,
		      struct endpoint *endpoints, size_t most);

/*
 * Fill @backend from @text; names are looked up in /etc/hosts and DNS.
 * Returns 0, -EINVAL (malformed), -ENOENT (name unknown), -EAGAIN (the
 * name server did not answer).
 */
int backend_resolve(const char *text, struct backend *backend);

/* A socket of this host, "/path" or "@name", that is not longer than what it
 * goes into. */
struct endpoint unix_endpoint(const char *name);

/* Is it a socket of this host, by whatever name? */
bool backend_is_unix(const struct backend *backend);

/* Is it one that has a path? */
bool backend_has_path(const struct backend *backend);

/* Addresses of both families are kept as those of IPv6, IPv4 as
 * ::ffff:a.b.c.d: 0.0.0.0, 127.0.0.1, that of @address; and an endpoint
 * there. */
extern const struct in6_addr ipv4_any, ipv4_loopback;
struct in6_addr address_as_ipv6(const struct sockaddr *address);
struct endpoint endpoint_at(const struct in6_addr *address, uint16_t port);

/* "192.0.2.1" or "2001:db8::1" without anything else, and back. */
bool address_parse(const char *text, struct in6_addr *address);
const char *address_text(const struct in6_addr *address,
			 char text[static INET6_ADDRSTRLEN]);

/* Are the first @bits of both the same? */
bool address_begins_with(const struct in6_addr *address,
			 const struct in6_addr *prefix, unsigned int bits);
bool address_is_among(const struct in6_addr *address,
		      const struct in6_addr *items, size_t count);
/* Of 127.0.0.0/8, or ::1. */
bool address_is_loopback(const struct in6_addr *address);
/* 0.0.0.0 or ::. */
bool address_is_any(const struct in6_addr *address);

/* In host byte order; not of a socket of this host. */
uint16_t endpoint_port(const struct endpoint *endpoint);

/* "192.0.2.1" or "2001:db8::1", likewise. */
const char *endpoint_host(const struct endpoint *endpoint,
			  char text[static INET6_ADDRSTRLEN]);

/* "192.0.2.1:443" or "[2001:db8::1]:443", always terminated; not of a socket of
 * this host. */
const char *endpoint_text(const struct endpoint *endpoint,
			  char text[static ENDPOINT_TEXT_SIZE]);

/*
 * Connect to @endpoint until @deadline_ns of monotonic_ns(), and say nothing. 0
 * if somebody answers, who then sees the connection end; -ETIMEDOUT if nobody
 * does in time; or negative errno: why not.
 */
int dial(const struct endpoint *endpoint, uint64_t deadline_ns);

#endif
