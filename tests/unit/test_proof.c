// SPDX-License-Identifier: MIT
/* What a worker says when it is asked whether a visitor can be served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tests/unit/proxy_fixture.h"

static char prove(const struct fixture *fixture)
{
	fixture_tell(fixture, PROXY_PROVE);
	return fixture_message(fixture);
}

static int why_not(const struct fixture *fixture)
{
	return atomic_load(&fixture->shared->counters.proof_err);
}

static void lead_to(struct fixture *fixture, in_port_t port)
{
	fixture->config.fallback.count = 0;
	fixture_add_address(&fixture->config.fallback, port);
}

/* Where the visitor at the other end of @fd comes from. */
static in_addr_t source_of(int fd)
{
	struct sockaddr_in peer;
	socklen_t size = sizeof(peer);

	assert_int_equal(getpeername(fd, (struct sockaddr *)&peer, &size), 0);
	return ntohl(peer.sin_addr.s_addr);
}

static void is_proved_by_who_keeps_the_connection(void **state)
{
	struct fixture *fixture = *state;
	int server;

	fixture_start(fixture);
	assert_int_equal(prove(fixture), PROXY_PROVED);
	server = take_visitor(fixture->fallback);
	assert_int_equal(source_of(server), INADDR_LOOPBACK);
	expect_end(server);
	close(server);
	assert_int_equal(fixture_counter(fixture, accepted), 0);
}

static void is_not_proved_by_who_refuses(void **state)
{
	struct fixture *fixture = *state;

	lead_to(fixture, fixture_refusing_port());
	fixture_start(fixture);
	assert_int_equal(prove(fixture), PROXY_NOT_PROVED);
	assert_int_equal(why_not(fixture), -ECONNREFUSED);
}

static void one_address_that_accepts_is_enough(void **state)
{
	struct fixture *fixture = *state;
	const in_port_t port = fixture_port(fixture->fallback);

	lead_to(fixture, fixture_refusing_port());
	fixture_add_address(&fixture->config.fallback, port);
	fixture_start(fixture);
	assert_int_equal(prove(fixture), PROXY_PROVED);
}

static void is_not_proved_by_silence(void **state)
{
	struct fixture *fixture = *state;
	int deaf = fixture_listen(AF_INET, 0, 0);
	int fillers[2];
	uint64_t began;

	lead_to(fixture, fixture_port(deaf));
	fill_backlog(fixture_port(deaf), fillers);
	fixture_start(fixture);
	began = monotonic_ns();
	assert_int_equal(prove(fixture), PROXY_NOT_PROVED);
	assert_int_equal(why_not(fixture), -ETIMEDOUT);
	assert_true(monotonic_ns() - began < 2 * PROXY_PROOF_MS * NS_PER_MS);
	close(fillers[0]);
	close(fillers[1]);
	close(deaf);
}

static void is_not_proved_by_who_accepts_and_leaves(void **state)
{
	struct fixture *fixture = *state;

	fixture_start(fixture);
	fixture_tell(fixture, PROXY_PROVE);
	close(take_visitor(fixture->fallback));
	assert_int_equal(fixture_message(fixture), PROXY_NOT_PROVED);
	assert_int_equal(why_not(fixture), -ECONNRESET);
	/* It may be better the next time. */
	assert_int_equal(prove(fixture), PROXY_PROVED);
}

static void is_proved_by_who_speaks_first(void **state)
{
	struct fixture *fixture = *state;
	int server;

	fixture_start(fixture);
	fixture_tell(fixture, PROXY_PROVE);
	server = take_visitor(fixture->fallback);
	say(server, "SSH-2.0", 7);
	assert_int_equal(fixture_message(fixture), PROXY_PROVED);
	expect_end(server);
	close(server);
}

/* A queue that is full is the sign of a server. */
static void is_proved_by_a_socket_of_this_host(void **state)
{
	struct fixture *fixture = *state;

	fixture_use_unix_fallback(fixture, 0);
	fixture_start(fixture);
	assert_int_equal(prove(fixture), PROXY_PROVED);
	assert_int_equal(prove(fixture), PROXY_PROVED);
	close(fixture->fallback);
	assert_int_equal(prove(fixture), PROXY_NOT_PROVED);
	assert_int_equal(why_not(fixture), -ECONNREFUSED);
}

