/* SPDX-License-Identifier: MIT */
/* Find an address of the backend that takes the connection. */
#ifndef PROXY_CONNECT_H
#define PROXY_CONNECT_H

struct backend;
struct connection;
struct engine;

/* Connect to @backend, send it what the client has sent, and relay. */
void connect_begin(struct engine *engine, struct connection *connection,
		   const struct backend *backend);

/* Something happened to @fd, one of the connection's two: the handshake with
 * the backend has ended, well or not, or the client has. */
void connect_event(struct engine *engine, struct connection *connection,
		   int fd);

/* This address takes too long: try the next. */
void connect_timeout(struct engine *engine, struct connection *connection);

/* The last address takes longer than it should. */
void connect_doubt(struct engine *engine, struct connection *connection);

/* There were too few descriptors or ports: begin again. */
void connect_retry(struct engine *engine, struct connection *connection);

#endif
