// SPDX-License-Identifier: MIT
#include "proxy/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "proxy/connect.h"
#include "proxy/engine.h"
#include "proxy/peek.h"

const char *connection_client_text(const struct connection *connection,
				   char text[static ENDPOINT_TEXT_SIZE])
{
	struct endpoint client = { .length = sizeof(connection->address) };

	memcpy(&client.address, &connection->address,
	       sizeof(connection->address));
	return endpoint_text(&client, text);
}

void connection_open(struct engine *engine, int client_fd,
		     const struct sockaddr_storage *address)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		close(client_fd);
		return;
	}
	connection->client_fd = client_fd;
	connection->backend_fd = -1;
	connection->accepted_ns = engine_read_clock(engine);
	memcpy(&connection->address, address, sizeof(connection->address));

	engine->connections[client_fd] = connection;
	engine->connection_count++;
	counter_add(&engine->counters->accepted, 1);
	counter_set(&engine->counters->open_connections,
		    engine->connection_count);

	deadline_start(&connection->deadline, &engine->hello_deadlines,
		       connection->accepted_ns);
	readiness_watch(&engine->readiness, client_fd, READINESS_READ);
	/* The hello follows on the heels of the handshake. */
	peek_read(engine, connection);
}

static void forget_descriptor(struct engine *engine, int fd)
{
	readiness_forget(&engine->readiness, fd);
	engine->connections[fd] = NULL;
}

/* The backend's is mostly the one that the kernel gave out next: then one call
 * closes both (kernel 5.9). */
static void close_descriptors(struct engine *engine,
			      const struct connection *connection)
{
	const int client_fd = connection->client_fd;
	const int backend_fd = connection->backend_fd;

	forget_descriptor(engine, client_fd);
	if (backend_fd >= 0)
		forget_descriptor(engine, backend_fd);
	if (backend_fd == client_fd + 1 &&
	    close_range((unsigned int)client_fd, (unsigned int)backend_fd, 0) ==
		    0)
		return;
	close(client_fd);
	if (backend_fd >= 0)
		close(backend_fd);
}

/* A header is not the client's. */
static uint64_t bytes_from_client(const struct connection *connection)
{
	const uint64_t bytes = connection->from_client.bytes;

	return bytes > connection->header_length
		       ? bytes - connection->header_length
		       : 0;
}

static struct log_field text_field(const char *name, const char *text)
{
	return (struct log_field){ name, .text = text, .length = strlen(text) };
}

/* The name that the client asked for, as far as it was kept. */
static struct log_field name_field(const struct client_hello *hello)
{
	size_t length = hello ? hello->server_name_length : 0;

	return (struct log_field){
		"server_name",
		.text = length ? (const char *)hello->server_name : "",
		.length = length < CLIENT_HELLO_MAX_NAME
				  ? length
				  : CLIENT_HELLO_MAX_NAME,
	};
}

/* One line for all that a connection was. */
static void log_end(const struct engine *engine,
		    const struct connection *connection,
		    enum connection_end end)
{
	static const char *const verdicts[] = {
		[CONNECTION_UNDECIDED] = "none",
		[CONNECTION_ACME] = "acme-tls/1",
		[CONNECTION_OTHER] = "other",
		[CONNECTION_OTHER_DOMAIN] = "other-domain",
		[CONNECTION_INCOMPLETE] = "incomplete",
		[CONNECTION_SILENT] = "silent",
	};
	static const char *const ends[] = {
		[CONNECTION_CLOSED] = "closed",
		[CONNECTION_CLIENT_FAILED] = "client-failed",
		[CONNECTION_BACKEND_FAILED] = "backend-failed",
		[CONNECTION_UNREACHABLE] = "unreachable",
		[CONNECTION_BROKEN] = "broken",
		[CONNECTION_STOPPED] = "stopped",
	};
	const struct backend *backend = connection->backend;
	char client[ENDPOINT_TEXT_SIZE];
	uint64_t age = engine->now_ns - connection->accepted_ns;

	if (log_settings.level < LOG_LEVEL_DEBUG)
		return;
	connection_client_text(connection, client);

	const struct log_field fields[] = {
		text_field("client", client),
		name_field(connection->hello),
		text_field("verdict", verdicts[connection->verdict]),
		text_field("backend", backend ? backend->text : ""),
		{ "bytes_from_client",
		  .number = bytes_from_client(connection) },
		{ "bytes_to_client", .number = connection->to_client.bytes },
		{ "seconds", .number = age / NS_PER_MS, .milliseconds = true },
		text_field("end", ends[end]),
	};

