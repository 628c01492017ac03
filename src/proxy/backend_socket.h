/* SPDX-License-Identifier: MIT */
/* Sockets to a backend, as they are made for visitors. */
#ifndef PROXY_BACKEND_SOCKET_H
#define PROXY_BACKEND_SOCKET_H

#include <stddef.h>
#include <sys/socket.h>

#include "base/address.h"

/*
 * Connect to @endpoint without waiting: 0 or -EINPROGRESS, with the socket in
 * *@made, whose number is below @limit; or why not. If @visitor is not NULL and
 * @endpoint is one of IPv4, which then is this host's, it comes from an address
 * of 127.0.0.0/8 that is always the same for the same visitor, but never
 * 127.0.0.1; where that cannot be had, from the one that the kernel takes.
 */
int backend_socket_connect(const struct endpoint *endpoint,
			   const struct sockaddr *visitor, size_t limit,
			   int *made);

#endif
