// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/control.h"
#include "base/fd.h"
#include "base/memory.h"
#include "proxy/challenges.h"
#include "proxy/proxy_header.h"
#include "tests/unit/proxy_fixture.h"

/* @first goes, and @second learns of it. */
static void hang_up(int first, int second)
{
	close(first);
	expect_end(second);
	close(second);
}

static void routes_by_alpn_in_both_families(void **state)
{
	struct fixture *fixture = *state;
	static const int families[] = { AF_INET, AF_INET6 };

	fixture_start(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct hello *hello = acme_hello();
		int client = try_to_visit(fixture, families[i]);
		int server;

		server = greet(fixture->alpn, client, hello);
		say(server, "certificate", 11);
		expect(client, "certificate", 11);
		hang_up(client, server);

		hello = browser_hello();
		client = try_to_visit(fixture, families[i]);
		server = greet(fixture->fallback, client, hello);
		hang_up(server, client);
	}
	fixture_expect_counter(fixture, to_alpn, 2);
	fixture_expect_counter(fixture, to_fallback, 2);
	fixture_expect_counter(fixture, accepted, 4);
	fixture_expect_counter(fixture, open_connections, 0);
	fixture_expect_counter(fixture, bytes_to_clients, 22);
	assert_int_equal(fixture_counter(fixture, resets), 0);
}

/* A challenge for @name from the loopback address of @family. */
static void challenge(struct fixture *fixture, int family, const char *name)
{
	static const char *const protocols[] = { "acme-tls/1", NULL };
	const struct hello_spec spec = { .protocols = protocols,
					 .server_name = name };
	struct hello hello = { 0 };
	int client = try_to_visit(fixture, family);

	hello_build(&hello, &spec);
	close(greet(fixture->alpn, client, &hello));
	close(client);
}

static void notes_the_last_challenges(void **state)
{
	struct fixture *fixture = *state;
	struct challenge newest[CHALLENGES_KEPT] = { 0 };
	char name[] = "?.example.org";

	fixture_start(fixture);
	challenges_collect(fixture->shared->counters.challenges, newest);
	assert_int_equal(newest[0].taken_ns, 0);
	for (name[0] = 'a'; name[0] < 'a' + CHALLENGES_KEPT; name[0]++)
		challenge(fixture, AF_INET, name);
	close_both(relay(fixture));
	challenge(fixture, AF_INET6, "v6.example.org");
	/* Never what a terminal could take for a command. */
	challenge(fixture, AF_INET, "\x1b[2J.example.org");
	challenge(fixture, AF_INET, NULL);
	challenges_collect(fixture->shared->counters.challenges, newest);
	assert_string_equal(newest[0].server_name, "");
	assert_string_equal(newest[1].server_name, "");
	assert_string_equal(newest[2].server_name, "v6.example.org");
	assert_string_equal(newest[2].client, "::1");
	for (size_t i = 3; i < CHALLENGES_KEPT; i++) {
		name[0]--;
		assert_string_equal(newest[i].server_name, name);
		assert_string_equal(newest[i].client, "127.0.0.1");
		assert_true(newest[i].taken_ns <= newest[i - 1].taken_ns);
	}
}

static void routes_a_hello_in_two_segments(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();

	fixture_start(fixture);
	for (size_t cut = 1; cut < hello->length; cut++) {
		int client = visit(fixture);
		int server;

		say(client, hello->bytes, cut);
		fixture_expect_counter(fixture, accepted, cut);
		usleep(500);
		say(client, hello->bytes + cut, hello->length - cut);
		server = take_visitor(fixture->alpn);
		expect(server, hello->bytes, hello->length);
		hang_up(client, server);
	}
	fixture_expect_counter(fixture, to_alpn, hello->length - 1);
}

static void routes_a_hello_byte_by_byte(void **state)
{
	struct fixture *fixture = *state;
	static const char *const protocols[] = { "acme-tls/1", NULL };
	static const struct hello_spec spec = {
		.protocols = protocols,
		.key_share = 1258,
		.record_size = 700,
	};
	static struct hello hello;
	int client, server;

	fixture_start(fixture);
	hello_build(&hello, &spec);
	client = visit(fixture);
	for (size_t i = 0; i < hello.length; i++)
		say(client, hello.bytes + i, 1);
	say(client, "and more", 8);
	server = take_visitor(fixture->alpn);
	expect(server, hello.bytes, hello.length);
	expect(server, "and more", 8);
	close(client);
	close(server);
}

static void gives_all_that_is_no_hello_to_the_fallback(void **state)
{
	struct fixture *fixture = *state;
	static uint8_t garbage[16384];
	const struct {
		const void *bytes;
		size_t length;
	} greetings[] = {
		{ "GET / HTTP/1.0\r\n\r\n", 18 },
		{ "SSH-2.0-OpenSSH_9.2\r\n", 21 },
		{ "\x80", 1 },
		{ garbage, sizeof(garbage) },
	};

	fixture_start(fixture);
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (uint8_t)(i * i >> 3);
	for (size_t i = 0; i < ARRAY_SIZE(greetings); i++) {
		int client = visit(fixture);
		int server;

		say(client, greetings[i].bytes, greetings[i].length);
		server = take_visitor(fixture->fallback);
		expect(server, greetings[i].bytes, greetings[i].length);
		shutdown(client, SHUT_WR);
		expect_end(server);
		hang_up(server, client);
	}
	assert_int_equal(fixture_counter(fixture, hello_timeouts), 0);
}

static void gives_a_silent_client_to_the_fallback(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	const size_t lengths[] = { 0, 1, 5, hello->length - 1 };

	fixture->config.hello_timeout_ms = 60;
	fixture_start(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		int client = visit(fixture);
		int server;

		if (lengths[i] > 0)
			say(client, hello->bytes, lengths[i]);
		server = take_visitor(fixture->fallback);
		if (lengths[i] > 0)
			expect(server, hello->bytes, lengths[i]);
		/* It speaks at last, and is answered. */
		say(client, "late", 4);
		expect(server, "late", 4);
		say(server, "hello", 5);
		expect(client, "hello", 5);
		close(client);
		close(server);
	}
	assert_int_equal(fixture_counter(fixture, hello_timeouts),
			 ARRAY_SIZE(lengths));
}

static void passes_on_the_end_within_a_hello(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	int client, server;

	fixture_start(fixture);
	client = visit(fixture);
	say(client, hello->bytes, 30);
	shutdown(client, SHUT_WR);
	server = take_visitor(fixture->fallback);
	expect(server, hello->bytes, 30);
	expect_end(server);
	say(server, "alert", 5);
	close(server);
	expect(client, "alert", 5);
	expect_end(client);
	close(client);
}

