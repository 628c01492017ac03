// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "proxy/readiness.h"

/* More than any number of turns before parking. */
#define MANY_TURNS 200

struct bench {
	struct readiness readiness;
	/* Two ends of a connection. */
	int near;
	int far;
};

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	bench->near = ends[0];
	bench->far = ends[1];
	assert_int_equal(readiness_open(&bench->readiness, 4096), 0);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	readiness_close(&bench->readiness);
	close(bench->near);
	close(bench->far);
	free(bench);
	return 0;
}

/* One turn: the first ready descriptor, or -1. */
static int turn(struct bench *bench, unsigned int *events)
{
	assert_int_equal(readiness_wait(&bench->readiness, 0), 0);
	return readiness_next(&bench->readiness, events);
}

static void expect_nothing(struct bench *bench)
{
	unsigned int events;

	assert_int_equal(turn(bench, &events), -1);
}

static void expect_only(struct bench *bench, int fd, unsigned int wanted)
{
	unsigned int events;

	assert_int_equal(turn(bench, &events), fd);
	assert_int_equal(events, wanted);
	assert_int_equal(readiness_next(&bench->readiness, &events), -1);
}

static void grow_silent(struct bench *bench)
{
	for (int i = 0; i < MANY_TURNS; i++)
		expect_nothing(bench);
}

static void fill(int fd)
{
	char block[4096] = { 0 };

	while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		continue;
}

static void drain(int fd)
{
	char block[4096];

	while (recv(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		continue;
}

static void tells_what_is_watched_and_nothing_else(void **state)
{
	struct bench *bench = *state;
	struct readiness *readiness = &bench->readiness;

	expect_nothing(bench);
	readiness_watch(readiness, bench->near, READINESS_READ);
	expect_nothing(bench);
	send(bench->far, "x", 1, 0);
	expect_only(bench, bench->near, READINESS_READ);
	readiness_watch(readiness, bench->near,
			READINESS_READ | READINESS_WRITE);
	expect_only(bench, bench->near, READINESS_READ | READINESS_WRITE);
	readiness_watch(readiness, bench->near, READINESS_WRITE);
	expect_only(bench, bench->near, READINESS_WRITE);
	readiness_watch(readiness, bench->near, READINESS_HANGUP);
	expect_nothing(bench);
	readiness_watch(readiness, bench->near, 0);
	expect_nothing(bench);
}

static void tells_of_the_parked_too(void **state)
{
	struct bench *bench = *state;
	struct readiness *readiness = &bench->readiness;

	/* Again and again: a registration is used for more than one event. */
	readiness_watch(readiness, bench->near, READINESS_READ);
	for (int i = 0; i < 3; i++) {
		grow_silent(bench);
		assert_int_equal(readiness->read_wanted[bench->near / 64] &
					 1ul << bench->near % 64,
				 0);
		send(bench->far, "x", 1, 0);
		expect_only(bench, bench->near, READINESS_READ);
		/* Still there, and now hot. */
		expect_only(bench, bench->near, READINESS_READ);
		drain(bench->near);
	}

	fill(bench->near);
	readiness_watch(readiness, bench->near, READINESS_WRITE);
	grow_silent(bench);
	drain(bench->far);
	expect_only(bench, bench->near, READINESS_WRITE);
}

static void changes_its_mind_about_the_parked(void **state)
{
	struct bench *bench = *state;
	struct readiness *readiness = &bench->readiness;

	readiness_watch(readiness, bench->near, READINESS_READ);
	grow_silent(bench);
	readiness_watch(readiness, bench->near,
			READINESS_READ | READINESS_WRITE);
	expect_only(bench, bench->near, READINESS_WRITE);

	readiness_watch(readiness, bench->near, READINESS_READ);
	grow_silent(bench);
	readiness_watch(readiness, bench->near, 0);
	send(bench->far, "x", 1, 0);
	expect_nothing(bench);
	expect_nothing(bench);
	readiness_watch(readiness, bench->near, READINESS_READ);
	expect_only(bench, bench->near, READINESS_READ);
}

static void notices_that_a_parked_peer_is_gone(void **state)
{
	struct bench *bench = *state;
	static const unsigned int interests[] = { READINESS_HANGUP,
						  READINESS_READ,
						  READINESS_READ |
							  READINESS_HANGUP };

	for (size_t i = 0; i < ARRAY_SIZE(interests); i++) {
		int ends[2];

		assert_int_equal(socketpair(AF_UNIX,
					    SOCK_STREAM | SOCK_NONBLOCK, 0,
					    ends),
				 0);
		readiness_watch(&bench->readiness, ends[0], interests[i]);
		grow_silent(bench);
		close(ends[1]);
		expect_only(bench, ends[0], READINESS_READ);
		readiness_forget(&bench->readiness, ends[0]);
		close(ends[0]);
	}
}

/* Nothing else happens meanwhile that would make turns. */
static void notices_a_hang_up_soon_where_all_is_quiet(void **state)
{
	struct bench *bench = *state;
	unsigned int events;

	readiness_watch(&bench->readiness, bench->near, READINESS_HANGUP);
	expect_nothing(bench);
	expect_nothing(bench);
	close(bench->far);
	bench->far = -1;
	assert_int_equal(turn(bench, &events), bench->near);
}

static void does_not_park_the_pinned(void **state)
{
	struct bench *bench = *state;

	readiness_watch(&bench->readiness, bench->near,
			READINESS_READ | READINESS_PINNED);
	grow_silent(bench);
	assert_true(bench->readiness.read_wanted[bench->near / 64] &
		    1ul << bench->near % 64);
	send(bench->far, "x", 1, 0);
	expect_only(bench, bench->near, READINESS_READ);
}

/* A number that is closed and opened again in the middle of a turn. */
static void keeps_a_descriptor_apart_from_its_successor(void **state)
{
	struct bench *bench = *state;
	struct readiness *readiness = &bench->readiness;
	unsigned int events;
	int first[2], second[2];
	int successor;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, first), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, second), 0);
	readiness_watch(readiness, first[0], READINESS_READ);
	readiness_watch(readiness, second[0], READINESS_READ);
	send(first[1], "x", 1, 0);
	send(second[1], "x", 1, 0);
	assert_int_equal(turn(bench, &events), first[0]);

	readiness_forget(readiness, second[0]);
	close(second[0]);
	successor = dup(bench->near);
	assert_int_equal(successor, second[0]);
	readiness_watch(readiness, successor, READINESS_READ);
	assert_int_equal(readiness_next(readiness, &events), -1);

	/* Nor does it inherit a registration. */
	readiness_watch(readiness, first[0], 0);
	grow_silent(bench);
	send(bench->far, "x", 1, 0);
	expect_only(bench, successor, READINESS_READ);
	readiness_forget(readiness, successor);
	close(successor);
	close(first[0]);
	close(first[1]);
	close(second[1]);
}

