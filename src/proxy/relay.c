// SPDX-License-Identifier: MIT
#include "proxy/relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "proxy/connection.h"
#include "proxy/engine.h"

/*
 * Does a hang-up of @fd tell that the connection has failed? A socket of this
 * host also hangs up when its peer has closed in good order, perhaps with data
 * left to read; reading and writing find out.
 */
static bool hangs_up_in_failure(const struct connection *connection, int fd)
{
	return fd == connection->client_fd ||
	       !backend_is_unix(connection->backend);
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
	 * While we may still send, a socket hangs up only when it is reset.
	 * After our FIN it does so at the peer's FIN too, perhaps with data
	 * left to read: reading finds out which it was.
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

static enum connection_end failure_of(const struct connection *connection,
				      int fd)
{
	return fd == connection->client_fd ? CONNECTION_CLIENT_FAILED
					   : CONNECTION_BACKEND_FAILED;
}

static void abort_counted(struct engine *engine, struct connection *connection,
			  enum connection_end end)
{
	counter_add(&engine->counters->resets, 1);
	if (end == CONNECTION_BACKEND_FAILED &&
	    connection->backend == &engine->config->fallback &&
	    connection->to_client.bytes == 0) {
		counter_add(&engine->counters->fallback_resets, 1);
		engine->doubtful = true;
	}
	connection_abort(engine, connection, end);
}

/*
 * One flow has made a step; draw the consequences. Returns false if the
 * connection is gone.
 *
 * A source that fails takes the connection down at once, with whatever its sink
 * has no room for: waiting for a sink that takes nothing would keep the reset
 * from it. A sink that fails may have answered before; so the other flow first
 * gets to its end, and only then the reset is passed on. That flow's sink may
 * take nothing any more, because it wants to be read first: it has some time
 * for each step.
 */
static bool settle(struct engine *engine, struct connection *connection,
		   struct flow *flow, enum flow_result result)
{
	const bool from_client = flow == &connection->from_client;
	struct flow *other = from_client ? &connection->to_client
					 : &connection->from_client;
	const int source = from_client ? connection->client_fd
				       : connection->backend_fd;
	const int sink = from_client ? connection->backend_fd
				     : connection->client_fd;

	if (result == FLOW_SOURCE_FAILED || result == FLOW_BROKEN) {
		abort_counted(engine, connection,
			      result == FLOW_BROKEN
				      ? CONNECTION_BROKEN
				      : failure_of(connection, source));
		return false;
	}
	if (result == FLOW_SINK_FAILED) {
		flow_drop(flow, &engine->tools);
		connection->failed = (uint8_t)failure_of(connection, sink);
		other->ends_in_reset = true;
		/* It may have run out of memory, and be open still. */
		shutdown(sink, SHUT_RDWR);
	}
	if (flow->state == FLOW_FINISHED && other->state == FLOW_FINISHED) {
		if (connection->failed)
			abort_counted(engine, connection, connection->failed);
		else
			connection_release(engine, connection,
					   CONNECTION_CLOSED);
		return false;
	}
	if (connection->failed)
		connection_wait(engine, connection, TIMER_RESET);
	else if (connection->to_client.state == FLOW_FINISHED)
		connection_wait(engine, connection, TIMER_SILENCE);
	if (flow->state == FLOW_FINISHED && !connection->failed)
		shutdown(sink, SHUT_WR);
	watch_both(engine, connection);
	return true;
}

static bool run(struct engine *engine, struct connection *connection,
		struct flow *flow, int source, int sink)
{
	uint64_t before = flow->bytes;
	enum flow_result result = flow_run(flow, &engine->tools, source, sink);

	counter_add(flow == &connection->from_client
			    ? &engine->counters->bytes_from_clients
			    : &engine->counters->bytes_to_clients,
		    flow->bytes - before);
	return settle(engine, connection, flow, result);
}

void relay_begin(struct engine *engine, struct connection *connection)
{
	connection->state = CONNECTION_RELAY;
	counter_add(&engine->counters->bytes_from_clients,
		    connection_bytes_from_client(connection));
	settle(engine, connection, &connection->from_client, FLOW_OK);
}

void relay_event(struct engine *engine, struct connection *connection, int fd,
		 unsigned int events)
{
	bool client = fd == connection->client_fd;
	int other = client ? connection->backend_fd : connection->client_fd;
	struct flow *out = client ? &connection->from_client
				  : &connection->to_client;
	struct flow *in = client ? &connection->to_client
				 : &connection->from_client;
	bool readable = events & READINESS_READ && out->state == FLOW_READING;
	bool writable = events & READINESS_WRITE && in->state == FLOW_WRITING;

	/* Nobody waits for this event: has the peer died? A hang-up alone does
	 * not say so; it also comes when we have sent our FIN and the peer's is
	 * still behind unread data. */
	if (!readable && !writable && connection_failure(fd) != 0) {
		abort_counted(engine, connection, failure_of(connection, fd));
		return;
	}
	if (readable && !run(engine, connection, out, fd, other))
		return;
	if (writable && in->state == FLOW_WRITING)
		run(engine, connection, in, other, fd);
}

void relay_reset_timeout(struct engine *engine, struct connection *connection)
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
 * The kernel rids a backend that has closed of its client after a minute. Our
 * socket would stay for good, and take the place of a visitor: so it ends as
 * the backend's did. A client that is still taking the answer, or whose bytes
 * the backend does not take, is not silent.
 */
void relay_silence_timeout(struct engine *engine, struct connection *connection)
{
	if (connection->from_client.state == FLOW_READING &&
	    has_all(connection->client_fd))
		connection_release(engine, connection, CONNECTION_CLOSED);
	else
		connection_wait(engine, connection, TIMER_SILENCE);
}