/* The fallback may be one that speaks first. */
static void passes_on_an_end_without_a_byte(void **state)
{
	struct fixture *fixture = *state;
	int client, backend;

	fixture_start(fixture);
	client = visit(fixture);
	shutdown(client, SHUT_WR);
	backend = take_visitor(fixture->fallback);
	expect_end(backend);
	say(backend, "220", 3);
	close(backend);
	expect(client, "220", 3);
	expect_end(client);
	close(client);
}

static void forgets_a_client_that_resets_before_its_hello(void **state)
{
	struct fixture *fixture = *state;
	int client;

	fixture_start(fixture);
	client = visit(fixture);
	say(client, "\x16", 1);
	reset(client);
	fixture_expect_counter(fixture, accepted, 1);
	fixture_expect_counter(fixture, open_connections, 0);
	assert_false(is_waiting(fixture->fallback, 0));
}

/* @first ends, and is answered by @second nevertheless. */
static void expect_half_close(const struct fixture *fixture, int first,
			      int second)
{
	say(first, "last words", 10);
	shutdown(first, SHUT_WR);
	expect(second, "last words", 10);
	expect_end(second);
	let_turns_pass(fixture);
	say(second, "answer", 6);
	expect(first, "answer", 6);
	hang_up(second, first);
	fixture_expect_counter(fixture, open_connections, 0);
	assert_int_equal(fixture_counter(fixture, resets), 0);
}

static void passes_on_the_clients_end(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = relay(fixture);
	expect_half_close(fixture, relayed.client, relayed.server);
}

static void passes_on_the_servers_end(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = relay(fixture);
	expect_half_close(fixture, relayed.server, relayed.client);
}

static void passes_on_a_reset(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = relay(fixture);
	reset(relayed.client);
	expect_reset(relayed.server);
	close(relayed.server);

	relayed = relay(fixture);
	reset(relayed.server);
	expect_reset(relayed.client);
	close(relayed.client);
	fixture_expect_counter(fixture, resets, 2);

	/* Parked ones. */
	relayed = relay(fixture);
	let_turns_pass(fixture);
	reset(relayed.client);
	expect_reset(relayed.server);
	close(relayed.server);
	fixture_expect_counter(fixture, resets, 3);
	fixture_expect_counter(fixture, open_connections, 0);
}

/* Nothing is read from @first any more, but that it died is noticed. */
static void expect_reset_after_end(const struct fixture *fixture, int first,
				   int second)
{
	shutdown(first, SHUT_WR);
	expect_end(second);
	let_turns_pass(fixture);
	reset(first);
	expect_failure(second);
	close(second);
}

static void passes_on_a_reset_after_an_end(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = relay(fixture);
	expect_reset_after_end(fixture, relayed.client, relayed.server);
	relayed = relay(fixture);
	expect_reset_after_end(fixture, relayed.server, relayed.client);
	fixture_expect_counter(fixture, open_connections, 0);
}

/* A server that answers and closes while the client still sends. */
static void delivers_an_answer_before_the_reset(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;
	char buffer[8];

	fixture_start(fixture);
	relayed = relay(fixture);
	say(relayed.server, "denied", 6);
	close(relayed.server);
	expect(relayed.client, "denied", 6);
	expect_end(relayed.client);
	/* The first write finds it out, the next one is told. */
	send(relayed.client, "more", 4, MSG_NOSIGNAL);
	fixture_expect_counter(fixture, bytes_from_clients,
			       browser_hello()->length + 4);
	usleep(1000);
	send(relayed.client, "more", 4, MSG_NOSIGNAL);
	fixture_expect_counter(fixture, open_connections, 0);
	assert_true(recv(relayed.client, buffer, sizeof(buffer), 0) <= 0);
	close(relayed.client);
	assert_int_equal(fixture_counter(fixture, resets), 1);
}

/* Bulk data: each byte is told by its place in the stream. */

#define BULK_SIZE (8u << 20)

struct stream {
	int from;
	int to;
	size_t sent;
	size_t received;
	/* Taken by the reader at once. */
	size_t bite;
	uint64_t salt;
	bool ended;
};

static uint8_t byte_at(const struct stream *stream, size_t offset)
{
	uint64_t word = (offset >> 3) * 0x9e3779b97f4a7c15ull ^ stream->salt;

	word ^= word >> 29;
	word *= 0xbf58476d1ce4e5b9ull;
	return (uint8_t)(word >> (8 * (offset & 7)));
}

