// SPDX-License-Identifier: MIT
/* As root; all devices are in a network namespace of this test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "redirect/bpf/steering.h"
#include "redirect/bpf/program.h"
#include "redirect/bpf/tc.h"

#define INSTANCE 21443
#define OTHER	 21444
/* Of the first of them. */
#define ANOTHER TC_INSTANCE(INSTANCE, TC_NUMBERS - 1)

static unsigned int ifindex;
static struct program own_program;
static struct program other_program;
static int foreign_fd;

static void run(const char *command)
{
	assert_int_equal(system(command), 0);
}

/* What `tc` shows of @what must contain @text, or must not. */
static void assert_shown(const char *what, const char *text, bool shown)
{
	char command[256];

	snprintf(command, sizeof(command), "tc %s | grep -q '%s'", what, text);
	assert_int_equal(system(command) == 0, shown);
}

/* A filter of somebody else's, on a clsact that is there. */
static void add_filter(enum bpf_tc_attach_point direction, uint32_t priority,
		       uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = direction);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = foreign_fd,
		    .priority = priority, .handle = handle);

	assert_int_equal(bpf_tc_attach(&hook, &filter), 0);
}

static void assert_clsact(bool there)
{
	assert_shown("qdisc show dev v0", "clsact", there);
}

static void attach(struct tc_attachment *attachment, enum tc_way way,
		   const struct program *program, uint32_t instance)
{
	assert_int_equal(
		tc_attach(attachment, way, ifindex, program->fd, instance), 0);
	assert_true(tc_is_attached(attachment, program->id));
}

static void detach(struct tc_attachment *attachment,
		   const struct program *program)
{
	assert_int_equal(tc_detach(attachment), 0);
	assert_false(tc_is_attached(attachment, program->id));
}

static void test_handles(void **state)
{
	(void)state;
	for (uint32_t instance = 1; instance <= UINT16_MAX; instance += 37) {
		const uint16_t port = (uint16_t)instance;

		for (int made = 0; made < 2; made++) {
			const uint32_t handle = tc_handle(port, made);

			assert_true(handle != 0);
			assert_true(tc_handle_is_of(handle, port));
			assert_false(tc_handle_is_of(handle, port ^ 1));
			assert_false(
				tc_handle_is_of(handle, TC_INSTANCE(port, 1)));
			assert_int_equal(tc_handle_made_clsact(handle), made);
		}
	}
	/* What `tc` and others choose is nobody of ours. */
	assert_false(tc_handle_is_of(1, 1));
	assert_false(tc_handle_is_of(0x80000800, 0x800));
	assert_false(tc_handle_made_clsact(0x80010800));
}

static void test_clsact_is_made_and_removed(void **state)
{
	struct tc_attachment attachment;

	(void)state;
	attach(&attachment, TC_CLSACT, &own_program, INSTANCE);
	assert_clsact(true);
	detach(&attachment, &own_program);
	assert_clsact(false);
}

static void test_clsact_of_others_stays(void **state)
{
	struct tc_attachment attachment;

	(void)state;
	run("tc qdisc add dev v0 clsact");
	attach(&attachment, TC_CLSACT, &own_program, INSTANCE);
	detach(&attachment, &own_program);
	assert_clsact(true);
	run("tc qdisc del dev v0 clsact");
}

/* Ours, but somebody uses it by now, in either direction. */
static void test_clsact_in_use_stays(void **state)
{
	struct tc_attachment attachment;

	(void)state;
	attach(&attachment, TC_CLSACT, &own_program, INSTANCE);
	add_filter(BPF_TC_INGRESS, 1, 1);
	detach(&attachment, &own_program);
	assert_clsact(true);
	assert_shown("filter show dev v0 ingress", "foreign", true);
	run("tc qdisc del dev v0 clsact");

	attach(&attachment, TC_CLSACT, &own_program, INSTANCE);
	add_filter(BPF_TC_EGRESS, 1, 1);
	detach(&attachment, &own_program);
	assert_clsact(true);
	assert_shown("filter show dev v0 egress", "foreign", true);
	run("tc qdisc del dev v0 clsact");
}

/* The last one of ours removes what the first one of ours made, be it of
 * another instance or not. */
static void test_two_filters(void **state)
{
	static const uint32_t others[] = { OTHER, ANOTHER };
	struct tc_attachment first;
	struct tc_attachment second;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		attach(&first, TC_CLSACT, &own_program, INSTANCE);
		attach(&second, TC_CLSACT, &other_program, others[i]);
		assert_true(tc_is_attached(&first, own_program.id));
		detach(&first, &own_program);
		assert_true(tc_is_attached(&second, other_program.id));
		assert_clsact(true);
		detach(&second, &other_program);
		assert_clsact(false);
	}
}

/* A killed instance leaves its filter; the next one takes its place. */
static void test_leftover_is_replaced(void **state)
{
	struct tc_attachment killed;
	struct tc_attachment attachment;

	(void)state;
	attach(&killed, TC_CLSACT, &other_program, INSTANCE);
	attach(&attachment, TC_CLSACT, &own_program, INSTANCE);
	assert_false(tc_is_attached(&killed, other_program.id));
	detach(&attachment, &own_program);
	assert_clsact(false);
}

