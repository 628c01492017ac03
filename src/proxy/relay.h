/* SPDX-License-Identifier: MIT */
/* Pass bytes both ways, and how either side ends. */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

struct connection;
struct engine;

/* The backend is connected, and from_client has made its first delivery. */
void relay_begin(struct engine *engine, struct connection *connection);

/* Something happened to @fd, one of the connection's two. */
void relay_event(struct engine *engine, struct connection *connection, int fd,
		 unsigned int events);

/* One end was reset, and the other does not take what is left for it. */
void relay_reset_timeout(struct engine *engine, struct connection *connection);

/* The backend has ended, and the client says nothing to it. */
void relay_silence_timeout(struct engine *engine,
			   struct connection *connection);

#endif
