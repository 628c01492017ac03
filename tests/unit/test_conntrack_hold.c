// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "redirect/iptables/conntrack_hold.h"

static void test_owner_lives_as_long_as_the_hold(void **state)
{
	struct conntrack_hold hold;

	(void)state;
	assert_int_equal(conntrack_hold_open(&hold), 0);
	assert_int_equal(conntrack_hold_state(hold.name), CONNTRACK_HOLD_OWNED);
	conntrack_hold_close(&hold);
	assert_int_equal(conntrack_hold_state(hold.name),
			 CONNTRACK_HOLD_ABANDONED);
	conntrack_hold_close(&hold);
}

static void test_names_differ_and_tell_the_pid(void **state)
{
	struct conntrack_hold one, other;
	char prefix[64];

	(void)state;
	snprintf(prefix, sizeof(prefix), "acme-alpn-proxy hold %ld-",
		 (long)getpid());
	assert_int_equal(conntrack_hold_open(&one), 0);
	assert_int_equal(conntrack_hold_open(&other), 0);
	assert_string_not_equal(one.name, other.name);
	assert_memory_equal(one.name, prefix, strlen(prefix));
	conntrack_hold_close(&one);
	assert_int_equal(conntrack_hold_state(other.name),
			 CONNTRACK_HOLD_OWNED);
	conntrack_hold_close(&other);
}

/* The name is the last of the rule's words, and one word. */
static void test_rule_carries_the_name(void **state)
{
	struct conntrack_hold hold;

	(void)state;
	assert_int_equal(conntrack_hold_open(&hold), 0);
	assert_string_equal(hold.rule.words[hold.rule.count - 1], hold.name);
	conntrack_hold_close(&hold);
}

/* In a worker: keep its socket alone until @leave has an end of file. */
__attribute__((noreturn)) static void play_worker(struct conntrack_hold *hold,
						  int ready, int leave)
{
	char byte = 0;

	close_fd_at(&hold->supervisor_socket);
	if (write(ready, &byte, 1) == 1 && read(leave, &byte, 1) == 0)
		_exit(0);
	_exit(1);
}

/* In a supervisor: tell the name, leave a worker behind, and die. */
__attribute__((noreturn)) static void play_supervisor(int ready, int leave)
{
	struct conntrack_hold hold;

	if (conntrack_hold_open(&hold) ||
	    write(ready, hold.name, sizeof(hold.name)) < 0)
		_exit(1);
	if (fork() == 0)
		play_worker(&hold, ready, leave);
	_exit(0);
}

static void test_orphaned_worker(void **state)
{
	char name[CONNTRACK_HOLD_NAME_SIZE];
	int ready[2], leave[2];
	pid_t supervisor;
	char byte;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(leave), 0);
	supervisor = fork();
	if (supervisor == 0) {
		close(leave[1]);
		play_supervisor(ready[1], leave[0]);
	}
	assert_int_equal(read(ready[0], name, sizeof(name)), sizeof(name));
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(waitpid(supervisor, NULL, 0), supervisor);
	assert_int_equal(conntrack_hold_state(name), CONNTRACK_HOLD_ORPHANED);

	close(leave[1]);
	assert_int_equal(conntrack_hold_wait(name), 0);
	assert_int_equal(conntrack_hold_state(name), CONNTRACK_HOLD_ABANDONED);
	/* Nobody left to wait for. */
	assert_int_equal(conntrack_hold_wait(name), 0);
	close(leave[0]);
	close(ready[0]);
	close(ready[1]);
}

static void test_one_sweeper_alone(void **state)
{
	char name[CONNTRACK_HOLD_NAME_SIZE];
	cleanup_fd int claim = -1;

	(void)state;
	snprintf(name, sizeof(name), "unit test %ld", (long)getpid());
	claim = conntrack_hold_claim(name);
	assert_true(claim >= 0);
	assert_int_equal(conntrack_hold_claim(name), -EADDRINUSE);
	close_fd_at(&claim);
	claim = conntrack_hold_claim(name);
	assert_true(claim >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owner_lives_as_long_as_the_hold),
		cmocka_unit_test(test_names_differ_and_tell_the_pid),
		cmocka_unit_test(test_rule_carries_the_name),
		cmocka_unit_test(test_orphaned_worker),
		cmocka_unit_test(test_one_sweeper_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
