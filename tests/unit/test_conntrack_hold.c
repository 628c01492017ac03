// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conntrack_hold.h"
#include "support.h"

static void test_owner_lives_as_long_as_the_hold(void **state)
{
	struct conntrack_hold hold;

	(void)state;
	assert_int_equal(conntrack_hold_open(&hold), 0);
	assert_true(conntrack_hold_has_owner(hold.name));
	conntrack_hold_close(&hold);
	assert_false(conntrack_hold_has_owner(hold.name));
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
	assert_true(conntrack_hold_has_owner(other.name));
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

/* A killed owner's name is free at once. */
static void test_death_of_the_owner(void **state)
{
	char name[CONNTRACK_HOLD_NAME_SIZE];
	int ready[2], leave[2];
	struct conntrack_hold hold;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(leave), 0);
	child = fork();
	if (child == 0) {
		close(leave[1]);
		if (conntrack_hold_open(&hold) == 0 &&
		    write(ready[1], hold.name, sizeof(name)) > 0 &&
		    read(leave[0], name, 1) == 0)
			_exit(0);
		_exit(1);
	}
	assert_int_equal(read(ready[0], name, sizeof(name)), sizeof(name));
	assert_true(conntrack_hold_has_owner(name));
	close(leave[0]);
	close(leave[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_false(conntrack_hold_has_owner(name));
	close(ready[0]);
	close(ready[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owner_lives_as_long_as_the_hold),
		cmocka_unit_test(test_names_differ_and_tell_the_pid),
		cmocka_unit_test(test_rule_carries_the_name),
		cmocka_unit_test(test_death_of_the_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