static void send_some(struct stream *stream, size_t total)
{
	static uint8_t buffer[65536];
	size_t length = total - stream->sent;
	ssize_t sent;

	if (length > sizeof(buffer))
		length = sizeof(buffer);
	for (size_t i = 0; i < length; i++)
		buffer[i] = byte_at(stream, stream->sent + i);
	sent = send(stream->from, buffer, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	assert_true(sent >= 0 || errno == EAGAIN);
	if (sent > 0)
		stream->sent += (size_t)sent;
	if (stream->sent == total)
		shutdown(stream->from, SHUT_WR);
}

static void receive_some(struct stream *stream)
{
	static uint8_t buffer[65536];
	ssize_t length = recv(stream->to, buffer, stream->bite, MSG_DONTWAIT);

	if (length < 0) {
		assert_int_equal(errno, EAGAIN);
		return;
	}
	stream->ended = length == 0;
	for (size_t i = 0; i < (size_t)length; i++)
		if (buffer[i] != byte_at(stream, stream->received + i))
			fail_msg("byte %zu is wrong", stream->received + i);
	stream->received += (size_t)length;
}

/* Send @total bytes over each stream, all at once, until all have ended. */
static void pump(struct stream *streams, size_t count, size_t total)
{
	struct pollfd waiting[64];
	size_t open = count;

	assert_true(2 * count <= ARRAY_SIZE(waiting));
	while (open > 0) {
		for (size_t i = 0; i < count; i++) {
			waiting[2 * i] = (struct pollfd){
				.fd = streams[i].sent < total ? streams[i].from
							      : -1,
				.events = POLLOUT,
			};
			waiting[2 * i + 1] = (struct pollfd){
				.fd = streams[i].ended ? -1 : streams[i].to,
				.events = POLLIN,
			};
		}
		assert_true(poll(waiting, 2 * count, PATIENCE_MS) > 0);
		open = 0;
		for (size_t i = 0; i < count; i++) {
			if (waiting[2 * i].revents)
				send_some(&streams[i], total);
			if (waiting[2 * i + 1].revents)
				receive_some(&streams[i]);
			open += !streams[i].ended;
		}
	}
	for (size_t i = 0; i < count; i++)
		assert_int_equal(streams[i].received, total);
}

static void relays_bulk_both_ways_to_a_slow_reader(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = relay(fixture);
	{
		struct stream streams[] = {
			{ .from = relayed.client,
			  .to = relayed.server,
			  .bite = 65536,
			  .salt = 1 },
			{ .from = relayed.server,
			  .to = relayed.client,
			  .bite = 3000,
			  .salt = 2 },
		};

		pump(streams, ARRAY_SIZE(streams), BULK_SIZE);
	}
	close_both(relayed);
	fixture_expect_counter(fixture, bytes_to_clients, BULK_SIZE);
	fixture_expect_counter(fixture, bytes_from_clients,
			       BULK_SIZE + browser_hello()->length);
	fixture_expect_counter(fixture, open_connections, 0);
}

/* More bulk flows than there are pipes for: the others copy. */
static void relays_bulk_with_few_pipes(void **state)
{
	struct fixture *fixture = *state;
	enum {
		PAIRS = 10
	};
	struct relayed relayed[PAIRS];
	struct stream streams[2 * PAIRS];
	size_t before;

	fixture->descriptors = 64;
	fixture_start(fixture);
	before = fixture_descriptors(fixture);
	for (size_t i = 0; i < PAIRS; i++) {
		relayed[i] = relay(fixture);
		streams[2 * i] = (struct stream){
			.from = relayed[i].client,
			.to = relayed[i].server,
			.bite = 1000 + 6000 * i,
			.salt = 2 * i,
		};
		streams[2 * i + 1] = (struct stream){
			.from = relayed[i].server,
			.to = relayed[i].client,
			.bite = 65536 - 6000 * i,
			.salt = 2 * i + 1,
		};
	}
	pump(streams, ARRAY_SIZE(streams), BULK_SIZE / 8);
	for (size_t i = 0; i < PAIRS; i++)
		close_both(relayed[i]);
	fixture_expect_counter(fixture, open_connections, 0);
	/* A few idle pipes are kept. */
	assert_in_range(fixture_descriptors(fixture), before, before + 6);
}

/* One side stops reading: the other is stopped by TCP, not by memory. */
static void stops_reading_for_a_reader_that_stalls(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;
	struct stream stream;
	unsigned long cpu_ms;
	size_t stalled = 0;

	fixture_start(fixture);
	relayed = relay(fixture);
	stream = (struct stream){
		.from = relayed.server,
		.to = relayed.client,
		.bite = 65536,
		.salt = 5,
	};
	while (stalled < 20) {
		size_t before = stream.sent;

		send_some(&stream, 1u << 30);
		usleep(before == stream.sent ? 5000 : 0);
		stalled = before == stream.sent ? stalled + 1 : 0;
	}
	/* What sockets and a pipe hold at their largest, no more. */
	assert_in_range(stream.sent, 1, 64u << 20);
	cpu_ms = fixture_cpu_ms(fixture);
	usleep(300000);
	assert_in_range(fixture_cpu_ms(fixture) - cpu_ms, 0, 100);

	while (stream.received < stream.sent)
		receive_some(&stream);
	close_both(relayed);
}

static void counts_a_reader_that_dies_while_data_waits(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;
	struct stream stream;

	fixture_start(fixture);
	relayed = relay(fixture);
	stream = (struct stream){ .from = relayed.server, .salt = 6 };
	for (int i = 0; i < 2000; i++)
		send_some(&stream, 1u << 30);
	reset(relayed.client);
	fixture_expect_counter(fixture, open_connections, 0);
	assert_int_equal(fixture_counter(fixture, resets), 1);
	close(relayed.server);
}

/* Neither end reads before its own data is taken; one of them dies. */
static void passes_on_a_reset_to_one_that_takes_nothing(void **state)
{
	struct fixture *fixture = *state;
	const int ends[] = { 0, 1 };

	fixture_start(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct relayed relayed = relay(fixture);
		int dies = ends[i] ? relayed.server : relayed.client;
		int stays = ends[i] ? relayed.client : relayed.server;
		struct stream streams[] = { { .from = dies },
					    { .from = stays } };

		for (int full = 0; full < 20; full++) {
			size_t before = streams[0].sent + streams[1].sent;

			send_some(&streams[0], 1u << 30);
			send_some(&streams[1], 1u << 30);
			if (streams[0].sent + streams[1].sent != before)
				full = 0;
			usleep(1000);
		}
		reset(dies);
		fixture_expect_counter(fixture, open_connections, 0);
		assert_int_equal(fixture_counter(fixture, resets), i + 1);
		close(stays);
	}
}

/* Urgent data leaves the stream; nothing may turn in circles for it. */
static void is_not_upset_by_urgent_data(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;
	unsigned long cpu_ms;
	static uint8_t block[200000];
	size_t received = 0;

	fixture_start(fixture);
	relayed = relay(fixture);
	assert_int_equal(send(relayed.client, "!", 1, MSG_OOB), 1);
	cpu_ms = fixture_cpu_ms(fixture);
	usleep(300000);
	assert_in_range(fixture_cpu_ms(fixture) - cpu_ms, 0, 100);

	/* In the middle of bulk, where splice() stops at it. */
	for (int i = 0; i < 5; i++) {
		say(relayed.client, block, sizeof(block));
		assert_int_equal(send(relayed.client, "!", 1, MSG_OOB), 1);
	}
	shutdown(relayed.client, SHUT_WR);
	for (;;) {
		ssize_t length = recv(relayed.server, block, sizeof(block), 0);

		assert_true(length >= 0);
		if (length == 0)
			break;
		received += (size_t)length;
	}
	assert_in_range(received, 5 * sizeof(block), 5 * sizeof(block) + 6);
	close_both(relayed);
}

static void tries_the_backends_next_address(void **state)
{
	struct fixture *fixture = *state;
	struct backend *fallback = &fixture->config.fallback;
	in_port_t port = fixture_port(fixture->fallback);

	fallback->count = 0;
	fixture_add_address(fallback, fixture_refusing_port());
	fixture_add_address(fallback, port);
	fixture_start(fixture);
	close_both(relay(fixture));
	assert_int_equal(fixture_counter(fixture, fallback_unreachable), 0);
}

static void closes_at_once_if_no_address_answers(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	struct backend *alpn = &fixture->config.alpn;
	int client;

	alpn->count = 0;
	fixture_add_address(alpn, fixture_refusing_port());
	fixture_add_address(alpn, fixture_refusing_port());
	fixture_start(fixture);
	client = visit(fixture);
	say(client, hello->bytes, hello->length);
	expect_reset(client);
	close(client);
	fixture_expect_counter(fixture, alpn_unreachable, 1);
	assert_int_equal(fixture_counter(fixture, fallback_unreachable), 0);
	/* The web server is none the worse for it. */
	close_both(relay(fixture));
}

static void waits_for_a_backend_with_a_full_backlog(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = browser_hello();
	int fillers[2];
	int client, server;

	close(fixture->fallback);
	fixture->fallback = fixture_listen(AF_INET, 0, 0);
	fixture->config.fallback.count = 0;
	fixture_add_address(&fixture->config.fallback,
			    fixture_port(fixture->fallback));
	fixture_start(fixture);
	fill_backlog(fixture_port(fixture->fallback), fillers);

	client = visit(fixture);
	say(client, hello->bytes, hello->length);
	fixture_expect_counter(fixture, to_fallback, 1);
	usleep(50000);
	for (int i = 0; i < 2; i++) {
		if (is_waiting(fixture->fallback, 0))
			close(take_visitor(fixture->fallback));
		close(fillers[i]);
	}
	do {
		server = take_visitor(fixture->fallback);
	} while (recv(server, (char[1]){ 0 }, 1, MSG_PEEK) == 0);
	expect(server, hello->bytes, hello->length);
	close(client);
	close(server);
}

static void leaves_an_address_that_does_not_answer(void **state)
{
	struct fixture *fixture = *state;
	struct deaf deaf = start_with_deaf_address(fixture);

	close_both(relay(fixture));
	close(deaf.listener);
	send_fillers_away(deaf);
}

static void switch_ipv6_on_loopback(const char *disabled)
{
	int fd = open("/proc/sys/net/ipv6/conf/lo/disable_ipv6", O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, disabled, 1), 1);
	close(fd);
}