static void visitors_have_sources_of_their_own(void **state)
{
	struct fixture *fixture = *state;
	in_addr_t source;
	int client, server;

	fixture->config.own_sources = true;
	fixture_start(fixture);
	assert_int_equal(prove(fixture), PROXY_PROVED);
	server = take_visitor(fixture->fallback);
	source = source_of(server);
	close(server);
	assert_int_equal(source >> 24, IN_LOOPBACKNET);
	assert_int_not_equal(source, INADDR_LOOPBACK);
	/* Of both families, each always the same. */
	for (int i = 0; i < 2; i++) {
		client = visit(fixture);
		server = greet(fixture->fallback, client, browser_hello());
		if (i)
			assert_int_equal(source_of(server), source);
		source = source_of(server);
		assert_int_not_equal(source, INADDR_LOOPBACK);
		close(client);
		close(server);
	}
	client = try_to_visit(fixture, AF_INET6);
	server = greet(fixture->fallback, client, browser_hello());
	assert_int_not_equal(source_of(server), source);
	close(client);
	close(server);
	/* The responder's peer is no visitor. */
	client = visit(fixture);
	server = greet(fixture->alpn, client, acme_hello());
	assert_int_equal(source_of(server), INADDR_LOOPBACK);
	close(client);
	close(server);
}

static void expect_doubt(void **state)
{
	struct fixture *fixture = *state;

	assert_int_equal(fixture_message(fixture), PROXY_DOUBT);
}

static void tells_of_a_visitor_who_is_refused(void **state)
{
	struct fixture *fixture = *state;
	int client;

	lead_to(fixture, fixture_refusing_port());
	fixture_start(fixture);
	/* Once, until it is asked. */
	for (int i = 0; i < 3; i++) {
		client = visit(fixture);
		say(client, browser_hello()->bytes, browser_hello()->length);
		expect_reset(client);
		close(client);
	}
	expect_doubt(state);
	assert_int_equal(prove(fixture), PROXY_NOT_PROVED);
	client = visit(fixture);
	say(client, browser_hello()->bytes, browser_hello()->length);
	expect_reset(client);
	close(client);
	expect_doubt(state);
}

static void tells_of_a_visitor_who_waits(void **state)
{
	struct fixture *fixture = *state;
	int deaf = fixture_listen(AF_INET, 0, 0);
	int fillers[2];
	int client;

	lead_to(fixture, fixture_port(deaf));
	fill_backlog(fixture_port(deaf), fillers);
	fixture_start(fixture);
	client = visit(fixture);
	say(client, browser_hello()->bytes, browser_hello()->length);
	expect_doubt(state);
	close(client);
	close(fillers[0]);
	close(fillers[1]);
	close(deaf);
}

static void tells_of_a_visitor_who_is_reset(void **state)
{
	struct fixture *fixture = *state;
	int client;

	fixture_start(fixture);
	client = visit(fixture);
	reset(greet(fixture->fallback, client, browser_hello()));
	expect_reset(client);
	close(client);
	expect_doubt(state);
	assert_int_equal(fixture_counter(fixture, fallback_resets), 1);
}

static void gives_the_lease_up_before_it_is_full(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed[7];

	fixture->config.max_connections = 8;
	fixture_start(fixture);
	for (size_t i = 0; i < 6; i++)
		relayed[i] = relay(fixture);
	assert_true(fixture->shared->lease > monotonic_ns());
	relayed[6] = relay(fixture);
	for (int i = 0; i < 200 && fixture->shared->lease; i++)
		usleep(5000);
	assert_int_equal(fixture->shared->lease, 0);
	/* Nor does it renew it. */
	usleep(700000);
	assert_int_equal(fixture->shared->lease, 0);
	for (size_t i = 0; i < ARRAY_SIZE(relayed); i++)
		close_both(relayed[i]);
	for (int i = 0; i < 200 && !fixture->shared->lease; i++)
		usleep(5000);
	assert_true(fixture->shared->lease > monotonic_ns());
}

#define proof_test(name) \
	cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		proof_test(is_proved_by_who_keeps_the_connection),
		proof_test(is_not_proved_by_who_refuses),
		proof_test(one_address_that_accepts_is_enough),
		proof_test(is_not_proved_by_silence),
		proof_test(is_not_proved_by_who_accepts_and_leaves),
		proof_test(is_proved_by_who_speaks_first),
		proof_test(is_proved_by_a_socket_of_this_host),
		proof_test(visitors_have_sources_of_their_own),
		proof_test(tells_of_a_visitor_who_is_refused),
		proof_test(tells_of_a_visitor_who_waits),
		proof_test(tells_of_a_visitor_who_is_reset),
		proof_test(gives_the_lease_up_before_it_is_full),
	};

	fixture_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
