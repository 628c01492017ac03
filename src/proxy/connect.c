// SPDX-License-Identifier: MIT
#include "proxy/connect.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/backend_socket.h"
#include "proxy/connection.h"
#include "proxy/engine.h"
#include "proxy/proxy_header.h"
#include "proxy/relay.h"

/* Descriptors or ports are there again when other connections end; a visitor
 * waits this long for them, as for a web server that is busy. */
#define SHORTAGE_PATIENCE_NS (10 * NS_PER_S)
/* The same number as IP6T_SO_ORIGINAL_DST: linux/netfilter_ipv4.h and
 * linux/netfilter_ipv6/ip6_tables.h. */
#define ORIGINAL_DESTINATION 80

static bool is_shortage(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOBUFS ||
	       err == -ENOMEM || err == -EADDRNOTAVAIL || err == -EAGAIN;
}

static bool has_next_address(const struct connection *connection)
{
	return connection->at_visited_address ||
	       connection->address_index + 1u < connection->backend->count;
}

/* What to do about it, where the error alone does not say. */
static const char *advice_on(const struct backend *backend, int err)
{
	if (err == -EACCES && backend_is_unix(backend))
		return ": let the proxy's user (--user) write to the socket "
		       "and search its folders";
	if (err == -EAGAIN && backend_is_unix(backend))
		return ": its queue is full";
	return "";
}

static void report_unreachable(struct engine *engine,
			       const struct backend *backend, int err)
{
	bool alpn = backend == &engine->config->alpn;
	char more[64] = "";
	uint64_t left_out;

	engine->doubtful |= !alpn;
	counter_add(alpn ? &engine->counters->alpn_unreachable
			 : &engine->counters->fallback_unreachable,
		    1);
	if (!log_limit_pass(alpn ? &engine->alpn_unreachable
				 : &engine->fallback_unreachable,
			    engine->now_ns, &left_out))
		return;
	if (left_out > 0)
		snprintf(more, sizeof(more),
			 " (%llu more since the last such line)",
			 (unsigned long long)left_out);
	log_warning("cannot connect to %s %s: %s%s%s",
		    alpn ? "ACME responder" : "fallback", backend->text,
		    error_text(err), advice_on(backend, err), more);
}

/*
 * Where the client thinks that it is connected to: what conntrack remembers,
 * where there is such an entry and so perhaps a rule that redirects; else the
 * socket's own address. AF_UNSPEC if neither can be told.
 */
static struct endpoint visited_endpoint(const struct connection *connection)
{
	const bool ipv6 = connection->address.any.sa_family == AF_INET6;
	struct endpoint found = { .length = sizeof(found.address) };

	if (getsockopt(connection->client_fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       ORIGINAL_DESTINATION, &found.address,
		       &found.length) == 0)
		return found;
	found.length = sizeof(found.address);
	if (getsockname(connection->client_fd, &found.address.any,
			&found.length) != 0)
		found.address.any.sa_family = AF_UNSPEC;
	return found;
}

/* Before all that is held, so that both are sent at once. 0, or -ENOMEM. */
static int hold_header(struct connection *connection)
{
	const struct endpoint destination = visited_endpoint(connection);
	uint8_t header[PROXY_HEADER_SIZE];

	connection->header_length = (uint8_t)proxy_header_write(
		connection->backend->proxy_protocol, &connection->address.any,
		&destination.address.any, header);
	return flow_hold_before(&connection->from_client, header,
				connection->header_length);
}

/* No address is left to try. */
static void give_up(struct engine *engine, struct connection *connection,
		    int err)
{
	uint64_t age = engine->now_ns - connection->accepted_ns;

	if (connection->connect_err)
		err = connection->connect_err;
	if (is_shortage(err) && age < SHORTAGE_PATIENCE_NS) {
		connection_wait(engine, connection, TIMER_RETRY);
		return;
	}
	report_unreachable(engine, connection->backend, err);
	connection_abort(engine, connection, CONNECTION_UNREACHABLE);
}

/* Is the web server that the visitor came to asked first? */
static bool asks_the_visited(const struct engine *engine,
			     const struct connection *connection)
{
	const struct backend *fallback = &engine->config->fallback;
	struct endpoint visited;

	if (!engine->config->at_visited_address ||
	    connection->backend != fallback)
		return false;
	visited = visited_endpoint(connection);
	return endpoint_port(&visited) == endpoint_port(fallback->addresses);
}

/* Returns 0 if connected, -EINPROGRESS, or why not. */
static int open_backend(struct engine *engine, struct connection *connection)
{
	const struct proxy_config *config = engine->config;
	const bool fallback = connection->backend == &config->fallback;
	const struct endpoint endpoint =
		connection->at_visited_address
			? visited_endpoint(connection)
			: connection->backend
				  ->addresses[connection->address_index];
	int fd;
	int err = backend_socket_connect(&endpoint,
					 fallback && engine->own_sources
						 ? &connection->address.any
						 : NULL,
					 engine->readiness.capacity, &fd);

	if (!err || err == -EINPROGRESS)
		connection_set_backend(engine, connection, fd);
	return err;
}