/* What the kernel says then is what it says when all ports are taken. */
static void does_not_wait_for_ports_of_a_family_that_is_off(void **state)
{
	struct fixture *fixture = *state;
	struct backend *fallback = &fixture->config.fallback;
	const struct sockaddr_in6 address = {
		.sin6_family = AF_INET6,
		.sin6_port = fixture->port6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	const struct hello *hello = browser_hello();
	bool told;
	int client;

	fallback->count = 0;
	fixture_add_address(fallback, fixture_refusing_port());
	memcpy(&fallback->addresses[1].address, &address, sizeof(address));
	fallback->addresses[1].length = sizeof(address);
	fallback->count = 2;
	fixture_start(fixture);
	switch_ipv6_on_loopback("1");
	client = visit(fixture);
	say(client, hello->bytes, hello->length);
	told = is_waiting(client, PATIENCE_MS / 2);
	switch_ipv6_on_loopback("0");
	assert_true(told);
	expect_reset(client);
	assert_int_equal(fixture_counter(fixture, fallback_unreachable), 1);
	close(client);
}

/* The header of version 1 that tells of @client. */
static size_t header_of(const struct fixture *fixture, int client,
			char header[static PROXY_HEADER_SIZE])
{
	return (size_t)snprintf(header, PROXY_HEADER_SIZE,
				"PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\n",
				ntohs(fixture_port(client)),
				ntohs(fixture->port4));
}

static void expect_header(const struct fixture *fixture, int client, int server)
{
	char header[PROXY_HEADER_SIZE];

	expect(server, header, header_of(fixture, client, header));
}

/* A backend that looks at its first read alone finds all of it there. */
static void puts_a_header_before_the_hello(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = browser_hello();
	char header[PROXY_HEADER_SIZE];
	static uint8_t buffer[4096];
	size_t length;
	int client, server;

	fixture->config.fallback.proxy_protocol = PROXY_PROTOCOL_V1;
	fixture_start(fixture);
	client = visit(fixture);
	length = header_of(fixture, client, header);
	say(client, hello->bytes, hello->length);
	server = take_visitor(fixture->fallback);
	assert_int_equal(recv(server, buffer, sizeof(buffer), 0),
			 length + hello->length);
	assert_memory_equal(buffer, header, length);
	assert_memory_equal(buffer + length, hello->bytes, hello->length);
	say(client, "more", 4);
	expect(server, "more", 4);
	hang_up(server, client);
	/* The client did not send it. */
	fixture_expect_counter(fixture, open_connections, 0);
	assert_int_equal(fixture_counter(fixture, bytes_from_clients),
			 hello->length + 4);
}

static void puts_a_header_before_whatever_came(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = browser_hello();
	int client, server;

	fixture->config.hello_timeout_ms = 60;
	fixture->config.fallback.proxy_protocol = PROXY_PROTOCOL_V1;
	fixture_start(fixture);

	/* A hello in two pieces. */
	client = visit(fixture);
	say(client, hello->bytes, 100);
	usleep(5000);
	say(client, hello->bytes + 100, hello->length - 100);
	server = take_visitor(fixture->fallback);
	expect_header(fixture, client, server);
	expect(server, hello->bytes, hello->length);
	hang_up(client, server);

	/* Nothing, and then something late, which must not be delayed. */
	client = visit(fixture);
	server = take_visitor(fixture->fallback);
	expect_header(fixture, client, server);
	say(client, "late", 4);
	expect(server, "late", 4);
	close(server);
	close(client);

	/* An end. */
	client = visit(fixture);
	shutdown(client, SHUT_WR);
	server = take_visitor(fixture->fallback);
	expect_header(fixture, client, server);
	expect_end(server);
	close(server);
	close(client);
}

static void each_backend_has_a_header_of_its_own(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	int client, server;

	fixture->config.alpn.proxy_protocol = PROXY_PROTOCOL_V1;
	fixture_start(fixture);
	client = visit(fixture);
	say(client, hello->bytes, hello->length);
	server = take_visitor(fixture->alpn);
	expect_header(fixture, client, server);
	expect(server, hello->bytes, hello->length);
	close(client);
	close(server);
	close_both(relay(fixture));
}

/* What a balancer puts before the client's bytes. */
static const uint8_t preamble1[] =
	"PROXY TCP4 192.0.2.7 198.51.100.1 5 443\r\n";
static const uint8_t preamble2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\14"
				   "\xc0\0\2\7\xc6\x33\x64\1\0\5\1\xbb";
static const struct {
	const uint8_t *bytes;
	size_t length;
} preambles[] = {
	{ preamble1, sizeof(preamble1) - 1 },
	{ preamble2, sizeof(preamble2) - 1 },
};

/* A visitor who says preamble @i and @hello in pieces of @size bytes. */
static int visit_behind_preamble(const struct fixture *fixture, size_t i,
				 const struct hello *hello, size_t size)
{
	const size_t length = preambles[i].length + hello->length;
	int client = visit(fixture);
	static uint8_t bytes[8192];

	memcpy(bytes, preambles[i].bytes, preambles[i].length);
	memcpy(bytes + preambles[i].length, hello->bytes, hello->length);
	for (size_t said = 0; said < length; said += size)
		say(client, bytes + said,
		    length - said < size ? length - said : size);
	return client;
}

static void judges_what_is_behind_a_balancers_header(void **state)
{
	struct fixture *fixture = *state;
	static const size_t sizes[] = { 8192, 50, 13, 1 };
	const struct hello *acme = acme_hello();
	const struct hello *other = browser_hello();
	size_t challenges = 0;

	fixture_start(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(preambles); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
			int client = visit_behind_preamble(fixture, i, acme,
							   sizes[j]);
			int server = take_visitor(fixture->alpn);

			expect(server, acme->bytes, acme->length);
			hang_up(client, server);
			client = visit_behind_preamble(fixture, i, other,
						       sizes[j]);
			server = take_visitor(fixture->fallback);
			expect(server, preambles[i].bytes, preambles[i].length);
			expect(server, other->bytes, other->length);
			hang_up(client, server);
			challenges++;
		}
	}
	assert_int_equal(fixture_counter(fixture, to_alpn), challenges);
	assert_int_equal(fixture_counter(fixture, to_fallback), challenges);
}

