// SPDX-License-Identifier: MIT
/* The kernel's routes and rules of a network namespace. As root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "redirect/bpf/routes.h"

#define TEXT_SIZE 4096

static void run(const char *command)
{
	assert_int_equal(system(command), 0);
}

/* Each on a line of its own in @context. */
static int note(const struct host_prefix *prefix, void *context)
{
	const struct in6_addr *bytes = (const void *)&prefix->address;
	const bool ipv4 = IN6_IS_ADDR_V4MAPPED(bytes);
	char address[INET6_ADDRSTRLEN];
	char *text = context;
	const size_t length = strlen(text);

	assert_non_null(inet_ntop(ipv4 ? AF_INET : AF_INET6,
				  &bytes->s6_addr[ipv4 ? 12 : 0], address,
				  sizeof(address)));
	snprintf(text + length, TEXT_SIZE - length, "%s/%u\n", address,
		 prefix->length - (ipv4 ? 96 : 0));
	return 0;
}

static void assert_listed(const char *prefix, bool wanted)
{
	char text[TEXT_SIZE] = "\n";
	char line[80];

	assert_int_equal(routes_list_local(note, text), 0);
	snprintf(line, sizeof(line), "\n%s\n", prefix);
	assert_int_equal(strstr(text, line) != NULL, wanted);
}

static void test_local_routes(void **state)
{
	static const char *const listed[] = {
		"192.0.2.1/32",	   "2001:db8::1/128", "203.0.113.0/24",
		"198.51.100.9/32", "2001:db8:7::/48", "127.0.0.0/8",
		"::1/128",
	};
	static const char *const others[] = {
		"192.0.2.0/24",	 "192.0.2.255/32", "10.0.0.0/8",
		"2001:db8::/64", "0.0.0.0/0",	   "::/0",
	};

	(void)state;
	run("ip address add 192.0.2.1/24 dev d0; "
	    "ip address add 2001:db8::1/64 dev d0 nodad; "
	    "ip route add local 203.0.113.0/24 dev lo; "
	    "ip route add local 198.51.100.9 dev lo table 7; "
	    "ip -6 route add local 2001:db8:7::/48 dev lo; "
	    "ip route add 10.0.0.0/8 via 192.0.2.9; "
	    /* A transparent proxy's. */
	    "ip route add local default dev lo table 8; "
	    "ip -6 route add local default dev lo table 8");
	for (size_t i = 0; i < ARRAY_SIZE(listed); i++)
		assert_listed(listed[i], true);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_listed(others[i], false);
	run("ip address del 192.0.2.1/24 dev d0");
	assert_listed("192.0.2.1/32", false);
}

static int refuse(const struct host_prefix *prefix, void *context)
{
	(void)prefix;
	(void)context;
	return -ENOSPC;
}

static void test_handler_ends_the_reading(void **state)
{
	(void)state;
	assert_int_equal(routes_list_local(refuse, NULL), -ENOSPC);
}

static void test_marks(void **state)
{
	static const char *const rules[] = {
		"fwmark 1 lookup 7",
		"fwmark 0/0x10 lookup 7",
		"not fwmark 0xca6c lookup 7",
	};
	char command[128];

	(void)state;
	run("ip rule add from 192.0.2.7 lookup 7");
	assert_int_equal(routes_depend_on_marks(), 0);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(rules); i++) {
		const char *family = i % 2 ? "-6" : "-4";

		snprintf(command, sizeof(command), "ip %s rule add %s", family,
			 rules[i / 2]);
		run(command);
		assert_int_equal(routes_depend_on_marks(), 1);
		snprintf(command, sizeof(command), "ip %s rule del %s", family,
			 rules[i / 2]);
		run(command);
		assert_int_equal(routes_depend_on_marks(), 0);
	}
}

static int set_up(void **state)
{
	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	run("ip link set lo up; ip link add d0 type veth peer name d1; "
	    "ip link set d0 up; ip link set d1 up");
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_local_routes),
		cmocka_unit_test(test_handler_ends_the_reading),
		cmocka_unit_test(test_marks),
	};

	return cmocka_run_group_tests_name("routes", tests, set_up, NULL);
}
