// SPDX-License-Identifier: MIT
/*
 * proxy_header_write() for any two addresses: what a backend reads from the
 * header is what went in, and it is known for a header (proxy_preamble.h).
 *
 * Byte 0 of the input is the version, 1 and 2 the families; then come the
 * addresses and the ports.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hello/proxy_preamble.h"
#include "proxy/proxy_header.h"
#include "tests/fuzz/reference_proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct end {
	int family;
	uint8_t address[16];
	uint8_t port[2];
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	} socket;
};

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* The address in @end as a socket has it. */
static void fill_socket(struct end *end, uint8_t family)
{
	end->family = family % 3 == 0 ? 4 : family % 3 == 1 ? 6 : 0;
	if (end->family == 4) {
		end->socket.any.sa_family = AF_INET;
		memcpy(&end->socket.ipv4.sin_addr, end->address, 4);
		memcpy(&end->socket.ipv4.sin_port, end->port, 2);
	} else if (end->family == 6) {
		end->socket.any.sa_family = AF_INET6;
		memcpy(&end->socket.ipv6.sin6_addr, end->address, 16);
		memcpy(&end->socket.ipv6.sin6_port, end->port, 2);
	} else {
		end->socket.any.sa_family = AF_UNIX;
	}
}

static void check_end(const struct end *end, const uint8_t address[static 16],
		      unsigned int port)
{
	check(memcmp(address, end->address, end->family == 4 ? 4 : 16) == 0);
	check(port == end->port[0] * 256u + end->port[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t input[3 + 2 * (16 + 2)] = { 0 };
	struct end source = { 0 }, destination = { 0 };
	uint8_t *header = malloc(PROXY_HEADER_SIZE);
	struct reference_header read;
	size_t length;

	check(header);
	memcpy(input, data, size < sizeof(input) ? size : sizeof(input));
	memcpy(source.address, input + 3, 16);
	memcpy(destination.address, input + 19, 16);
	memcpy(source.port, input + 35, 2);
	memcpy(destination.port, input + 37, 2);
	fill_socket(&source, input[1]);
	fill_socket(&destination, input[2]);

	length = proxy_header_write(
		input[0] % 2 ? PROXY_PROTOCOL_V2 : PROXY_PROTOCOL_V1,
		&source.socket.any, &destination.socket.any, header);
	check(length <= PROXY_HEADER_SIZE);
	check(reference_header_read(header, length, &read));
	check(proxy_preamble_length(header, length) == (int)length);
	if (source.family && source.family == destination.family) {
		check(read.family == source.family);
		check_end(&source, read.source, read.source_port);
		check_end(&destination, read.destination,
			  read.destination_port);
	} else {
		check(read.family == 0);
	}
	free(header);
	return 0;
}