static void passes_a_balancers_header_on_in_place_of_ours(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();

	fixture->config.alpn.proxy_protocol = PROXY_PROTOCOL_V1;
	fixture_start(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(preambles); i++) {
		int client = visit_behind_preamble(fixture, i, hello, 40);
		int server = take_visitor(fixture->alpn);

		expect(server, preambles[i].bytes, preambles[i].length);
		expect(server, hello->bytes, hello->length);
		hang_up(client, server);
	}
}

/* Its client is the silent one. */
static void gives_a_balancers_header_alone_to_the_fallback(void **state)
{
	struct fixture *fixture = *state;
	static const struct hello nothing;

	fixture->config.hello_timeout_ms = 60;
	fixture_start(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(preambles); i++) {
		int client = visit_behind_preamble(fixture, i, &nothing, 10);
		int server = take_visitor(fixture->fallback);

		expect(server, preambles[i].bytes, preambles[i].length);
		hang_up(client, server);
	}
	fixture_expect_counter(fixture, hello_timeouts, ARRAY_SIZE(preambles));
}

/* One that refuses, one that is deaf, then the right one: one header. */
static void takes_the_header_to_the_next_address(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = browser_hello();
	struct backend *fallback = &fixture->config.fallback;
	in_port_t port = fixture_port(fixture->fallback);
	int deaf = fixture_listen(AF_INET, 0, 0);
	int fillers[2];
	int client, server;

	fallback->count = 0;
	fixture_add_address(fallback, fixture_refusing_port());
	fixture_add_address(fallback, fixture_port(deaf));
	fixture_add_address(fallback, port);
	fallback->proxy_protocol = PROXY_PROTOCOL_V1;
	fixture_start(fixture);
	fill_backlog(fixture_port(deaf), fillers);
	client = visit(fixture);
	say(client, hello->bytes, hello->length);
	server = take_visitor(fixture->fallback);
	expect_header(fixture, client, server);
	expect(server, hello->bytes, hello->length);
	say(client, "more", 4);
	expect(server, "more", 4);
	close(client);
	close(server);
	close(deaf);
	close(fillers[0]);
	close(fillers[1]);
}

/* A socket of this host has no reset: what it has is passed on. */
static void passes_on_what_there_is_of_a_reset(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = relay(fixture);
	reset(relayed.client);
	expect_end(relayed.server);
	close(relayed.server);
	fixture_expect_counter(fixture, resets, 1);

	/* It closes with data unread. */
	relayed = relay(fixture);
	say(relayed.client, "unread", 6);
	assert_true(is_waiting(relayed.server, PATIENCE_MS));
	close(relayed.server);
	expect_reset(relayed.client);
	close(relayed.client);
	fixture_expect_counter(fixture, resets, 2);

	/* It closes in good order: the next write finds it gone. */
	relayed = relay(fixture);
	say(relayed.server, "answer", 6);
	close(relayed.server);
	expect(relayed.client, "answer", 6);
	expect_end(relayed.client);
	let_turns_pass(fixture);
	assert_int_equal(fixture_counter(fixture, resets), 2);
	say(relayed.client, "more", 4);
	fixture_expect_counter(fixture, resets, 3);
	close(relayed.client);
	fixture_expect_counter(fixture, open_connections, 0);
}

/* connect() says EAGAIN there, and there is nothing to wait for. */
static void waits_for_a_full_backlog(void **state)
{
	struct fixture *fixture = *state;
	struct backend *fallback = &fixture->config.fallback;
	const struct hello *hello = browser_hello();
	int client, server, filler;
	unsigned long cpu_ms;

	fixture_use_unix_fallback(fixture, 0);
	fallback->proxy_protocol = PROXY_PROTOCOL_V1;
	fixture_start(fixture);
	filler = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(
		connect(filler,
			(struct sockaddr *)&fallback->addresses[0].address,
			fallback->addresses[0].length),
		0);

	client = visit(fixture);
	say(client, hello->bytes, hello->length);
	fixture_expect_counter(fixture, to_fallback, 1);
	cpu_ms = fixture_cpu_ms(fixture);
	usleep(300000);
	assert_in_range(fixture_cpu_ms(fixture) - cpu_ms, 0, 100);

	close(take_visitor(fixture->fallback));
	close(filler);
	server = take_visitor(fixture->fallback);
	expect_header(fixture, client, server);
	expect(server, hello->bytes, hello->length);
	close(client);
	close(server);
	assert_int_equal(fixture_counter(fixture, fallback_unreachable), 0);
}

static void closes_at_once_if_nobody_listens(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = browser_hello();
	int client;

	close(fixture->fallback);
	fixture->fallback = -1;
	fixture_start(fixture);
	client = visit(fixture);
	say(client, hello->bytes, hello->length);
	expect_reset(client);
	close(client);
	fixture_expect_counter(fixture, fallback_unreachable, 1);
}

static void accepts_through_the_grace_and_drains(void **state)
{
	struct fixture *fixture = *state;
	struct relayed before, within;

	fixture_start(fixture);
	before = relay(fixture);
	fixture_tell(fixture, PROXY_DRAIN);
	while (fixture->shared->lease != 0)
		usleep(1000);
	within = relay(fixture);
	fixture_tell(fixture, PROXY_CLOSE);
	assert_int_equal(fixture_message(fixture), PROXY_LISTENERS_CLOSED);
	assert_int_equal(try_to_visit(fixture, AF_INET), -1);
	assert_int_equal(try_to_visit(fixture, AF_INET6), -1);

	say(before.client, "still here", 10);
	expect(before.server, "still here", 10);
	close_both(before);
	say(within.server, "me too", 6);
	expect(within.client, "me too", 6);
	assert_int_equal(fixture->shared->lease, 0);
	close_both(within);
	fixture_expect_exit(fixture);
}