	log_event(LOG_LEVEL_DEBUG, "connection", fields, ARRAY_SIZE(fields));
}

static void release(struct engine *engine, struct connection *connection,
		    enum connection_end end)
{
	log_end(engine, connection, end);
	close_descriptors(engine, connection);
	deadline_stop(&connection->deadline);
	flow_drop(&connection->from_client, &engine->tools);
	flow_drop(&connection->to_client, &engine->tools);
	free(connection->hello);
	free(connection);

	engine->connection_count--;
	counter_set(&engine->counters->open_connections,
		    engine->connection_count);
	acceptor_room_made(engine);
}

/* close() sends a reset and drops what was not sent yet (socket(7)). */
static void close_with_reset(int fd)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once,
			   sizeof(at_once));
}

void connection_abort(struct engine *engine, struct connection *connection,
		      enum connection_end end)
{
	close_with_reset(connection->client_fd);
	close_with_reset(connection->backend_fd);
	release(engine, connection, end);
}

void connection_close_all(struct engine *engine)
{
	for (size_t fd = 0; fd < engine->readiness.capacity; fd++)
		if (engine->connections[fd])
			release(engine, engine->connections[fd],
				CONNECTION_STOPPED);
}

/*
 * An event that nobody waits for: has the peer died? A hang-up alone does not
 * say so. It also comes when we have sent our FIN and the peer's is still
 * behind unread data.
 */
static bool has_failed(int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 ||
	       error != 0;
}

/*
 * Does a hang-up of @fd tell that the connection has failed? A socket of this
 * host also hangs up when its peer has closed in good order, perhaps with data
 * left to read; reading and writing find out.
 */
static bool hangs_up_in_failure(const struct connection *connection, int fd)
{
	return fd == connection->client_fd || !connection->unix_backend;
}

/* Watch @fd for what the flow out of it and the flow into it wait for. */
static void watch_end(struct engine *engine,
		      const struct connection *connection, int fd,
		      const struct flow *out, const struct flow *in)
{
	unsigned int interest = 0;

	if (out->state == FLOW_READING)
		interest |= READINESS_READ;
	if (in->state == FLOW_WRITING)
		interest |= READINESS_WRITE;
	/*
	 * While we may still send, only a reset hangs a socket up. After our
	 * FIN the peer's own does it too, with data perhaps left to read: what
	 * happens then is found out by reading.
	 */
	if (!connection->failed && in->state != FLOW_FINISHED &&
	    hangs_up_in_failure(connection, fd))
		interest |= READINESS_HANGUP;
	readiness_watch(&engine->readiness, fd, interest);
}

static void watch_both(struct engine *engine,
		       const struct connection *connection)
{
	watch_end(engine, connection, connection->client_fd,
		  &connection->from_client, &connection->to_client);
	watch_end(engine, connection, connection->backend_fd,
		  &connection->to_client, &connection->from_client);
}

static void abort_counted(struct engine *engine, struct connection *connection,
			  enum connection_end end)
{
	counter_add(&engine->counters->resets, 1);
	connection_abort(engine, connection, end);
}

static void count_bytes(struct engine *engine,
			const struct connection *connection,
			const struct flow *flow, uint64_t before)
{
	counter_add(flow == &connection->from_client
			    ? &engine->counters->bytes_from_clients
			    : &engine->counters->bytes_to_clients,
		    flow->bytes - before);
}

/*
 * One flow has made a step; draw the consequences. Returns false if the
 * connection is gone.
 *
 * A source that fails takes the connection down at once, with what its sink has
 * no room for: to wait for one that takes nothing would keep the reset from it.
 * A sink that fails may have answered before; so the other flow first gets to
 * its end, and only then the reset is passed on. Its sink may take nothing any
 * more, because it wants to be read first: without progress there is no use in
 * waiting.
 */
static bool settle(struct engine *engine, struct connection *connection,
		   struct flow *flow, enum flow_result result)
{
	bool from_client = flow == &connection->from_client;
	struct flow *other = from_client ? &connection->to_client
					 : &connection->from_client;
	int sink = from_client ? connection->backend_fd : connection->client_fd;

