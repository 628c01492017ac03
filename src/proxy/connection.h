/* SPDX-License-Identifier: MIT */
/*
 * One visitor: PEEK -> CONNECT -> RELAY -> closed.
 *
 * Every function that is given a connection may close it, and then it is gone
 * when the function returns, unless it says otherwise.
 */
#ifndef PROXY_CONNECTION_H
#define PROXY_CONNECTION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "hello/client_hello.h"
#include "proxy/deadline.h"
#include "proxy/flow.h"

struct engine;

/* Descriptors that each connection takes in the end. */
#define CONNECTION_DESCRIPTORS 2

enum connection_state {
	/* The client's first bytes are read and judged (peek.h). */
	CONNECTION_PEEK,
	/* Judged; the backend is being connected to (connect.h). */
	CONNECTION_CONNECT,
	/* Bytes go both ways. */
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
	/* By an error of our own, as want of memory. */
	CONNECTION_BROKEN,
	/* We end it. */
	CONNECTION_STOPPED,
};

/* Kept small: thousands of them may be idle at a time. */
struct connection {
	/* Runs in the queue that the state calls for, if any. */
	struct deadline deadline;
	/* While the hello is incomplete; what came of it is held by
	 * from_client. To the end where connections are logged. */
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
	uint8_t verdict;
	/* The side that has failed, or CONNECTION_CLOSED; the other is to
	 * learn it once all that the failed one had sent is delivered. */
	uint8_t failed;
	/* The first bytes of from_client that are ours: a PROXY header. */
	uint8_t header_length;
	/* The backend is a socket of this host. */
	bool unix_backend;
	/* Why one of the backend's addresses failed, if for more than a want
	 * of descriptors or ports; else 0. */
	int connect_error;
	/* The client's; the family says which. */
	union {
		struct sockaddr any;
		struct sockaddr_in ipv4;
		struct sockaddr_in6 ipv6;
	} address;
};

/* Take over the accepted @client_fd, also in failure. */
void connection_open(struct engine *engine, int client_fd,
		     const struct sockaddr_storage *address);

/* Something happened to @fd, one of the connection's two. */
void connection_event(struct engine *engine, struct connection *connection,
		      int fd, unsigned int events);

/* The backend is connected and from_client has made its first delivery: relay
 * from now on. */
void connection_relay(struct engine *engine, struct connection *connection);

/* One end was reset, and the other takes nothing of what is left for it. */
void connection_reset_timeout(struct engine *engine,
			      struct connection *connection);

/* The backend has ended, and the client says nothing to it. */
void connection_silence_timeout(struct engine *engine,
				struct connection *connection);

/* Close with a reset to whoever is still there. */
void connection_abort(struct engine *engine, struct connection *connection,
		      enum connection_end end);
/* Close all, whatever they are doing. */
void connection_close_all(struct engine *engine);

/* "192.0.2.1:443" of the client; @text is returned. */
const char *connection_client_text(const struct connection *connection,
				   char text[static ENDPOINT_TEXT_SIZE]);

#endif