/* Both ends of a connection that has nothing to do with the proxy's listeners. */
static struct relayed connect_past_listeners(int family)
{
	struct relayed made = { .client = socket(family, SOCK_STREAM, 0) };
	int listener = fixture_listen(family, 0, 1);
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);

	set_patience(made.client);
	getsockname(listener, (struct sockaddr *)&address, &size);
	assert_int_equal(
		connect(made.client, (struct sockaddr *)&address, size), 0);
	made.server = take_visitor(listener);
	close(listener);
	return made;
}

static void hand_over(const struct fixture *fixture, int server)
{
	assert_int_equal(control_send(fixture->control_fd, PROXY_TAKE, server),
			 0);
}

/* The client of a connection that is the proxy's from then on. */
static int hand_over_hello(const struct fixture *fixture, int family,
			   const struct hello *hello)
{
	struct relayed made = connect_past_listeners(family);

	say(made.client, hello->bytes, hello->length);
	hand_over(fixture, made.server);
	close(made.server);
	return made.client;
}

static void expect_challenge(const struct fixture *fixture, int client)
{
	int server = take_visitor(fixture->alpn);

	expect(server, acme_hello()->bytes, acme_hello()->length);
	say(server, "certificate", 11);
	expect(client, "certificate", 11);
	hang_up(client, server);
}

static void takes_what_is_handed_over(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = browser_hello();
	int client, server;

	fixture_start(fixture);
	expect_challenge(fixture,
			 hand_over_hello(fixture, AF_INET, acme_hello()));
	expect_challenge(fixture,
			 hand_over_hello(fixture, AF_INET6, acme_hello()));
	client = hand_over_hello(fixture, AF_INET, hello);
	server = take_visitor(fixture->fallback);
	expect(server, hello->bytes, hello->length);
	hang_up(server, client);
	assert_int_equal(fixture_counter(fixture, accepted), 3);
	assert_int_equal(fixture_counter(fixture, handed_over), 3);
	assert_int_equal(fixture_counter(fixture, handed_over_refused), 0);
}

/* It came as one that blocks, and nothing is there to read. */
static void waits_for_nobody_who_is_handed_over(void **state)
{
	struct fixture *fixture = *state;
	struct relayed made;

	fixture_start(fixture);
	made = connect_past_listeners(AF_INET);
	hand_over(fixture, made.server);
	close(made.server);
	fixture_expect_counter(fixture, handed_over, 1);
	close_both(relay(fixture));
	say(made.client, acme_hello()->bytes, acme_hello()->length);
	expect_challenge(fixture, made.client);
}

/* A socket stays in the network namespace in which it was made. */
static void takes_sockets_of_another_namespace(void **state)
{
	struct fixture *fixture = *state;
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	char expected[PROXY_HEADER_SIZE];
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int client, server;

	fixture->config.alpn.proxy_protocol = PROXY_PROTOCOL_V1;
	fixture_start(fixture);
	fixture_enter_namespace();
	client = hand_over_hello(fixture, AF_INET, acme_hello());
	setns(here, CLONE_NEWNET);
	close(here);
	getpeername(client, (struct sockaddr *)&address, &size);
	server = take_visitor(fixture->alpn);
	snprintf(expected, sizeof(expected),
		 "PROXY TCP4 127.0.0.1 127.0.0.1 %u %u\r\n",
		 ntohs(fixture_port(client)), ntohs(address.sin_port));
	expect(server, expected, strlen(expected));
	expect(server, acme_hello()->bytes, acme_hello()->length);
	hang_up(server, client);
}

static void takes_a_few_beyond_the_limit_if_handed_over(void **state)
{
	struct fixture *fixture = *state;
	struct relayed handed_over[PROXY_RESERVE];
	struct relayed relayed;
	int client, waiting;

	fixture->config.max_connections = 1;
	fixture_start(fixture);
	relayed = relay(fixture);
	waiting = visit(fixture);
	fixture_expect_counter(fixture, accept_pauses, 1);
	expect_challenge(fixture,
			 hand_over_hello(fixture, AF_INET, acme_hello()));
	fixture_expect_counter(fixture, open_connections, 1);
	for (size_t i = 0; i < PROXY_RESERVE; i++) {
		handed_over[i] = connect_past_listeners(AF_INET);
		hand_over(fixture, handed_over[i].server);
	}
	fixture_expect_counter(fixture, handed_over, PROXY_RESERVE + 1);
	client = hand_over_hello(fixture, AF_INET, acme_hello());
	expect_reset(client);
	close(client);
	fixture_expect_counter(fixture, handed_over_refused, 1);
	/* The descriptor was lost on its way. */
	fixture_tell(fixture, PROXY_TAKE);
	fixture_expect_counter(fixture, handed_over_refused, 2);
	assert_int_equal(fixture_counter(fixture, accepted), PROXY_RESERVE + 2);
	assert_int_equal(fixture_counter(fixture, accept_pauses), 1);
	for (size_t i = 0; i < PROXY_RESERVE; i++) {
		reset(handed_over[i].client);
		close(handed_over[i].server);
	}
	reset(waiting);
	close_both(relayed);
	fixture_expect_counter(fixture, accepted, PROXY_RESERVE + 3);
	fixture_expect_counter(fixture, open_connections, 0);
	expect_challenge(fixture,
			 hand_over_hello(fixture, AF_INET, acme_hello()));
}

static void takes_what_is_handed_over_while_it_drains(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = relay(fixture);
	fixture_tell(fixture, PROXY_CLOSE);
	assert_int_equal(fixture_message(fixture), PROXY_LISTENERS_CLOSED);
	expect_challenge(fixture,
			 hand_over_hello(fixture, AF_INET, acme_hello()));
	close_both(relayed);
	fixture_expect_exit(fixture);
}

static int option_of(int fd, int level, int option)
{
	int value = -1;
	socklen_t size = sizeof(value);

	assert_int_equal(getsockopt(fd, level, option, &value, &size), 0);
	return value;
}

/* Are @fd's keepalives these, or the kernel's own with NULL? */
static bool has_keepalive(int fd, const int values[3])
{
	static const int options[] = { TCP_KEEPIDLE, TCP_KEEPINTVL,
				       TCP_KEEPCNT };
	cleanup_fd int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		int expected =
			values ? values[i]
			       : option_of(fresh, IPPROTO_TCP, options[i]);

		if (option_of(fd, IPPROTO_TCP, options[i]) != expected)
			return false;
	}
	return option_of(fd, SOL_SOCKET, SO_KEEPALIVE);
}