static void test_leftovers_are_removed(void **state)
{
	struct tc_attachment killed;
	struct tc_attachment another;

	(void)state;
	assert_int_equal(tc_remove_leftovers(ifindex, INSTANCE), 0);
	attach(&killed, TC_CLSACT, &own_program, INSTANCE);
	assert_int_equal(tc_remove_leftovers(ifindex, OTHER), 0);
	assert_true(tc_is_attached(&killed, own_program.id));
	attach(&another, TC_CLSACT, &other_program, ANOTHER);
	assert_int_equal(tc_remove_leftovers(ifindex, INSTANCE), 2);
	assert_clsact(false);
	assert_int_equal(tc_remove_leftovers(ifindex, INSTANCE), 0);
	assert_int_equal(tc_remove_leftovers(~0U, INSTANCE), 0);
}

/* Same priority, same handle, but not our program: not ours. */
static void test_filter_of_others_is_no_leftover(void **state)
{
	(void)state;
	run("tc qdisc add dev v0 clsact");
	add_filter(BPF_TC_INGRESS, 443, tc_handle(INSTANCE, true));
	assert_int_equal(tc_remove_leftovers(ifindex, INSTANCE), 0);
	assert_shown("filter show dev v0 ingress", "foreign", true);
	run("tc qdisc del dev v0 clsact");
}

static void test_filter_ahead_is_told(void **state)
{
	struct tc_attachment attachment;
	char text[80];

	(void)state;
	attach(&attachment, TC_CLSACT, &own_program, INSTANCE);
	assert_false(
		tc_is_behind(&attachment, own_program.id, text, sizeof(text)));
	add_filter(BPF_TC_INGRESS, 500, 1);
	assert_false(
		tc_is_behind(&attachment, own_program.id, text, sizeof(text)));
	add_filter(BPF_TC_INGRESS, 7, 1);
	assert_true(
		tc_is_behind(&attachment, own_program.id, text, sizeof(text)));
	assert_non_null(strstr(text, "foreign"));
	assert_non_null(strstr(text, "pref 7"));
	run("tc qdisc del dev v0 clsact");
	/* Somebody took it all away: no error. */
	detach(&attachment, &own_program);
}

static void test_tcx(void **state)
{
	struct tc_attachment attachment;
	struct tc_attachment other;
	struct tc_attachment foreign;
	char text[80];

	(void)state;
	if (tc_best_way() != TC_TCX)
		skip();
	attach(&other, TC_TCX, &other_program, OTHER);
	attach(&attachment, TC_TCX, &own_program, INSTANCE);
	/* Whoever comes is first, but one of ours is in nobody's way. */
	assert_false(
		tc_is_behind(&attachment, own_program.id, text, sizeof(text)));
	assert_false(
		tc_is_behind(&other, other_program.id, text, sizeof(text)));
	assert_int_equal(tc_attach(&foreign, TC_TCX, ifindex, foreign_fd, 0),
			 0);
	assert_true(tc_is_behind(&other, other_program.id, text, sizeof(text)));
	assert_non_null(strstr(text, "foreign"));
	assert_int_equal(tc_detach(&foreign), 0);
	detach(&attachment, &own_program);
	assert_true(tc_is_attached(&other, other_program.id));
	detach(&other, &other_program);
	assert_clsact(false);
}

static void test_vanished_interface(void **state)
{
	static const enum tc_way ways[] = { TC_TCX, TC_CLSACT };
	struct tc_attachment attachment;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (ways[i] == TC_TCX && tc_best_way() != TC_TCX)
			continue;
		run("ip link add gone type veth peer name peer");
		ifindex = if_nametoindex("gone");
		attach(&attachment, ways[i], &own_program, INSTANCE);
		run("ip link del gone");
		assert_false(tc_is_attached(&attachment, own_program.id));
		assert_int_equal(tc_detach(&attachment), 0);
		assert_int_equal(tc_attach(&attachment, ways[i], ifindex,
					   own_program.fd, INSTANCE),
				 -ENODEV);
	}
	ifindex = if_nametoindex("v0");
}

static int set_up(void **state)
{
	/* return TC_ACT_UNSPEC; */
	static const struct bpf_insn foreign[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = -1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	libbpf_set_print(NULL);
	run("ip link add v0 type veth peer name v1");
	ifindex = if_nametoindex("v0");
	program_raise_memlock();
	assert_int_equal(steering_load(&own_program, 0), 0);
	assert_int_equal(steering_load(&other_program, 0), 0);
	foreign_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign", "MIT",
				   foreign, ARRAY_SIZE(foreign), NULL);
	assert_true(foreign_fd >= 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	program_unload(&own_program);
	program_unload(&other_program);
	close_fd_at(&foreign_fd);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handles),
		cmocka_unit_test(test_clsact_is_made_and_removed),
		cmocka_unit_test(test_clsact_of_others_stays),
		cmocka_unit_test(test_clsact_in_use_stays),
		cmocka_unit_test(test_two_filters),
		cmocka_unit_test(test_leftover_is_replaced),
		cmocka_unit_test(test_leftovers_are_removed),
		cmocka_unit_test(test_filter_of_others_is_no_leftover),
		cmocka_unit_test(test_filter_ahead_is_told),
		cmocka_unit_test(test_tcx),
		cmocka_unit_test(test_vanished_interface),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
