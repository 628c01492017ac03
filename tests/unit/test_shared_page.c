// SPDX-License-Identifier: MIT
/*
 * The page that supervisor and worker share: one reads while the other writes.
 * Here they are threads, so that ThreadSanitizer sees both of them (`make
 * check-sanitizers`); nothing of the program itself has threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "proxy/challenges.h"
#include "tests/unit/proxy_fixture.h"

#define VISITS	   200
#define CHALLENGES 200000

static void *serve(void *argument)
{
	struct proxy_environment *environment = argument;

	return proxy_run(environment) == 0 ? environment : NULL;
}

/* As `status` and the watchdog do; between two system calls, since sockets
 * would bring reader and writer into an order. */
static void *watch(void *argument)
{
	const struct fixture *fixture = argument;
	const struct proxy_counters *counters = &fixture->shared->counters;
	uint64_t accepted = 0;

	while (accepted < VISITS) {
		accepted = atomic_load(&counters->accepted);
		if (accepted > VISITS ||
		    atomic_load(&counters->to_fallback) > VISITS ||
		    atomic_load(&counters->open_connections) > VISITS ||
		    atomic_load(&counters->bytes_from_clients) > VISITS)
			return NULL;
		atomic_load(&counters->heartbeat_ns);
	}
	return argument;
}

static void is_read_while_it_is_written(void **state)
{
	struct fixture *fixture = *state;
	struct proxy_environment environment = {
		.config = &fixture->config,
		.listeners = fixture->listeners,
		.counters = &fixture->shared->counters,
	};
	pthread_t worker, supervisor;
	void *result;
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	fixture->control_fd = ends[0];
	environment.control_fd = ends[1];
	log_settings.fd = -1;
	assert_int_equal(pthread_create(&worker, NULL, serve, &environment), 0);
	assert_int_equal(pthread_create(&supervisor, NULL, watch, fixture), 0);
	assert_int_equal(fixture_message(fixture), PROXY_READY);
	for (int i = 0; i < VISITS; i++) {
		int client = visit(fixture);
		int backend;

		say(client, "x", 1);
		backend = take_visitor(fixture->fallback);
		expect(backend, "x", 1);
		close(client);
		close(backend);
	}
	assert_int_equal(pthread_join(supervisor, &result), 0);
	assert_non_null(result);
	fixture_tell(fixture, PROXY_TERMINATE);
	assert_int_equal(pthread_join(worker, &result), 0);
	assert_non_null(result);
	close(ends[1]);
}

/* Those of one worker, each with one number for its client and its name. */
static void *write_challenges(void *argument)
{
	struct challenge_slot *slots = argument;
	struct challenge challenge = { 0 };

	for (unsigned int i = 1; i <= CHALLENGES; i++) {
		snprintf(challenge.client, sizeof(challenge.client), "%u", i);
		strcpy(challenge.server_name, challenge.client);
		challenge_write(&slots[i % CHALLENGES_KEPT], &challenge);
	}
	return NULL;
}

static void a_challenge_is_read_as_a_whole(void **state)
{
	static struct challenge_slot slots[CHALLENGES_KEPT];
	struct challenge newest[CHALLENGES_KEPT];
	pthread_t worker;

	(void)state;
	assert_int_equal(pthread_create(&worker, NULL, write_challenges, slots),
			 0);
	do {
		memset(newest, 0, sizeof(newest));
		challenges_collect(slots, newest);
		for (size_t i = 0; i < CHALLENGES_KEPT; i++)
			assert_string_equal(newest[i].client,
					    newest[i].server_name);
	} while (atoi(newest[0].client) < CHALLENGES);
	assert_int_equal(pthread_join(worker, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_read_while_it_is_written,
						fixture_setup,
						fixture_teardown),
		cmocka_unit_test(a_challenge_is_read_as_a_whole),
	};

	fixture_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
