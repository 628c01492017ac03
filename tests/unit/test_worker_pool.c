// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/control.h"
#include "base/fd.h"
#include "base/log.h"
#include "supervisor/pool.h"

#define COUNT	    3
#define PATIENCE_MS 10000

/* A pool whose workers are children that only wait to be killed. */
struct fixture {
	struct worker_settings settings;
	struct worker_pool pool;
	/* Their ends of the sockets. */
	int ends[COUNT];
};

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	log_settings.fd = -1;
	alarm(60);
	if (worker_pool_open(&fixture->pool, COUNT, &fixture->settings))
		return -1;
	for (size_t i = 0; i < COUNT; i++) {
		struct worker *worker = &fixture->pool.members[i].worker;
		int ends[2];

		assert_int_equal(socketpair(AF_UNIX,
					    SOCK_SEQPACKET | SOCK_NONBLOCK, 0,
					    ends),
				 0);
		worker->control_fd = ends[0];
		fixture->ends[i] = ends[1];
		worker->pid = fork();
		if (worker->pid == 0) {
			close_range(STDERR_FILENO + 1, ~0U, 0);
			pause();
			_exit(0);
		}
	}
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	worker_pool_close(&fixture->pool);
	for (size_t i = 0; i < COUNT; i++)
		close_fd_at(&fixture->ends[i]);
	free(fixture);
	alarm(0);
	return 0;
}

static void say(const struct fixture *fixture, size_t index,
		enum proxy_message message)
{
	const char byte = (char)message;

	assert_int_equal(send(fixture->ends[index], &byte, 1, 0), 1);
}

static int heard(const struct fixture *fixture, size_t index)
{
	char byte;

	return recv(fixture->ends[index], &byte, 1, MSG_DONTWAIT) == 1 ? byte
								       : 0;
}

static void die(struct fixture *fixture, size_t index)
{
	kill(fixture->pool.members[index].worker.pid, SIGKILL);
	close_fd_at(&fixture->ends[index]);
}

static void beat(struct fixture *fixture, size_t index, uint64_t age_ns)
{
	atomic_store(&fixture->pool.members[index].counters->heartbeat_ns,
		     monotonic_ns() - age_ns);
}

static void shares_out_every_connection(void **state)
{
	(void)state;
	for (unsigned int count = 1; count <= WORKER_POOL_MAXIMUM; count++) {
		for (unsigned int total = count; total < 300; total++) {
			unsigned int sum = 0;

			for (unsigned int i = 0; i < count; i++) {
				unsigned int share =
					worker_pool_share(total, count, i);

				assert_in_range(share, total / count,
						total / count + 1);
				sum += share;
			}
			assert_int_equal(sum, total);
		}
	}
}

static void sums_up_the_counters(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	for (unsigned int i = 0; i < COUNT; i++) {
		struct proxy_counters *counters = pool->members[i].counters;

		atomic_store(&counters->accepted, 1u << i);
		atomic_store(&counters->accept_pauses, 10u);
		atomic_store(&counters->confinement, 1u << i | 16u);
	}
	assert_int_equal(worker_pool_totals(pool).accepted, 7);
	assert_int_equal(worker_pool_totals(pool).accept_pauses, 30);
	assert_int_equal(worker_pool_totals(pool).resets, 0);
	assert_int_equal(worker_pool_confinement(pool), 16);
}

