// SPDX-License-Identifier: MIT
/*
 * A proxy that comes late: stopped, starved of the processor, or in a machine
 * that was suspended, so that its clock has jumped when it goes on. What its
 * visitors have sent by then was in time.
 *
 * The proxy's clock and some of its system calls are the test's: the clock
 * moves only when the test says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/proxy_fixture.h"

/* Beyond every deadline of the proxy's. */
#define LATE_SECONDS 60
/* That the client of a server which has ended may say nothing. */
#define SILENCE_SECONDS 60
/* More than are woken by one call of epoll. */
#define CROWD 600

enum halt {
	HALT_NOWHERE,
	/* When select() has told what it saw. */
	HALT_BEHIND_SELECT,
	/* Instead of it, which then fails for want of memory. */
	HALT_IN_FAILED_SELECT,
	/* When a visitor has been accepted. */
	HALT_BEHIND_ACCEPT,
	/* When a backend has been asked for a connection. */
	HALT_BEHIND_CONNECT,
};

/* Shared with the proxy, which is a child. */
static struct {
	/* What its clock shows. */
	atomic_long seconds;
	/* Where it is to halt next; HALT_NOWHERE once it does. */
	atomic_int halt;
	atomic_bool halted;
} * late;

static void halt_at(enum halt where)
{
	int expected = (int)where;

	if (!atomic_compare_exchange_strong(&late->halt, &expected,
					    HALT_NOWHERE))
		return;
	atomic_store(&late->halted, true);
	while (atomic_load(&late->halted))
		usleep(1000);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_MONOTONIC || !late)
		return (int)syscall(SYS_clock_gettime, clock, now);
	*now = (struct timespec){ .tv_sec = atomic_load(&late->seconds) };
	return 0;
}

int select(int count, fd_set *readable, fd_set *writable, fd_set *failed,
	   struct timeval *timeout)
{
	struct timespec wait = {
		.tv_sec = timeout->tv_sec,
		.tv_nsec = timeout->tv_usec * 1000,
	};
	long result;

	if (atomic_load(&late->halt) == HALT_IN_FAILED_SELECT) {
		halt_at(HALT_IN_FAILED_SELECT);
		errno = ENOMEM;
		return -1;
	}
	result = syscall(SYS_pselect6, count, readable, writable, failed, &wait,
			 NULL);
	halt_at(HALT_BEHIND_SELECT);
	return (int)result;
}

int accept4(int listener, struct sockaddr *address, socklen_t *size, int flags)
{
	long fd = syscall(SYS_accept4, listener, address, size, flags);

	if (fd >= 0)
		halt_at(HALT_BEHIND_ACCEPT);
	return (int)fd;
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
	long result = syscall(SYS_connect, fd, address, size);
	int error = errno;

	halt_at(HALT_BEHIND_CONNECT);
	errno = error;
	return (int)result;
}

