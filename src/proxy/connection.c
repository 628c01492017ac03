// SPDX-License-Identifier: MIT
#include "proxy/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"

static void set_count(struct engine *engine, size_t count)
{
	engine->connection_count = count;
	counter_set(&engine->counters->open_connections, count);
}

/* A client that has vanished is found within 2 min, where the kernel takes 2 h
 * by default. */
static void probe(int client_fd)
{
	const int idle_s = 60, interval_s = 15, count = 4;

	setsockopt(client_fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s,
		   sizeof(idle_s));
	setsockopt(client_fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s,
		   sizeof(interval_s));
	setsockopt(client_fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

void connection_probe_all(struct engine *engine)
{
	engine->probing = true;
	for (size_t fd = 0; fd < engine->readiness.capacity; fd++)
		if (engine->connections[fd] &&
		    engine->connections[fd]->client_fd == (int)fd)
			probe((int)fd);
}

struct connection *connection_open(struct engine *engine, int client_fd,
				   const struct sockaddr_storage *address)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection) {
		close(client_fd);
		return NULL;
	}
	connection->client_fd = client_fd;
	connection->backend_fd = -1;
	connection->accepted_ns = engine_read_clock(engine);
	memcpy(&connection->address, address, sizeof(connection->address));
	engine->connections[client_fd] = connection;
	if (engine->probing)
		probe(client_fd);
	set_count(engine, engine->connection_count + 1);
	counter_add(&engine->counters->accepted, 1);
	return connection;
}

void connection_set_backend(struct engine *engine,
			    struct connection *connection, int fd)
{
	connection->backend_fd = fd;
	engine->connections[fd] = connection;
}

static void forget_descriptor(struct engine *engine, int fd)
{
	readiness_forget(&engine->readiness, fd);
	engine->connections[fd] = NULL;
}

void connection_drop_backend(struct engine *engine,
			     struct connection *connection)
{
	if (connection->backend_fd < 0)
		return;
	forget_descriptor(engine, connection->backend_fd);
	close_fd_at(&connection->backend_fd);
}

void connection_wait(struct engine *engine, struct connection *connection,
		     enum engine_timer timer)
{
	deadline_start(&connection->deadline, &engine->timers[timer],
		       engine_read_clock(engine));
}

int connection_failure(int fd)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
		return -errno;
	return -error;
}

struct endpoint connection_client(const struct connection *connection)
{
	struct endpoint client = { .length = sizeof(connection->address) };

	memcpy(&client.address, &connection->address,
	       sizeof(connection->address));
	return client;
}

uint64_t connection_bytes_from_client(const struct connection *connection)
{
	const uint64_t bytes = connection->from_client.bytes;

	return bytes > connection->header_length
		       ? bytes - connection->header_length
		       : 0;
}

/* The kernel has mostly given the backend the next number: then one call
 * closes both (kernel 5.9). */
static void close_descriptors(struct engine *engine,
			      struct connection *connection)
{
	const int client_fd = connection->client_fd;
	const int backend_fd = connection->backend_fd;

	forget_descriptor(engine, client_fd);
	if (backend_fd == client_fd + 1) {
		forget_descriptor(engine, backend_fd);
		if (close_range((unsigned int)client_fd,
				(unsigned int)backend_fd, 0) == 0)
			return;
	}
	close(client_fd);
	connection_drop_backend(engine, connection);
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
	uint64_t age = engine->now_ns - connection->accepted_ns;
	const struct endpoint client = connection_client(connection);
	char client_text[ENDPOINT_TEXT_SIZE];

	if (log_settings.level < LOG_LEVEL_DEBUG)
		return;

	const struct log_field fields[] = {
		text_field("client", endpoint_text(&client, client_text)),
		name_field(connection->hello),
		text_field("verdict", verdicts[connection->verdict]),
		text_field("backend", backend ? backend->text : ""),
		{ "bytes_from_client",
		  .number = connection_bytes_from_client(connection) },
		{ "bytes_to_client", .number = connection->to_client.bytes },
		{ "seconds", .number = age / NS_PER_MS, .milliseconds = true },
		text_field("end", ends[end]),
	};

	log_event(LOG_LEVEL_DEBUG, "connection", fields, ARRAY_SIZE(fields));
}

void connection_release(struct engine *engine, struct connection *connection,
			enum connection_end end)
{
	log_end(engine, connection, end);
	close_descriptors(engine, connection);
	deadline_stop(&connection->deadline);
	flow_drop(&connection->from_client, &engine->tools);
	flow_drop(&connection->to_client, &engine->tools);
	free(connection->hello);
	free(connection);
	set_count(engine, engine->connection_count - 1);
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
	connection_release(engine, connection, end);
}

void connection_release_all(struct engine *engine)
{
	for (size_t fd = 0; fd < engine->readiness.capacity; fd++)
		if (engine->connections[fd])
			connection_release(engine, engine->connections[fd],
					   CONNECTION_STOPPED);
}
