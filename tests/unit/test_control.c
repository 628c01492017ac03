// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/control.h"

static int ends[2];

static int set_up(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
}

static int tear_down(void **state)
{
	(void)state;
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void passes_messages_in_order(void **state)
{
	int fd = 99;

	(void)state;
	assert_int_equal(control_receive(ends[1], &fd), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(control_send(ends[0], 'D', -1), 0);
	assert_int_equal(control_send(ends[0], 0xff, -1), 0);
	assert_int_equal(control_receive(ends[1], &fd), 'D');
	assert_int_equal(control_receive(ends[1], &fd), 0xff);
	assert_int_equal(fd, -1);
	assert_int_equal(control_receive(ends[1], &fd), 0);
}

static void passes_a_descriptor(void **state)
{
	char byte = 0;
	int pipe_fds[2];
	int fd = -1;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(control_send(ends[0], 'L', pipe_fds[1]), 0);
	close(pipe_fds[1]);
	assert_int_equal(control_receive(ends[1], &fd), 'L');
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	/* The one received was the last. */
	assert_int_equal(read(pipe_fds[0], &byte, 1), 0);
	close(pipe_fds[0]);
}

static void
a_message_comes_without_the_descriptor_there_is_no_room_for(void **state)
{
	struct rlimit before, none;
	int fd = 99;

	(void)state;
	assert_int_equal(control_send(ends[0], 'L', STDERR_FILENO), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(control_receive(ends[1], &fd), 'L');
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(fd, -1);
}

static void tells_that_the_other_end_is_gone(void **state)
{
	int fd;

	(void)state;
	close(ends[0]);
	assert_int_equal(control_receive(ends[1], &fd), -EPIPE);
	assert_int_equal(control_send(ends[1], 'D', -1), -EPIPE);
	/* For the teardown. */
	ends[0] = dup(ends[1]);
}

#define test(function) \
	cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(passes_messages_in_order),
		test(passes_a_descriptor),
		test(a_message_comes_without_the_descriptor_there_is_no_room_for),
		test(tells_that_the_other_end_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
