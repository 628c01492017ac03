// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/notify.h"

/* A service manager: listens at @address, and NOTIFY_SOCKET says so. */
static int listen_at(struct sockaddr_un *address, size_t name_length,
		     const char *name)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	address->sun_family = AF_UNIX;
	assert_int_equal(
		bind(fd, (const struct sockaddr *)address,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				 name_length)),
		0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

static void assert_next_is(int fd, const char *expected)
{
	char text[2048];
	ssize_t length = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	assert_true(length >= 0);
	text[length] = '\0';
	assert_string_equal(text, expected);
}

static void does_nothing_where_nobody_asks(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify("READY=1"), 0);
}

static void sends_one_datagram_to_a_path(void **state)
{
	struct sockaddr_un address = { 0 };
	char folder[] = "/tmp/test_notify.XXXXXX";
	cleanup_fd int fd = -1;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket",
		 folder);
	fd = listen_at(&address, strlen(address.sun_path) + 1,
		       address.sun_path);
	assert_int_equal(notify("READY=1\nSTATUS=port %u", 443), 1);
	assert_int_equal(notify("STOPPING=1"), 1);
	assert_next_is(fd, "READY=1\nSTATUS=port 443");
	assert_next_is(fd, "STOPPING=1");
	unlink(address.sun_path);
	rmdir(folder);
}

static void sends_to_an_abstract_name(void **state)
{
	struct sockaddr_un address = { 0 };
	char name[64];
	cleanup_fd int fd = -1;

	(void)state;
	snprintf(name, sizeof(name), "@test_notify %d", getpid());
	strcpy(address.sun_path + 1, name + 1);
	fd = listen_at(&address, strlen(name), name);
	assert_int_equal(notify("READY=1"), 1);
	assert_next_is(fd, "READY=1");
}

static void sends_to_a_path_of_any_length_that_fits(void **state)
{
	struct sockaddr_un address = { 0 };
	char name[sizeof(address.sun_path) + 2];
	cleanup_fd int fd = -1;

	(void)state;
	/* The longest: no room is left for a terminator. */
	memset(name, 'n', sizeof(name));
	name[0] = '@';
	snprintf(name + 1, 16, "%015d", getpid());
	name[16] = 'n';
	name[sizeof(address.sun_path)] = '\0';
	memcpy(address.sun_path + 1, name + 1, sizeof(address.sun_path) - 1);
	fd = listen_at(&address, sizeof(address.sun_path), name);
	assert_int_equal(notify("READY=1"), 1);
	assert_next_is(fd, "READY=1");

	name[sizeof(address.sun_path)] = 'n';
	name[sizeof(address.sun_path) + 1] = '\0';
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify("READY=1"), -EINVAL);
}

static void tells_what_went_wrong(void **state)
{
	char text[2000];

	(void)state;
	setenv("NOTIFY_SOCKET", "relative/path", 1);
	assert_int_equal(notify("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "@", 1);
	assert_int_equal(notify("READY=1"), -EINVAL);
	setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
	assert_int_equal(notify("READY=1"), -ENOENT);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(notify("STATUS=%s", text), -E2BIG);
}

static void a_full_queue_does_not_block(void **state)
{
	struct sockaddr_un address = { 0 };
	char name[64];
	cleanup_fd int fd = -1;
	int result = 1;

	(void)state;
	snprintf(name, sizeof(name), "@test_notify full %d", getpid());
	strcpy(address.sun_path + 1, name + 1);
	fd = listen_at(&address, strlen(name), name);
	for (int i = 0; i < 100000 && result == 1; i++)
		result = notify("STATUS=%d", i);
	assert_int_equal(result, -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(does_nothing_where_nobody_asks),
		cmocka_unit_test(sends_one_datagram_to_a_path),
		cmocka_unit_test(sends_to_an_abstract_name),
		cmocka_unit_test(sends_to_a_path_of_any_length_that_fits),
		cmocka_unit_test(tells_what_went_wrong),
		cmocka_unit_test(a_full_queue_does_not_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
