// SPDX-License-Identifier: MIT
#include "proxy/peek.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "hello/client_hello.h"
#include "hello/proxy_preamble.h"
#include "proxy/connect.h"
#include "proxy/connection.h"
#include "proxy/engine.h"

/* Most hellos come whole and never need memory of their own. */
static int keep_hello(struct connection *connection,
		      const struct client_hello *hello)
{
	if (connection->hello)
		return 0;
	connection->hello = malloc(sizeof(*hello));
	if (!connection->hello)
		return -ENOMEM;
	*connection->hello = *hello;
	return 0;
}

/* For the log line at the end of the connection; not half a hello (NULL), which
 * may have half a name. */
static void keep_for_log(struct connection *connection,
			 const struct client_hello *hello)
{
	if (hello && log_settings.level >= LOG_LEVEL_DEBUG) {
		keep_hello(connection, hello);
		return;
	}
	free(connection->hello);
	connection->hello = NULL;
}

static void judge(struct engine *engine, struct connection *connection,
		  enum connection_verdict verdict,
		  const struct client_hello *hello)
{
	const bool acme = verdict == CONNECTION_ACME;

	connection->verdict = (uint8_t)verdict;
	deadline_stop(&connection->deadline);
	keep_for_log(connection, hello);
	counter_add(acme ? &engine->counters->to_alpn
			 : &engine->counters->to_fallback,
		    1);
	connect_begin(engine, connection,
		      acme ? &engine->config->alpn : &engine->config->fallback);
}

/* A challenge that we were not asked to take is the web server's to answer. */
static void judge_challenge(struct engine *engine,
			    struct connection *connection,
			    const struct client_hello *hello)
{
	if (domain_list_takes(&engine->config->domains, hello->server_name,
			      hello->server_name_length)) {
		judge(engine, connection, CONNECTION_ACME, hello);
		return;
	}
	counter_add(&engine->counters->other_domains, 1);
	judge(engine, connection, CONNECTION_OTHER_DOMAIN, hello);
}

/*
 * Where the bytes that the hello has not seen begin, among all that are held:
 * the last @length came now. The hello itself begins behind a preamble, which
 * may still be incomplete.
 */
static size_t unseen_offset(struct connection *connection, size_t length)
{
	const struct flow *flow = &connection->from_client;
	int preamble_length;

	if (connection->hello)
		return flow->held_length - length;
	preamble_length =
		proxy_preamble_length(flow->held.memory, flow->held_length);
	if (preamble_length == PROXY_PREAMBLE_NEED_MORE)
		return flow->held_length;
	connection->preamble_length = (uint16_t)preamble_length;
	return connection->preamble_length;
}

static void take_bytes(struct engine *engine, struct connection *connection,
		       const uint8_t *bytes, size_t length)
{
	struct flow *flow = &connection->from_client;
	struct client_hello first = { 0 };
	struct client_hello *hello = connection->hello ? connection->hello
						       : &first;
	bool kept = flow_hold(flow, bytes, length) == 0;
	size_t offset = kept ? unseen_offset(connection, length) : 0;

	if (kept && offset < flow->held_length) {
		switch (client_hello_feed(hello, flow->held.memory + offset,
					  flow->held_length - offset)) {
		case CLIENT_HELLO_ACME:
			judge_challenge(engine, connection, hello);
			return;
		case CLIENT_HELLO_OTHER:
			judge(engine, connection, CONNECTION_OTHER, hello);
			return;
		case CLIENT_HELLO_NEED_MORE:
			kept = keep_hello(connection, hello) == 0;
			break;
		}
	}
	if (!kept)
		connection_abort(engine, connection, CONNECTION_BROKEN);
}

void peek_read(struct engine *engine, struct connection *connection)
{
	uint8_t *buffer = engine->tools.buffer;
	ssize_t length = recv(connection->client_fd, buffer,
			      sizeof(engine->tools.buffer), 0);

	if (length > 0) {
		take_bytes(engine, connection, buffer, (size_t)length);
	} else if (length == 0) {
		connection->from_client.source_ended = true;
		/* Even without a byte: the fallback may speak first. */
		judge(engine, connection, CONNECTION_INCOMPLETE, NULL);
	} else if (errno != EAGAIN && errno != EINTR) {
		connection_abort(engine, connection, CONNECTION_CLIENT_FAILED);
	}
}

void peek_begin(struct engine *engine, struct connection *connection)
{
	connection_wait(engine, connection, TIMER_HELLO);
	readiness_watch(&engine->readiness, connection->client_fd,
			READINESS_READ);
	/* The hello follows on the heels of the handshake. */
	peek_read(engine, connection);
}

void peek_give_up(struct engine *engine, struct connection *connection)
{
	counter_add(&engine->counters->hello_timeouts, 1);
	judge(engine, connection, CONNECTION_SILENT, NULL);
}

/* A begun hello is not silence: a segment that was lost comes again after 1, 3
 * or 7 s. */
void peek_timeout(struct engine *engine, struct connection *connection)
{
	if (connection->hello)
		connection_wait(engine, connection, TIMER_BEGUN_HELLO);
	else
		peek_give_up(engine, connection);
}
