/* SPDX-License-Identifier: MIT */
/*
 * One visitor: PEEK -> CONNECT -> RELAY -> closed.
 *
 * In peek.h, connect.h and relay.h too, a function that is given a connection
 * may close it; it is gone then when the function returns.
 */
#ifndef PROXY_CONNECTION_H
#define PROXY_CONNECTION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "hello/client_hello.h"
#include "proxy/deadline.h"
#include "proxy/engine.h"
#include "proxy/flow.h"

/* Descriptors that each connection takes in the end. */
#define CONNECTION_DESCRIPTORS 2

enum connection_state {
	/* The client's first bytes are read and judged (peek.h). */
	CONNECTION_PEEK,
	/* Judged; the backend is being connected to (connect.h). */
	CONNECTION_CONNECT,
	/* Bytes go both ways (relay.h). */
	CONNECTION_RELAY,
};

/* Why the client's first bytes sent it to its backend. */
enum connection_verdict {
	/* Not judged yet. */
	CONNECTION_UNDECIDED,
	CONNECTION_ACME,
	CONNECTION_OTHER,
	/* acme-tls/1 for a name that no --domain takes. */
	CONNECTION_OTHER_DOMAIN,
	/* It ended before there was a whole hello. */
	CONNECTION_INCOMPLETE,
	/* There was none in time. */
	CONNECTION_SILENT,
};

/* Why a connection is over. */
enum connection_end {
	/* Both sides have ended. */
	CONNECTION_CLOSED,
	CONNECTION_CLIENT_FAILED,
	CONNECTION_BACKEND_FAILED,
	CONNECTION_UNREACHABLE,
	/* By an error of our own, such as no memory. */
	CONNECTION_BROKEN,
	/* We end it. */
	CONNECTION_STOPPED,
};

/* Kept small: thousands of them may be idle at a time. */
struct connection {
	/* Runs in at most one of the engine's timers. */
	struct deadline deadline;
	/* Where connections are logged, once judged. */
	struct client_hello *hello;
	/* Once judged. */
	const struct backend *backend;
	uint64_t accepted_ns;
	struct flow from_client;
	struct flow to_client;
	int client_fd;
	/* -1 while there is none. */
	int backend_fd;
	uint8_t state;
	/* Index in the backend's addresses. */
	uint8_t address_index;
	/* Before them comes the one that the visitor came to. */
	bool at_visited_address;
	uint8_t verdict;
	/* The side that has failed, or CONNECTION_CLOSED; the other is told
	 * once all that the failed one had sent is delivered. */
	uint8_t failed;
	/* The first bytes of from_client that are ours: a PROXY header. */
	uint8_t header_length;
	/* The client's first bytes that are a PROXY header (proxy_preamble.h);
	 * 0 if there is none. */
	uint16_t preamble_length;
	/* The next look at the client's first bytes wants so many of them. */
	uint32_t wanted;
	/* What has come is the beginning of a hello. */
	bool begun;
	/* Why one of the backend's addresses failed; 0 if none did but for too
	 * few descriptors or ports. */
	int connect_err;
	/* The client's; the family says which. */
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	} address;
};

/*
 * Takes over @client_fd, also on failure, and watches it for nothing yet.
 * Returns the connection, in CONNECTION_PEEK, or NULL if there is no memory.
 */
struct connection *connection_open(struct engine *engine, int client_fd,
				   const struct sockaddr_storage *address);

/* Takes over @fd, a socket to the backend. */
void connection_set_backend(struct engine *engine,
			    struct connection *connection, int fd);
/* Close it again; nothing if there is none. */
void connection_drop_backend(struct engine *engine,
			     struct connection *connection);

/* Wait for what @timer is about, from now on and for nothing else. */
void connection_wait(struct engine *engine, struct connection *connection,
		     enum engine_timer timer);

/* Why @fd, one of the two, has failed: 0 or negative errno, told only once. */
int connection_failure(int fd);

/* Whoever is at the other end. */
struct endpoint connection_client(const struct connection *connection);

/* Bytes of the client's that the backend has; a header of ours is not. */
uint64_t connection_bytes_from_client(const struct connection *connection);

/* From now on, end soon those whose client has vanished. */
void connection_probe_all(struct engine *engine);

/* Close both ends and free the connection. */
void connection_release(struct engine *engine, struct connection *connection,
			enum connection_end end);
/* The same, with a reset to whoever is still there. */
void connection_abort(struct engine *engine, struct connection *connection,
		      enum connection_end end);
/* Release all. */
void connection_release_all(struct engine *engine);

#endif
