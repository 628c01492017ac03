/* SPDX-License-Identifier: MIT */
/* Sockets to a backend, as they are made for visitors. */
#ifndef PROXY_BACKEND_SOCKET_H
#define PROXY_BACKEND_SOCKET_H

#include <sys/socket.h>

#include "base/address.h"

/*
 * A non-blocking socket to connect to @endpoint with, or negative errno. If
 * @visitor is not NULL and @endpoint is one of IPv4, which then is this host's,
 * it comes from an address of 127.0.0.0/8 that is always the same for the same
 * visitor, but never 127.0.0.1; where that cannot be had, from the one that the
 * kernel takes.
 */
int backend_socket_open(const struct endpoint *endpoint,
			const struct sockaddr *visitor);

#endif