	if (result == FLOW_SOURCE_FAILED || result == FLOW_BROKEN) {
		abort_counted(engine, connection,
			      result == FLOW_BROKEN ? CONNECTION_BROKEN
			      : from_client	    ? CONNECTION_CLIENT_FAILED
					    : CONNECTION_BACKEND_FAILED);
		return false;
	}
	if (result == FLOW_SINK_FAILED) {
		flow_drop(flow, &engine->tools);
		connection->failed = from_client ? CONNECTION_BACKEND_FAILED
						 : CONNECTION_CLIENT_FAILED;
		other->ends_in_reset = true;
		/* It may have failed for want of memory, and wait for more. */
		shutdown(sink, SHUT_RDWR);
	}
	if (flow->state == FLOW_FINISHED) {
		bool ended = other->state == FLOW_FINISHED;

		if (ended && connection->failed) {
			abort_counted(engine, connection, connection->failed);
			return false;
		}
		if (ended) {
			release(engine, connection, CONNECTION_CLOSED);
			return false;
		}
		if (!connection->failed)
			shutdown(sink, SHUT_WR);
	}
	if (connection->failed)
		deadline_start(&connection->deadline, &engine->reset_deadlines,
			       engine_read_clock(engine));
	else if (connection->to_client.state == FLOW_FINISHED)
		deadline_start(&connection->deadline,
			       &engine->silence_deadlines, engine->now_ns);
	watch_both(engine, connection);
	return true;
}

static bool run(struct engine *engine, struct connection *connection,
		struct flow *flow, int source, int sink)
{
	uint64_t before = flow->bytes;
	enum flow_result result = flow_run(flow, &engine->tools, source, sink);

	count_bytes(engine, connection, flow, before);
	return settle(engine, connection, flow, result);
}

void connection_relay(struct engine *engine, struct connection *connection)
{
	connection->state = CONNECTION_RELAY;
	counter_add(&engine->counters->bytes_from_clients,
		    bytes_from_client(connection));
	settle(engine, connection, &connection->from_client, FLOW_OK);
}

void connection_reset_timeout(struct engine *engine,
			      struct connection *connection)
{
	abort_counted(engine, connection, connection->failed);
}

/* Has the client acknowledged all that was sent, the end included? */
static bool has_all(int client_fd)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof(info);

	return getsockopt(client_fd, IPPROTO_TCP, TCP_INFO, &info, &size) ==
		       0 &&
	       info.tcpi_state == TCP_FIN_WAIT2;
}

/*
 * A backend that has closed is rid of its client after a minute, because the
 * kernel is. A socket of ours would stay for good, and take the place of a
 * visitor: end it as the backend's was. One who is still taking the answer, or
 * whose bytes the backend does not take, is not silent.
 */
void connection_silence_timeout(struct engine *engine,
				struct connection *connection)
{
	if (connection->from_client.state == FLOW_READING &&
	    has_all(connection->client_fd))
		release(engine, connection, CONNECTION_CLOSED);
	else
		deadline_start(&connection->deadline,
			       &engine->silence_deadlines,
			       engine_read_clock(engine));
}

static void relay_event(struct engine *engine, struct connection *connection,
			int fd, unsigned int events)
{
	bool client = fd == connection->client_fd;
	int other = client ? connection->backend_fd : connection->client_fd;
	struct flow *out = client ? &connection->from_client
				  : &connection->to_client;
	struct flow *in = client ? &connection->to_client
				 : &connection->from_client;
	bool readable = events & READINESS_READ && out->state == FLOW_READING;
	bool writable = events & READINESS_WRITE && in->state == FLOW_WRITING;

	if (!readable && !writable && has_failed(fd)) {
		abort_counted(engine, connection,
			      client ? CONNECTION_CLIENT_FAILED
				     : CONNECTION_BACKEND_FAILED);
		return;
	}
	if (readable && !run(engine, connection, out, fd, other))
		return;
	if (writable && in->state == FLOW_WRITING)
		run(engine, connection, in, other, fd);
}

void connection_event(struct engine *engine, struct connection *connection,
		      int fd, unsigned int events)
{
	switch ((enum connection_state)connection->state) {
	case CONNECTION_PEEK:
		peek_read(engine, connection);
		break;
	case CONNECTION_CONNECT:
		if (fd == connection->backend_fd)
			connect_finish(engine, connection);
		else if (has_failed(fd))
			connection_abort(engine, connection,
					 CONNECTION_CLIENT_FAILED);
		break;
	case CONNECTION_RELAY:
		relay_event(engine, connection, fd, events);
		break;
	}
}