/*
 * Connect to the current address and send what there is to send. On the
 * loopback device the handshake is over when connect() returns, even if that
 * says EINPROGRESS: it only came while the socket was locked by the call. So
 * sending is tried in any case; where the handshake does take its time, the
 * kernel says EAGAIN. Returns 0 if connected, -EINPROGRESS, or why not, with
 * nothing sent.
 */
static int reach(struct engine *engine, struct connection *connection)
{
	struct flow *flow = &connection->from_client;
	int err = open_backend(engine, connection);

	if (err && err != -EINPROGRESS)
		return err;
	if (flow_deliver(flow, &engine->tools, connection->backend_fd) !=
	    FLOW_OK)
		return -errno;
	return flow->bytes > 0 ? 0 : err;
}

/*
 * The current address failed. Is there another, which then is the current one?
 * If not, give up, with the error that tells most: a refusal says more than too
 * few ports or a family that is switched off.
 */
static bool go_to_next_address(struct engine *engine,
			       struct connection *connection, int err)
{
	connection_drop_backend(engine, connection);
	if (!is_shortage(err))
		connection->connect_err = err;
	if (!has_next_address(connection)) {
		give_up(engine, connection, err);
		return false;
	}
	if (connection->at_visited_address)
		connection->at_visited_address = false;
	else
		connection->address_index++;
	return true;
}

/* Try the current address and those behind it; if @err says why the current one
 * has failed, only those. */
static void try_addresses(struct engine *engine, struct connection *connection,
			  int err)
{
	do {
		if (err && !go_to_next_address(engine, connection, err))
			return;
		err = reach(engine, connection);
	} while (err && err != -EINPROGRESS);
	if (!err) {
		relay_begin(engine, connection);
		return;
	}
	readiness_watch(&engine->readiness, connection->backend_fd,
			READINESS_WRITE);
	connection_wait(engine, connection,
			has_next_address(connection) ? TIMER_CONNECT
						     : TIMER_DOUBT);
}

/*
 * A balancer's header is what the web server expects, so nothing is taken away
 * from it. The responder does not expect one; where it is to get one, the
 * balancer's knows the client. 0, or -ENOMEM.
 */
static int prepare_header(const struct engine *engine,
			  struct connection *connection)
{
	const struct backend *backend = connection->backend;
	const bool header = backend->proxy_protocol != PROXY_PROTOCOL_NONE;
	const bool preamble = backend == &engine->config->alpn &&
			      connection->preamble_length > 0;

	if (preamble && !header)
		flow_skip(&connection->from_client,
			  connection->preamble_length);
	return header && !preamble ? hold_header(connection) : 0;
}

void connect_begin(struct engine *engine, struct connection *connection,
		   const struct backend *backend)
{
	connection->state = CONNECTION_CONNECT;
	connection->backend = backend;
	connection->at_visited_address = asks_the_visited(engine, connection);
	connection->from_client.sink_delays = !backend_is_unix(backend);
	/* What more it sends can wait; that it is gone is worth knowing. */
	readiness_watch(&engine->readiness, connection->client_fd,
			READINESS_HANGUP);
	if (prepare_header(engine, connection) != 0)
		connection_abort(engine, connection, CONNECTION_BROKEN);
	else
		try_addresses(engine, connection, 0);
}

static void finish(struct engine *engine, struct connection *connection)
{
	int err = connection_failure(connection->backend_fd);

	deadline_stop(&connection->deadline);
	if (!err && flow_deliver(&connection->from_client, &engine->tools,
				 connection->backend_fd) != FLOW_OK)
		err = -errno;
	if (!err)
		relay_begin(engine, connection);
	else
		try_addresses(engine, connection, err);
}

void connect_event(struct engine *engine, struct connection *connection, int fd)
{
	if (fd == connection->backend_fd)
		finish(engine, connection);
	else if (connection_failure(fd) != 0)
		connection_abort(engine, connection, CONNECTION_CLIENT_FAILED);
}

void connect_timeout(struct engine *engine, struct connection *connection)
{
	try_addresses(engine, connection, -ETIMEDOUT);
}

void connect_doubt(struct engine *engine, struct connection *connection)
{
	engine->doubtful |= connection->backend == &engine->config->fallback;
}

void connect_retry(struct engine *engine, struct connection *connection)
{
	connection->address_index = 0;
	connection->at_visited_address = asks_the_visited(engine, connection);
	try_addresses(engine, connection, 0);
}
