// SPDX-License-Identifier: MIT
#include "proxy/peek.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "hello/client_hello.h"
#include "hello/proxy_preamble.h"
#include "proxy/challenges.h"
#include "proxy/connect.h"
#include "proxy/connection.h"
#include "proxy/engine.h"

/* For the log line at the end of the connection. */
static void keep_for_log(struct connection *connection,
			 const struct client_hello *hello)
{
	if (log_settings.level < LOG_LEVEL_DEBUG)
		return;
	connection->hello = malloc(sizeof(*hello));
	if (connection->hello)
		*connection->hello = *hello;
}

/* For `status`; before it is counted, which gives the next its place. */
static void note_challenge(struct engine *engine,
			   const struct connection *connection,
			   const struct client_hello *hello)
{
	struct proxy_counters *counters = engine->counters;
	const struct endpoint client = connection_client(connection);
	struct challenge challenge = { 0 };

	endpoint_host(&client, challenge.client);
	domain_name_copy(hello->server_name, hello->server_name_length,
			 challenge.server_name);
	challenge_write(&counters->challenges[atomic_load(&counters->to_alpn) %
					      CHALLENGES_KEPT],
			&challenge);
}

static void judge(struct engine *engine, struct connection *connection,
		  enum connection_verdict verdict)
{
	const bool acme = verdict == CONNECTION_ACME;

	connection->verdict = (uint8_t)verdict;
	deadline_stop(&connection->deadline);
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
	const bool taken = domain_list_takes(&engine->config->domains,
					     hello->server_name,
					     hello->server_name_length);

	if (taken)
		note_challenge(engine, connection, hello);
	else
		counter_add(&engine->counters->other_domains, 1);
	judge(engine, connection,
	      taken ? CONNECTION_ACME : CONNECTION_OTHER_DOMAIN);
}

/*
 * Judge what came. A hello may begin behind a preamble, which may itself be
 * incomplete. With HELLO_NEED_MORE, another look is in vain before
 * connection->wanted bytes are there.
 */
static enum hello_verdict look(struct connection *connection,
			       struct client_hello *hello)
{
	const uint8_t *bytes = connection->from_client.held.memory;
	const size_t length = connection->from_client.held_length;
	const int preamble = proxy_preamble_length(bytes, (__u32)length);
	enum hello_verdict verdict;

	connection->wanted = (uint32_t)length + 1;
	if (preamble == PROXY_PREAMBLE_NEED_MORE)
		return HELLO_NEED_MORE;
	connection->preamble_length = (uint16_t)preamble;
	verdict = client_hello_judge(bytes + preamble,
				     length - (size_t)preamble, hello);
	if (verdict != HELLO_NEED_MORE)
		return verdict;
	connection->wanted = (uint32_t)((size_t)preamble + hello->length);
	connection->begun = length > (size_t)preamble;
	return HELLO_NEED_MORE;
}

static void take_bytes(struct engine *engine, struct connection *connection,
		       const uint8_t *bytes, size_t length)
{
	struct flow *flow = &connection->from_client;
	enum hello_verdict verdict;
	struct client_hello hello;

	if (flow_hold(flow, bytes, length) != 0) {
		connection_abort(engine, connection, CONNECTION_BROKEN);
		return;
	}
	if (flow->held_length < connection->wanted)
		return;
	verdict = look(connection, &hello);
	if (verdict == HELLO_NEED_MORE)
		return;
	keep_for_log(connection, &hello);
	if (verdict == HELLO_ACME)
		judge_challenge(engine, connection, &hello);
	else
		judge(engine, connection, CONNECTION_OTHER);
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
		judge(engine, connection, CONNECTION_INCOMPLETE);
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
	judge(engine, connection, CONNECTION_SILENT);
}

/* A begun hello is not silence: a segment that was lost comes again after 1, 3
 * or 7 s. */
void peek_timeout(struct engine *engine, struct connection *connection)
{
	if (connection->begun)
		connection_wait(engine, connection, TIMER_BEGUN_HELLO);
	else
		peek_give_up(engine, connection);
}