static void tells_the_last_challenges_of_all(void **state)
{
	struct fixture *fixture = *state;
	struct challenge newest[CHALLENGES_KEPT] = { 0 };
	struct challenge challenge = { 0 };

	worker_pool_challenges(&fixture->pool, newest);
	assert_int_equal(newest[0].taken_ns, 0);
	/* Each worker fills a place or two of its own. */
	for (unsigned int i = 0; i < 2 * COUNT; i++) {
		snprintf(challenge.server_name, sizeof(challenge.server_name),
			 "%u", i);
		challenge_write(&fixture->pool.members[i % COUNT]
					 .counters->challenges[i / COUNT],
				&challenge);
	}
	worker_pool_challenges(&fixture->pool, newest);
	for (unsigned int i = 0; i < 2 * COUNT; i++)
		assert_int_equal(atoi(newest[i].server_name),
				 2 * COUNT - 1 - i);
	assert_int_equal(newest[2 * COUNT].taken_ns, 0);
	for (unsigned int i = 0; i < CHALLENGES_KEPT; i++) {
		memset(challenge.server_name, 'x', DOMAIN_NAME_MAX + 1);
		memset(challenge.client, 'y', sizeof(challenge.client));
		challenge_write(
			&fixture->pool.members[1].counters->challenges[i],
			&challenge);
	}
	memset(newest, 0, sizeof(newest));
	worker_pool_challenges(&fixture->pool, newest);
	/* Whatever a worker writes there, texts have an end. */
	for (unsigned int i = 0; i < CHALLENGES_KEPT; i++) {
		assert_int_equal(strlen(newest[i].server_name),
				 DOMAIN_NAME_MAX);
		assert_int_equal(strlen(newest[i].client),
				 sizeof(challenge.client) - 1);
	}
}

static void takes_in_who_died(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	assert_int_equal(worker_pool_receive(pool, 0), 0);
	atomic_store(&pool->members[1].counters->open_connections, 5u);
	atomic_store(&pool->members[1].counters->accepted, 9u);
	die(fixture, 1);
	assert_int_equal(worker_pool_receive(pool, PATIENCE_MS), 1);
	assert_int_equal(worker_pool_running(pool), 2);
	assert_int_equal(pool->members[1].worker.pid, 0);
	assert_int_equal(worker_pool_totals(pool).open_connections, 0);
	assert_int_equal(worker_pool_totals(pool).accepted, 9);
	assert_int_equal(worker_pool_receive(pool, 0), 0);
}

static void counts_only_those_that_turn_as_well(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	beat(fixture, 0, 0);
	beat(fixture, 1, 3 * NS_PER_S);
	beat(fixture, 2, 0);
	assert_int_equal(worker_pool_running(pool), 3);
	assert_int_equal(worker_pool_well(pool), 2);
	die(fixture, 2);
	worker_pool_receive(pool, PATIENCE_MS);
	assert_int_equal(worker_pool_well(pool), 1);
}

static void kills_the_one_that_hangs(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	beat(fixture, 0, 0);
	beat(fixture, 1, 11 * NS_PER_S);
	beat(fixture, 2, 9 * NS_PER_S);
	/* The watchdog slept: whoever stopped it stopped them as well. */
	worker_pool_kill_hung(pool);
	pool->watching_since_ns -= 11 * NS_PER_S;
	/* Only just started. */
	pool->members[1].started_ns = monotonic_ns();
	worker_pool_kill_hung(pool);
	assert_int_equal(kill(pool->members[1].worker.pid, 0), 0);
	assert_int_equal(worker_pool_receive(pool, 0), 0);

	pool->members[1].started_ns = 0;
	worker_pool_kill_hung(pool);
	assert_int_equal(worker_reap(&pool->members[1].worker), SIGKILL);
	assert_int_equal(worker_pool_running(pool), 2);
}

static void gives_up_when_all_are_given_up(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	for (size_t i = 0; i < COUNT; i++)
		die(fixture, i);
	while (worker_pool_running(pool))
		worker_pool_receive(pool, PATIENCE_MS);
	/* Nobody is due yet. */
	pool->retry_ns = UINT64_MAX;
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(worker_pool_replace(pool), 0);
		pool->members[i].given_up = true;
	}
	assert_int_equal(worker_pool_replace(pool), -ECHILD);
	pool->must_serve = true;
	assert_int_equal(worker_pool_replace(pool), 0);
}

/* Nor keeps us reading for as long as it talks. */
static void hears_no_end_before_it_is_told(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;
	struct pollfd fds[COUNT];

	say(fixture, 0, PROXY_LISTENERS_CLOSED);
	say(fixture, 0, PROXY_READY);
	assert_int_equal(worker_pool_receive(pool, PATIENCE_MS), 0);
	worker_pool_watch_fds(pool, fds);
	assert_int_equal(poll(fds, COUNT, 0), 1);
	assert_int_equal(worker_pool_receive(pool, PATIENCE_MS), 0);
	assert_int_equal(worker_pool_drain(pool, false), COUNT);
	assert_int_equal(heard(fixture, 0), PROXY_DRAIN);
}

