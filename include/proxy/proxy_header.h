/* SPDX-License-Identifier: MIT */
/*
 * The header by which a proxy tells a backend whom it relays: HAProxy's PROXY
 * protocol (doc/proxy-protocol.txt there), versions 1 (text) and 2 (binary).
 *
 * Pure: writes bytes, does no I/O.
 */
#ifndef PROXY_PROXY_HEADER_H
#define PROXY_PROXY_HEADER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/address.h"

/* The longest header, of version 1, with a terminating zero. */
#define PROXY_HEADER_SIZE 108

/*
 * Write the header of a TCP connection from @source to @destination, each a
 * sockaddr_in or a sockaddr_in6. Unless both are of one of these families, the
 * header says that they are not known, and a backend goes by the connection's
 * own. Returns its length; 0 for PROXY_PROTOCOL_NONE.
 */
size_t proxy_header_write(enum proxy_protocol version,
			  const struct sockaddr *source,
			  const struct sockaddr *destination,
			  uint8_t header[static PROXY_HEADER_SIZE]);

#endif