static void has_no_ceiling_at_fd_setsize(void **state)
{
	struct bench *bench = *state;
	struct rlimit limit;
	int high;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
	setrlimit(RLIMIT_NOFILE, &limit);
	high = fcntl(bench->near, F_DUPFD, FD_SETSIZE * 2);
	assert_true(high >= FD_SETSIZE * 2);
	readiness_watch(&bench->readiness, high, READINESS_READ);
	expect_nothing(bench);
	send(bench->far, "x", 1, 0);
	expect_only(bench, high, READINESS_READ);
	drain(high);
	grow_silent(bench);
	send(bench->far, "x", 1, 0);
	expect_only(bench, high, READINESS_READ);
	readiness_forget(&bench->readiness, high);
	close(high);
}

static void waits_no_longer_than_told(void **state)
{
	struct bench *bench = *state;
	uint64_t before = monotonic_ns();

	assert_int_equal(readiness_wait(&bench->readiness, 20 * NS_PER_MS), 0);
	assert_true(monotonic_ns() - before >= 20 * NS_PER_MS);
}

#define readiness_test(test) \
	cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		readiness_test(tells_what_is_watched_and_nothing_else),
		readiness_test(tells_of_the_parked_too),
		readiness_test(changes_its_mind_about_the_parked),
		readiness_test(notices_that_a_parked_peer_is_gone),
		readiness_test(notices_a_hang_up_soon_where_all_is_quiet),
		readiness_test(does_not_park_the_pinned),
		readiness_test(keeps_a_descriptor_apart_from_its_successor),
		readiness_test(has_no_ceiling_at_fd_setsize),
		readiness_test(waits_no_longer_than_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