static void drains_until_nobody_listens(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	assert_int_equal(worker_pool_drain(pool, false), 3);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(heard(fixture, i), PROXY_DRAIN);
	assert_int_equal(worker_pool_drain(pool, true), 3);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(heard(fixture, i), PROXY_CLOSE);
	say(fixture, 0, PROXY_LISTENERS_CLOSED);
	assert_int_equal(worker_pool_receive(pool, PATIENCE_MS), 0);
	assert_int_equal(worker_pool_drain(pool, true), 2);
	die(fixture, 1);
	assert_int_equal(worker_pool_receive(pool, PATIENCE_MS), 1);
	assert_int_equal(worker_pool_drain(pool, true), 1);
	say(fixture, 2, PROXY_LISTENERS_CLOSED);
	worker_pool_receive(pool, PATIENCE_MS);
	assert_int_equal(worker_pool_drain(pool, true), 0);
	/* Said once. */
	assert_int_equal(heard(fixture, 2), 0);

	worker_pool_terminate(pool);
	assert_int_equal(heard(fixture, 0), PROXY_TERMINATE);
	assert_int_equal(heard(fixture, 2), PROXY_TERMINATE);
}

/* The socket that member @index has been handed is the other end of @end. */
static void expect_taken(const struct fixture *fixture, size_t index, int end)
{
	cleanup_fd int fd = -1;
	char byte;

	assert_int_equal(control_receive(fixture->ends[index], &fd),
			 PROXY_TAKE);
	assert_int_equal(write(end, "x", 1), 1);
	assert_int_equal(read(fd, &byte, 1), 1);
}

static void hands_sockets_to_each_in_turn(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	/* None has made a turn yet. */
	assert_int_equal(worker_pool_hand_over(pool, pair[0]), -ECHILD);
	for (size_t i = 0; i < COUNT; i++)
		beat(fixture, i, 0);
	beat(fixture, 1, 3 * NS_PER_S);
	for (int i = 0; i < 4; i++)
		assert_int_equal(worker_pool_hand_over(pool, pair[0]), 0);
	for (int i = 0; i < 2; i++) {
		expect_taken(fixture, 0, pair[1]);
		expect_taken(fixture, 2, pair[1]);
	}
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(heard(fixture, i), 0);
	/* One that drains has still a while to live. */
	worker_pool_drain(pool, false);
	assert_int_equal(heard(fixture, 0), PROXY_DRAIN);
	assert_int_equal(heard(fixture, 2), PROXY_DRAIN);
	die(fixture, 0);
	worker_pool_receive(pool, PATIENCE_MS);
	assert_int_equal(worker_pool_hand_over(pool, pair[0]), 0);
	expect_taken(fixture, 2, pair[1]);
	say(fixture, 2, PROXY_LISTENERS_CLOSED);
	worker_pool_receive(pool, PATIENCE_MS);
	assert_int_equal(worker_pool_hand_over(pool, pair[0]), -ECHILD);
	close(pair[0]);
	close(pair[1]);
}

static void hands_no_socket_to_the_full_while_another_has_room(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	for (size_t i = 0; i < COUNT; i++) {
		beat(fixture, i, 0);
		atomic_store(&pool->members[i].counters->full, i != 1);
	}
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(worker_pool_hand_over(pool, STDIN_FILENO), 0);
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(heard(fixture, 1), PROXY_TAKE);
		assert_int_equal(heard(fixture, i == 1 ? 0 : i), 0);
	}
	atomic_store(&pool->members[1].counters->full, true);
	assert_int_equal(worker_pool_hand_over(pool, STDIN_FILENO), 0);
	/* The next one is not. */
	die(fixture, 1);
	worker_pool_receive(pool, PATIENCE_MS);
	assert_false(atomic_load(&pool->members[1].counters->full));
}

