// SPDX-License-Identifier: MIT
/* The list is read in a network namespace of this test's own, as root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/netlink.h"
#include "redirect/bpf/interfaces.h"

static const struct interface ethernet = { .ifindex = 2, .name = "eth0" };

static void test_what_fits(void **state)
{
	struct interface loopback = { .name = "lo", .loopback = true };
	struct interface bridge_port = { .name = "veth1",
					 .master = 3,
					 .master_kind = "bridge" };
	struct interface vrf_port = { .name = "eth1",
				      .master = 4,
				      .master_kind = "vrf" };
	/* A master without a kind: the virtual function of a Hyper-V NIC. */
	struct interface virtual_function = { .name = "eth2", .master = 5 };

	(void)state;
	assert_null(interface_objection(&ethernet, NULL, 0));
	assert_string_equal(interface_objection(&loopback, NULL, 0),
			    "loopback");
	assert_string_equal(
		interface_objection(&bridge_port, NULL, 0),
		"a port of another interface, which sees its packets");
	assert_null(interface_objection(&vrf_port, NULL, 0));
	assert_string_equal(
		interface_objection(&virtual_function, NULL, 0),
		"a port of another interface, which sees its packets");
}

static void test_patterns_narrow(void **state)
{
	static const char *const names[] = { "wlan0", "eth[0-9]" };
	static const char *const all[] = { "*" };
	struct interface tunnel = { .name = "tun0" };
	struct interface loopback = { .name = "lo", .loopback = true };

	(void)state;
	assert_null(interface_objection(&ethernet, names, ARRAY_SIZE(names)));
	assert_string_equal(
		interface_objection(&tunnel, names, ARRAY_SIZE(names)),
		"not named by --interface");
	/* They only narrow. */
	assert_string_equal(interface_objection(&loopback, all, 1), "loopback");
}

struct list {
	struct interface items[1024];
	size_t count;
};

/* One that a disturbed dump hands over twice is there once. */
static int note(const struct interface *interface, void *context)
{
	struct list *list = context;
	size_t i = 0;

	while (i < list->count && list->items[i].ifindex != interface->ifindex)
		i++;
	assert_true(i < ARRAY_SIZE(list->items));
	list->items[i] = *interface;
	list->count += i == list->count;
	return 0;
}

static const struct interface *find(const struct list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	}
	return NULL;
}

static void test_list(void **state)
{
	struct list list = { .count = 0 };

	(void)state;
	assert_int_equal(system("ip link add br0 type bridge; "
				"ip link add v0 type veth peer name v1; "
				"ip link set v0 master br0"),
			 0);
	assert_int_equal(interfaces_read(note, &list), 0);
	assert_true(find(&list, "lo")->loopback);
	assert_false(find(&list, "br0")->loopback);
	assert_int_equal(find(&list, "v0")->master,
			 find(&list, "br0")->ifindex);
	assert_string_equal(find(&list, "v0")->master_kind, "bridge");
	assert_int_equal(find(&list, "v1")->master, 0);
	assert_string_equal(find(&list, "v1")->master_kind, "");
	assert_int_equal(find(&list, "v1")->ifindex, if_nametoindex("v1"));
}

/* More than one datagram of them. */
static void test_long_list(void **state)
{
	struct list list = { .count = 0 };
	size_t before;

	(void)state;
	assert_int_equal(interfaces_read(note, &list), 0);
	before = list.count;
	assert_int_equal(system("for i in $(seq 100); do "
				"echo link add x$i type veth peer name y$i; "
				"done | ip -batch -"),
			 0);
	assert_int_equal(interfaces_read(note, &list), 0);
	assert_int_equal(list.count, before + 200);
}

static int refuse(const struct interface *interface, void *context)
{
	(void)interface;
	++*(int *)context;
	return -ENOSPC;
}

static void test_handler_ends_the_reading(void **state)
{
	int calls = 0;

	(void)state;
	assert_int_equal(interfaces_read(refuse, &calls), -ENOSPC);
	assert_int_equal(calls, 1);
}

/* Changes are told, also when so many come that some are lost. */
static void test_watch(void **state)
{
	static const unsigned int groups[] = { RTNLGRP_LINK };
	int fd = netlink_subscribe(NETLINK_ROUTE, groups, ARRAY_SIZE(groups));
	struct pollfd readable = { .fd = fd, .events = POLLIN };

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(netlink_drain(fd), 0);
	for (int round = 0; round < 2; round++) {
		const char *command =
			round ? "for i in $(seq 500); do "
				"echo link set lo mtu $((i+65000));"
				" done | ip -batch -"
			      : "ip link set lo mtu 65000";

		assert_int_equal(system(command), 0);
		assert_int_equal(poll(&readable, 1, 2000), 1);
		assert_int_equal(netlink_drain(fd), 1);
		assert_int_equal(netlink_drain(fd), 0);
	}
	close_fd_at(&fd);
}

static int set_up(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_fits),
		cmocka_unit_test(test_patterns_narrow),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_long_list),
		cmocka_unit_test(test_handler_ends_the_reading),
		cmocka_unit_test(test_watch),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
