// SPDX-License-Identifier: MIT
#include "proxy/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* Section 2.2: what begins each header of version 2. */
#define SIGNATURE	   "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_LENGTH   (sizeof(SIGNATURE) - 1)
#define VERSION_2_PROXY	   0x21
#define FAMILY_UNSPECIFIED 0x00
#define FAMILY_TCP4	   0x11
#define FAMILY_TCP6	   0x21

/* One end of the connection; @bytes and @port in network byte order. */
struct end {
	const uint8_t *bytes;
	size_t length;
	in_port_t port;
};

static struct end end_of(const struct sockaddr *address)
{
	const struct sockaddr_in *ipv4 = (const void *)address;
	const struct sockaddr_in6 *ipv6 = (const void *)address;

	if (address->sa_family == AF_INET)
		return (struct end){ (const uint8_t *)&ipv4->sin_addr,
				     sizeof(ipv4->sin_addr), ipv4->sin_port };
	return (struct end){ (const uint8_t *)&ipv6->sin6_addr,
			     sizeof(ipv6->sin6_addr), ipv6->sin6_port };
}

/* The family of both, or AF_UNSPEC. */
static sa_family_t common_family(const struct sockaddr *source,
				 const struct sockaddr *destination)
{
	const sa_family_t family = source->sa_family;

	if (family != destination->sa_family ||
	    (family != AF_INET && family != AF_INET6))
		return AF_UNSPEC;
	return family;
}

/* Section 2.1. */
static size_t write_text(const struct sockaddr *source,
			 const struct sockaddr *destination,
			 uint8_t header[static PROXY_HEADER_SIZE])
{
	const sa_family_t family = common_family(source, destination);
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

	if (family == AF_UNSPEC)
		return (size_t)snprintf((char *)header, PROXY_HEADER_SIZE,
					"PROXY UNKNOWN\r\n");
	inet_ntop(family, end_of(source).bytes, from, sizeof(from));
	inet_ntop(family, end_of(destination).bytes, to, sizeof(to));
	return (size_t)snprintf(
		(char *)header, PROXY_HEADER_SIZE, "PROXY %s %s %s %u %u\r\n",
		family == AF_INET ? "TCP4" : "TCP6", from, to,
		ntohs(end_of(source).port), ntohs(end_of(destination).port));
}

static uint8_t *append(uint8_t *at, const void *bytes, size_t length)
{
	memcpy(at, bytes, length);
	return at + length;
}

/* Section 2.2: signature, version and command, family, length of what comes
 * behind; then both addresses and both ports. */
static size_t write_binary(const struct sockaddr *source,
			   const struct sockaddr *destination,
			   uint8_t header[static PROXY_HEADER_SIZE])
{
	const sa_family_t family = common_family(source, destination);
	uint8_t *at = append(header, SIGNATURE, SIGNATURE_LENGTH);
	struct end from, to;
	uint16_t length = 0;

	*at++ = VERSION_2_PROXY;
	if (family == AF_UNSPEC) {
		*at++ = FAMILY_UNSPECIFIED;
		at = append(at, &length, sizeof(length));
		return (size_t)(at - header);
	}
	*at++ = family == AF_INET ? FAMILY_TCP4 : FAMILY_TCP6;
	from = end_of(source);
	to = end_of(destination);
	length = htons((uint16_t)(2 * (from.length + sizeof(from.port))));
	at = append(at, &length, sizeof(length));
	at = append(at, from.bytes, from.length);
	at = append(at, to.bytes, to.length);
	at = append(at, &from.port, sizeof(from.port));
	at = append(at, &to.port, sizeof(to.port));
	return (size_t)(at - header);
}

size_t proxy_header_write(enum proxy_protocol version,
			  const struct sockaddr *source,
			  const struct sockaddr *destination,
			  uint8_t header[static PROXY_HEADER_SIZE])
{
	switch (version) {
	case PROXY_PROTOCOL_V1:
		return write_text(source, destination, header);
	case PROXY_PROTOCOL_V2:
		return write_binary(source, destination, header);
	case PROXY_PROTOCOL_NONE:
		break;
	}
	return 0;
}
