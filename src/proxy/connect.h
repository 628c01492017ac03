/* SPDX-License-Identifier: MIT */
/* Find an address of the backend that takes the connection. */
#ifndef PROXY_CONNECT_H
#define PROXY_CONNECT_H

#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

struct connection;
struct engine;

/*
 * Connect to @backend and relay. @bytes are what the client has sent and is
 * not yet held by the connection; they need not outlive the call.
 */
void connect_begin(struct engine *engine, struct connection *connection,
		   const struct backend *backend, const uint8_t *bytes,
		   size_t length);

/* The handshake that connect() began has ended, well or not. */
void connect_finish(struct engine *engine, struct connection *connection);

/* This address takes too long: try the next. */
void connect_timeout(struct engine *engine, struct connection *connection);

/* Begin again after a want of descriptors or ports. */
void connect_retry(struct engine *engine, struct connection *connection);

#endif
