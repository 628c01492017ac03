// SPDX-License-Identifier: MIT
#include "first_bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "client_hello.h"
#include "connect.h"
#include "log.h"
#include "engine.h"

static void log_judgement(const struct connection *connection,
			  const struct backend *backend, const char *judgement,
			  const struct client_hello *hello)
{
	char client[ENDPOINT_TEXT_SIZE];
	int length = hello ? hello->server_name_length : 0;

	if (log_settings.level < LOG_LEVEL_DEBUG)
		return;
	if (length > CLIENT_HELLO_MAX_NAME)
		length = CLIENT_HELLO_MAX_NAME;
	log_debug("%s: %s%s%.*s, to %s",
		  connection_client_text(connection, client), judgement,
		  length > 0 ? " for " : "", length,
		  hello ? (const char *)hello->server_name : "", backend->text);
}

/* @bytes are those that came last and are not yet held. */
static void judge(struct engine *engine, struct connection *connection,
		  bool acme, const char *judgement,
		  const struct client_hello *hello, const uint8_t *bytes,
		  size_t length)
{
	const struct backend *backend = acme ? &engine->config->alpn
					     : &engine->config->fallback;

	log_judgement(connection, backend, judgement, hello);
	deadline_stop(&connection->deadline);
	free(connection->hello);
	connection->hello = NULL;
	if (length > 0 && connection->from_client.held_length > 0) {
		if (flow_hold(&connection->from_client, bytes, length) != 0) {
			connection_abort(engine, connection);
			return;
		}
		length = 0;
	}
	counter_add(acme ? &engine->counters->to_alpn
			 : &engine->counters->to_fallback,
		    1);
	connect_begin(engine, connection, backend, bytes, length);
}

/* A challenge that nobody asked us to take is the web server's to answer. */
static void judge_challenge(struct engine *engine,
			    struct connection *connection,
			    const struct client_hello *hello,
			    const uint8_t *bytes, size_t length)
{
	bool taken = domain_list_takes(&engine->config->domains,
				       hello->server_name,
				       hello->server_name_length);

	if (!taken)
		counter_add(&engine->counters->other_domains, 1);
	judge(engine, connection, taken,
	      taken ? "acme-tls/1" : "acme-tls/1 without --domain", hello,
	      bytes, length);
}

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

static void take_bytes(struct engine *engine, struct connection *connection,
		       const uint8_t *bytes, size_t length)
{
	struct client_hello first = { 0 };
	struct client_hello *hello = connection->hello ? connection->hello
						       : &first;

	switch (client_hello_feed(hello, bytes, length)) {
	case CLIENT_HELLO_ACME:
		judge_challenge(engine, connection, hello, bytes, length);
		break;
	case CLIENT_HELLO_OTHER:
		judge(engine, connection, false, "not acme-tls/1", hello, bytes,
		      length);
		break;
	case CLIENT_HELLO_NEED_MORE:
		if (keep_hello(connection, hello) != 0 ||
		    flow_hold(&connection->from_client, bytes, length) != 0)
			connection_abort(engine, connection);
		break;
	}
}

void first_bytes_read(struct engine *engine, struct connection *connection)
{
	uint8_t *buffer = engine->tools.buffer;
	ssize_t length = recv(connection->client_fd, buffer,
			      sizeof(engine->tools.buffer), 0);

	if (length > 0) {
		take_bytes(engine, connection, buffer, (size_t)length);
	} else if (length == 0) {
		connection->from_client.source_ended = true;
		/* Even without a byte: the fallback may speak first. */
		judge(engine, connection, false, "incomplete hello", NULL, NULL,
		      0);
	} else if (errno != EAGAIN && errno != EINTR) {
		connection_abort(engine, connection);
	}
}

void first_bytes_timeout(struct engine *engine, struct connection *connection)
{
	counter_add(&engine->counters->hello_timeouts, 1);
	judge(engine, connection, false, "no hello in time", NULL, NULL, 0);
}