/* Its own end of a connection is the test's as well. */
static void probes_clients_only_while_it_drains(void **state)
{
	static const int soon[] = { 60, 15, 4 };
	struct fixture *fixture = *state;
	struct relayed before, within;

	fixture_start(fixture);
	before = connect_past_listeners(AF_INET);
	within = connect_past_listeners(AF_INET);
	hand_over(fixture, before.server);
	fixture_expect_counter(fixture, handed_over, 1);
	assert_true(has_keepalive(before.server, NULL));
	fixture_tell(fixture, PROXY_CLOSE);
	assert_int_equal(fixture_message(fixture), PROXY_LISTENERS_CLOSED);
	assert_true(has_keepalive(before.server, soon));
	hand_over(fixture, within.server);
	fixture_expect_counter(fixture, handed_over, 2);
	assert_true(has_keepalive(within.server, soon));
	close_both(before);
	close_both(within);
	/* Nothing came, and so the fallback has both. */
	close(take_visitor(fixture->fallback));
	close(take_visitor(fixture->fallback));
	fixture_expect_exit(fixture);
}

static void accepted_sockets_have_the_kernels_keepalive(void **state)
{
	struct fixture *fixture = *state;
	int client, server;

	listeners_close(&fixture->listeners);
	assert_int_equal(listeners_open(&fixture->listeners, LISTENER_LOOPBACK,
					0, false),
			 0);
	fixture->port4 = fixture_port(fixture->listeners.ipv4);
	client = visit(fixture);
	server = take_visitor(fixture->listeners.ipv4);
	assert_true(has_keepalive(server, NULL));
	hang_up(client, server);
	fixture_start(fixture);
}

static void drains_when_orphaned(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture->drain_when_orphaned = true;
	fixture_start(fixture);
	relayed = relay(fixture);
	fixture_orphan(fixture);
	while (fixture->shared->lease != 0)
		usleep(1000);
	say(relayed.client, "alone", 5);
	expect(relayed.server, "alone", 5);
	close_both(relayed);
	fixture_expect_exit(fixture);
}

/* Its supervisor would have ended them. */
static void ends_what_is_left_as_an_orphan(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture->drain_when_orphaned = true;
	fixture->config.drain_timeout_ms = 300;
	fixture_start(fixture);
	relayed = relay(fixture);
	fixture_orphan(fixture);
	fixture_expect_exit(fixture);
	close_both(relayed);
}

static void serves_who_waits_for_room_before_it_closes(void **state)
{
	struct fixture *fixture = *state;
	struct relayed first, second;

	fixture->config.max_connections = 1;
	fixture_start(fixture);
	first = relay(fixture);
	second.client = visit(fixture);
	fixture_expect_counter(fixture, accept_pauses, 1);
	fixture_tell(fixture, PROXY_CLOSE);
	second.server =
		greet(fixture->fallback, second.client, browser_hello());
	assert_int_equal(fixture_message(fixture), PROXY_LISTENERS_CLOSED);
	close_both(first);
	close_both(second);
	fixture_expect_exit(fixture);
}

/* With no descriptor left for the last ones, who wait in vain. */
static void closes_its_listeners_in_any_case(void **state)
{
	struct fixture *fixture = *state;
	int clients[64];

	fixture->descriptors = ARRAY_SIZE(clients);
	fixture_start(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		clients[i] = visit(fixture);
	fixture_expect_counter(fixture, accept_pauses, 1);
	fixture_tell(fixture, PROXY_CLOSE);
	assert_int_equal(fixture_message(fixture), PROXY_LISTENERS_CLOSED);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		close(clients[i]);
}

static void heeds_sigterm_only_as_an_orphan(void **state)
{
	struct fixture *fixture = *state;

	fixture_start(fixture);
	kill(fixture->pid, SIGTERM);
	close_both(relay(fixture));
	fixture_orphan(fixture);
	close_both(relay(fixture));
	usleep(50000);
	close_both(relay(fixture));
	assert_true(fixture->shared->lease > monotonic_ns());

	kill(fixture->pid, SIGTERM);
	fixture_expect_exit(fixture);
}

static void ends_at_once_when_told_to(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;
	int peeked;

	fixture_start(fixture);
	relayed = relay(fixture);
	peeked = visit(fixture);
	say(peeked, "\x16\x03", 2);
	fixture_expect_counter(fixture, accepted, 2);
	fixture_tell(fixture, PROXY_TERMINATE);
	fixture_expect_exit(fixture);
	expect_end(relayed.client);
	expect_end(relayed.server);
	close_both(relayed);
	close(peeked);
}

static void renews_the_lease_while_idle(void **state)
{
	struct fixture *fixture = *state;
	uint64_t lease, heartbeat;

	fixture_start(fixture);
	for (int i = 0; i < 3; i++) {
		lease = fixture->shared->lease;
		heartbeat = fixture_counter(fixture, heartbeat_ns);
		assert_true(lease > monotonic_ns());
		assert_true(lease <= monotonic_ns() + PROXY_LEASE_NS);
		usleep(600000);
		assert_true(fixture->shared->lease > lease);
		assert_true(fixture_counter(fixture, heartbeat_ns) > heartbeat);
	}
}

/* Echoes what each visitor of @listener says until its end, one by one. */
static pid_t start_echo(int listener)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	while (pid == 0) {
		char buffer[8192];
		int fd = accept(listener, NULL, NULL);
		ssize_t length;

		while ((length = recv(fd, buffer, sizeof(buffer), 0)) > 0)
			send(fd, buffer, (size_t)length, MSG_NOSIGNAL);
		close(fd);
	}
	return pid;
}