static void counts_none_as_well_that_is_not_ready(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	/* As the one before it has left it. */
	beat(fixture, 0, 0);
	pool->members[0].starting = true;
	assert_int_equal(worker_pool_well(pool), 0);
	assert_int_equal(worker_pool_hand_over(pool, STDIN_FILENO), -ECHILD);
	say(fixture, 0, PROXY_READY);
	assert_int_equal(worker_pool_receive(pool, PATIENCE_MS), 0);
	assert_int_equal(worker_pool_well(pool), 1);
	assert_int_equal(worker_pool_hand_over(pool, STDIN_FILENO), 0);
}

static void kills_the_one_that_does_not_get_ready(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	pool->watched_ns = monotonic_ns();
	pool->members[0].starting = pool->members[1].starting = true;
	pool->members[0].started_ns = monotonic_ns() - 4 * NS_PER_S;
	pool->members[1].started_ns = monotonic_ns() - 6 * NS_PER_S;
	/* Of the one before it. */
	beat(fixture, 1, 0);
	worker_pool_kill_hung(pool);
	assert_int_equal(worker_pool_receive(pool, 0), 0);
	close_fd_at(&fixture->ends[1]);
	assert_int_equal(worker_pool_receive(pool, PATIENCE_MS), 1);
	assert_int_equal(pool->members[1].young_deaths, 1);
	assert_true(pool->retry_ns > monotonic_ns());
	assert_int_equal(worker_pool_running(pool), 2);
}

static void hands_no_socket_to_one_that_is_to_end(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;

	for (size_t i = 0; i < COUNT; i++)
		beat(fixture, i, 0);
	worker_pool_terminate(pool);
	assert_int_equal(worker_pool_hand_over(pool, STDIN_FILENO), -ECHILD);
}

/* Nor has anybody been told yet that they are dead. */
static void hands_no_socket_to_the_dead(void **state)
{
	struct fixture *fixture = *state;

	for (size_t i = 0; i < COUNT; i++) {
		siginfo_t unused;

		beat(fixture, i, 0);
		die(fixture, i);
		waitid(P_PID, (id_t)fixture->pool.members[i].worker.pid,
		       &unused, WEXITED | WNOWAIT);
	}
	assert_int_equal(worker_pool_hand_over(&fixture->pool, STDIN_FILENO),
			 -ECHILD);
}

/* Nobody reads what is sent. */
static void passes_over_one_whose_queue_is_full(void **state)
{
	struct fixture *fixture = *state;
	struct worker_pool *pool = &fixture->pool;
	int err = 0;
	int sent;

	for (size_t i = 0; i < COUNT; i++)
		beat(fixture, i, 0);
	while (control_send(pool->members[1].worker.control_fd, 'x', -1) == 0)
		continue;
	for (int i = 0; i < 4; i++)
		assert_int_equal(worker_pool_hand_over(pool, STDIN_FILENO), 0);
	assert_int_equal(heard(fixture, 0), PROXY_TAKE);
	assert_int_equal(heard(fixture, 2), PROXY_TAKE);
	for (sent = 0; !err; sent++)
		err = worker_pool_hand_over(pool, STDIN_FILENO);
	assert_true(sent > 4);
	assert_int_equal(err, -EAGAIN);
}

#define pool_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_out_every_connection),
		pool_test(sums_up_the_counters),
		pool_test(tells_the_last_challenges_of_all),
		pool_test(takes_in_who_died),
		pool_test(counts_only_those_that_turn_as_well),
		pool_test(kills_the_one_that_hangs),
		pool_test(gives_up_when_all_are_given_up),
		pool_test(hears_no_end_before_it_is_told),
		pool_test(drains_until_nobody_listens),
		pool_test(hands_sockets_to_each_in_turn),
		pool_test(hands_no_socket_to_the_full_while_another_has_room),
		pool_test(counts_none_as_well_that_is_not_ready),
		pool_test(kills_the_one_that_does_not_get_ready),
		pool_test(hands_no_socket_to_one_that_is_to_end),
		pool_test(hands_no_socket_to_the_dead),
		pool_test(passes_over_one_whose_queue_is_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