static int setup(void **state)
{
	late = mmap(NULL, sizeof(*late), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(late, MAP_FAILED);
	late->seconds = LATE_SECONDS;
	return fixture_setup(state);
}

static int teardown(void **state)
{
	int status = fixture_teardown(state);

	munmap(late, sizeof(*late));
	late = NULL;
	return status;
}

static void wait_halted(void)
{
	for (int waited = 0; waited < PATIENCE_MS; waited++) {
		if (atomic_load(&late->halted))
			return;
		usleep(1000);
	}
	fail_msg("the proxy did not come by");
}

static void go_on_late(void)
{
	atomic_fetch_add(&late->seconds, LATE_SECONDS);
	atomic_store(&late->halted, false);
}

static void let_seconds_pass(long seconds)
{
	atomic_fetch_add(&late->seconds, seconds);
}

static void expect_responder(const struct fixture *fixture, int client)
{
	const struct hello *hello = acme_hello();
	int server = take_visitor(fixture->alpn);

	expect(server, hello->bytes, hello->length);
	assert_int_equal(fixture_counter(fixture, hello_timeouts), 0);
	close(server);
	expect_end(client);
	close(client);
}

/* Start the proxy; it is halted, and its one visitor has said nothing yet. */
static int visit_until(struct fixture *fixture, enum halt halt)
{
	int client;

	fixture_start(fixture);
	client = visit(fixture);
	fixture_expect_counter(fixture, accepted, 1);
	atomic_store(&late->halt, halt);
	wait_halted();
	return client;
}

static void looks_again_before_a_deadline_strikes(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	int client = visit_until(fixture, HALT_BEHIND_SELECT);

	say(client, hello->bytes, hello->length);
	go_on_late();
	expect_responder(fixture, client);
}

static void strikes_nobody_that_it_could_not_look_at(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	int client = visit_until(fixture, HALT_IN_FAILED_SELECT);

	say(client, hello->bytes, hello->length);
	/* The next one is called when the time is over, and fails as well. */
	atomic_store(&late->halt, HALT_IN_FAILED_SELECT);
	go_on_late();
	wait_halted();
	go_on_late();
	expect_responder(fixture, client);
}

static void gives_all_the_time_from_accept_on(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	int client;

	fixture_start(fixture);
	atomic_store(&late->halt, HALT_BEHIND_ACCEPT);
	client = visit(fixture);
	wait_halted();
	go_on_late();
	let_turns_pass(fixture);
	say(client, hello->bytes, hello->length);
	expect_responder(fixture, client);
}

static void serves_all_that_spoke_while_it_was_stopped(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	static int clients[CROWD];

	raise_own_limit(4096);
	fixture_start(fixture);
	for (size_t i = 0; i < CROWD; i++)
		clients[i] = visit(fixture);
	fixture_expect_counter(fixture, accepted, CROWD);
	let_turns_pass(fixture);
	kill(fixture->pid, SIGSTOP);
	assert_int_equal(waitpid(fixture->pid, NULL, WUNTRACED), fixture->pid);
	for (size_t i = 0; i < CROWD; i++)
		say(clients[i], hello->bytes, hello->length);
	atomic_fetch_add(&late->seconds, LATE_SECONDS);
	kill(fixture->pid, SIGCONT);
	fixture_expect_counter(fixture, to_alpn, CROWD);
	assert_int_equal(fixture_counter(fixture, hello_timeouts), 0);
	for (size_t i = 0; i < CROWD; i++)
		close(clients[i]);
}

/* Late or not: in the end a silent one goes to the fallback. */
static void still_ends_the_wait_for_the_silent(void **state)
{
	struct fixture *fixture = *state;
	int client = visit_until(fixture, HALT_BEHIND_SELECT);
	int server;

	go_on_late();
	server = take_visitor(fixture->fallback);
	say(client, "late", 4);
	expect(server, "late", 4);
	assert_int_equal(fixture_counter(fixture, hello_timeouts), 1);
	close(client);
	close(server);
}

/* It has begun a hello, and then says nothing while its time passes. */
static int begin_hello(struct fixture *fixture)
{
	const struct hello *hello = acme_hello();
	int client;

	fixture->config.hello_timeout_ms = 3000;
	fixture_start(fixture);
	client = visit(fixture);
	say(client, hello->bytes, hello->length / 2);
	fixture_expect_counter(fixture, accepted, 1);
	for (int second = 0; second < 8; second++) {
		let_seconds_pass(1);
		let_turns_pass(fixture);
	}
	assert_int_equal(fixture_counter(fixture, hello_timeouts), 0);
	return client;
}

static void waits_longer_for_the_rest_of_a_hello(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	int client = begin_hello(fixture);

	say(client, hello->bytes + hello->length / 2,
	    hello->length - hello->length / 2);
	expect_responder(fixture, client);
}

static void ends_the_wait_for_the_rest_of_a_hello(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = acme_hello();
	int client = begin_hello(fixture);
	int server;

	let_seconds_pass(1);
	server = take_visitor(fixture->fallback);
	expect(server, hello->bytes, hello->length / 2);
	assert_int_equal(fixture_counter(fixture, hello_timeouts), 1);
	close(client);
	close(server);
}

/* Turns in which the fallback is not needed. */
static void let_a_challenge_pass(const struct fixture *fixture)
{
	const struct hello *hello = acme_hello();
	int client = visit(fixture);

	say(client, hello->bytes, hello->length);
	expect_responder(fixture, client);
}

static void gives_an_address_all_the_time_from_connect_on(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = browser_hello();
	struct deaf deaf = start_with_deaf_address(fixture);
	int client = visit(fixture);
	int server;

	fixture_expect_counter(fixture, accepted, 1);
	atomic_store(&late->halt, HALT_BEHIND_CONNECT);
	say(client, hello->bytes, hello->length);
	wait_halted();
	go_on_late();
	let_a_challenge_pass(fixture);
	assert_false(is_waiting(fixture->fallback, 0));
	atomic_fetch_add(&late->seconds, LATE_SECONDS);
	server = take_visitor(fixture->fallback);
	expect(server, hello->bytes, hello->length);
	close(client);
	close(server);
	close(deaf.listener);
	send_fillers_away(deaf);
}

/* The address is connected by the time that it was given up for. */
static void stays_with_a_backend_that_has_answered(void **state)
{
	struct fixture *fixture = *state;
	const struct hello *hello = browser_hello();
	struct deaf deaf = start_with_deaf_address(fixture);
	int client = visit(fixture);
	int server;

	say(client, hello->bytes, hello->length);
	fixture_expect_counter(fixture, to_fallback, 1);
	atomic_store(&late->halt, HALT_BEHIND_SELECT);
	wait_halted();
	send_fillers_away(deaf);
	while (is_waiting(deaf.listener, 0))
		close(take_visitor(deaf.listener));
	/* The SYN that it sends again. */
	server = take_visitor(deaf.listener);
	go_on_late();
	expect(server, hello->bytes, hello->length);
	assert_false(is_waiting(fixture->fallback, 0));
	close(client);
	close(server);
	close(deaf.listener);
}

/* A visit to a web server that ends it first: the client has been told. */
static struct relayed answered(const struct fixture *fixture)
{
	struct relayed relayed = relay(fixture);

	say(relayed.server, "bye", 3);
	shutdown(relayed.server, SHUT_WR);
	expect(relayed.client, "bye", 3);
	expect_end(relayed.client);
	return relayed;
}

static void frees_the_place_of_one_who_never_ends(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = answered(fixture);
	let_seconds_pass(SILENCE_SECONDS - 1);
	let_turns_pass(fixture);
	fixture_expect_counter(fixture, open_connections, 1);
	let_seconds_pass(1);
	fixture_expect_counter(fixture, open_connections, 0);
	expect_end(relayed.server);
	assert_int_equal(fixture_counter(fixture, resets), 0);
	close_both(relayed);
}

static void hears_all_that_one_says_to_a_half_closed_server(void **state)
{
	struct fixture *fixture = *state;
	struct relayed relayed;

	fixture_start(fixture);
	relayed = answered(fixture);
	for (int i = 0; i < 3; i++) {
		let_seconds_pass(SILENCE_SECONDS - 1);
		say(relayed.client, "more", 4);
		expect(relayed.server, "more", 4);
	}
	close_both(relayed);
	fixture_expect_counter(fixture, open_connections, 0);
}

/* The server has closed, and the answer is on its way for longer. */
static void lets_a_slow_reader_have_all(void **state)
{
	static uint8_t answer[40000];
	struct fixture *fixture = *state;
	const int small = 1;
	struct relayed relayed;

	memset(answer, 'a', sizeof(answer));
	fixture_start(fixture);
	relayed = relay(fixture);
	setsockopt(relayed.client, SOL_SOCKET, SO_RCVBUF, &small,
		   sizeof(small));
	say(relayed.server, answer, sizeof(answer));
	shutdown(relayed.server, SHUT_WR);
	fixture_expect_counter(fixture, bytes_to_clients, sizeof(answer));
	for (int i = 0; i < 2; i++) {
		let_seconds_pass(SILENCE_SECONDS);
		let_turns_pass(fixture);
	}
	expect(relayed.client, answer, sizeof(answer));
	expect_end(relayed.client);
	let_seconds_pass(SILENCE_SECONDS);
	fixture_expect_counter(fixture, open_connections, 0);
	close_both(relayed);
}

#define late_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		late_test(looks_again_before_a_deadline_strikes),
		late_test(strikes_nobody_that_it_could_not_look_at),
		late_test(gives_all_the_time_from_accept_on),
		late_test(serves_all_that_spoke_while_it_was_stopped),
		late_test(still_ends_the_wait_for_the_silent),
		late_test(waits_longer_for_the_rest_of_a_hello),
		late_test(ends_the_wait_for_the_rest_of_a_hello),
		late_test(gives_an_address_all_the_time_from_connect_on),
		late_test(stays_with_a_backend_that_has_answered),
		late_test(frees_the_place_of_one_who_never_ends),
		late_test(hears_all_that_one_says_to_a_half_closed_server),
		late_test(lets_a_slow_reader_have_all),
	};

	fixture_enter_namespace();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