static void stop_echo(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void ask_many_at_once(const struct fixture *fixture, size_t count)
{
	const struct hello *hello = browser_hello();
	int *clients = calloc(count, sizeof(*clients));

	for (size_t i = 0; i < count; i++) {
		clients[i] = visit(fixture);
		say(clients[i], hello->bytes, hello->length);
		shutdown(clients[i], SHUT_WR);
	}
	for (size_t i = 0; i < count; i++) {
		expect(clients[i], hello->bytes, hello->length);
		expect_end(clients[i]);
		close(clients[i]);
	}
	free(clients);
}

static void serves_all_with_few_descriptors(void **state)
{
	struct fixture *fixture = *state;
	pid_t echo = start_echo(fixture->fallback);
	size_t before;

	raise_own_limit(1024);
	fixture->descriptors = 64;
	fixture_start(fixture);
	before = fixture_descriptors(fixture);
	ask_many_at_once(fixture, 500);
	fixture_expect_counter(fixture, open_connections, 0);
	assert_int_equal(fixture_counter(fixture, to_fallback), 500);
	assert_int_equal(fixture_counter(fixture, fallback_unreachable), 0);
	assert_int_equal(fixture_counter(fixture, resets), 0);
	assert_true(fixture_counter(fixture, accept_pauses) > 0);
	assert_int_equal(fixture_descriptors(fixture), before);
	stop_echo(echo);
}

/* Clients that take all there is to be had do not make it spin. */
static void rests_while_there_is_no_room(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed[3];
	unsigned long cpu_ms;
	int fourth;

	fixture->config.max_connections = ARRAY_SIZE(relayed);
	fixture_start(fixture);
	for (size_t i = 0; i < ARRAY_SIZE(relayed); i++)
		relayed[i] = relay(fixture);
	fourth = visit(fixture);
	say(fourth, "GET /", 5);
	assert_false(is_waiting(fixture->fallback, 50));
	cpu_ms = fixture_cpu_ms(fixture);
	usleep(300000);
	assert_in_range(fixture_cpu_ms(fixture) - cpu_ms, 0, 100);
	assert_int_equal(fixture_counter(fixture, accept_pauses), 1);
	assert_int_equal(fixture_counter(fixture, open_connections), 3);

	close_both(relayed[1]);
	relayed[1] = (struct relayed){
		.client = fourth,
		.server = take_visitor(fixture->fallback),
	};
	expect(relayed[1].server, "GET /", 5);
	for (size_t i = 0; i < ARRAY_SIZE(relayed); i++) {
		say(relayed[i].server, "200 OK", 6);
		expect(relayed[i].client, "200 OK", 6);
		close_both(relayed[i]);
	}
}

/* All silent for long, then all at once; more than one batch of wake-ups. */
static void wakes_the_parked(void **state)
{
	struct fixture *fixture = *state;
	enum {
		COUNT = 600
	};
	static struct relayed relayed[COUNT];

	raise_own_limit(4096);
	fixture_start(fixture);
	for (size_t i = 0; i < COUNT; i++)
		relayed[i] = relay(fixture);
	let_turns_pass(fixture);
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT; i++) {
			say(relayed[i].client, "ping", 4);
			say(relayed[i].server, "pong", 4);
		}
		for (size_t i = 0; i < COUNT; i++) {
			expect(relayed[i].server, "ping", 4);
			expect(relayed[i].client, "pong", 4);
		}
		let_turns_pass(fixture);
	}
	for (size_t i = 0; i < COUNT; i++)
		close_both(relayed[i]);
	fixture_expect_counter(fixture, open_connections, 0);
	assert_int_equal(fixture_counter(fixture, resets), 0);
}

#define proxy_test(test) \
	cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

#define unix_test(test)                                       \
	{                                                     \
#test "_over_unix", test, fixture_setup_unix, \
			fixture_teardown, NULL                \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		proxy_test(routes_by_alpn_in_both_families),
		proxy_test(notes_the_last_challenges),
		proxy_test(routes_a_hello_in_two_segments),
		proxy_test(routes_a_hello_byte_by_byte),
		proxy_test(gives_all_that_is_no_hello_to_the_fallback),
		proxy_test(gives_a_silent_client_to_the_fallback),
		proxy_test(passes_on_the_end_within_a_hello),
		proxy_test(passes_on_an_end_without_a_byte),
		proxy_test(forgets_a_client_that_resets_before_its_hello),
		proxy_test(passes_on_the_clients_end),
		proxy_test(passes_on_the_servers_end),
		proxy_test(passes_on_a_reset),
		proxy_test(passes_on_a_reset_after_an_end),
		proxy_test(delivers_an_answer_before_the_reset),
		proxy_test(relays_bulk_both_ways_to_a_slow_reader),
		proxy_test(relays_bulk_with_few_pipes),
		proxy_test(stops_reading_for_a_reader_that_stalls),
		proxy_test(counts_a_reader_that_dies_while_data_waits),
		proxy_test(passes_on_a_reset_to_one_that_takes_nothing),
		proxy_test(is_not_upset_by_urgent_data),
		proxy_test(tries_the_backends_next_address),
		proxy_test(closes_at_once_if_no_address_answers),
		proxy_test(puts_a_header_before_the_hello),
		proxy_test(puts_a_header_before_whatever_came),
		proxy_test(each_backend_has_a_header_of_its_own),
		proxy_test(takes_the_header_to_the_next_address),
		proxy_test(judges_what_is_behind_a_balancers_header),
		proxy_test(passes_a_balancers_header_on_in_place_of_ours),
		proxy_test(gives_a_balancers_header_alone_to_the_fallback),
		proxy_test(waits_for_a_backend_with_a_full_backlog),
		proxy_test(leaves_an_address_that_does_not_answer),
		unix_test(routes_by_alpn_in_both_families),
		unix_test(passes_on_the_clients_end),
		unix_test(passes_on_the_servers_end),
		unix_test(relays_bulk_both_ways_to_a_slow_reader),
		unix_test(relays_bulk_with_few_pipes),
		unix_test(stops_reading_for_a_reader_that_stalls),
		unix_test(counts_a_reader_that_dies_while_data_waits),
		unix_test(puts_a_header_before_the_hello),
		unix_test(puts_a_header_before_whatever_came),
		unix_test(wakes_the_parked),
		unix_test(passes_on_what_there_is_of_a_reset),
		unix_test(waits_for_a_full_backlog),
		unix_test(closes_at_once_if_nobody_listens),
		proxy_test(accepts_through_the_grace_and_drains),
		proxy_test(takes_what_is_handed_over),
		proxy_test(waits_for_nobody_who_is_handed_over),
		proxy_test(takes_sockets_of_another_namespace),
		proxy_test(takes_a_few_beyond_the_limit_if_handed_over),
		proxy_test(takes_what_is_handed_over_while_it_drains),
		proxy_test(probes_clients_only_while_it_drains),
		proxy_test(accepted_sockets_have_the_kernels_keepalive),
		proxy_test(drains_when_orphaned),
		proxy_test(ends_what_is_left_as_an_orphan),
		proxy_test(serves_who_waits_for_room_before_it_closes),
		proxy_test(closes_its_listeners_in_any_case),
		proxy_test(does_not_wait_for_ports_of_a_family_that_is_off),
		proxy_test(heeds_sigterm_only_as_an_orphan),
		proxy_test(ends_at_once_when_told_to),
		proxy_test(renews_the_lease_while_idle),
		proxy_test(serves_all_with_few_descriptors),
		proxy_test(rests_while_there_is_no_room),
		proxy_test(wakes_the_parked),
	};

	fixture_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
