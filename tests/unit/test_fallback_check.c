// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "command/fallback_check.h"

/* Listens at 127.0.0.2, as a web server at its outer address does. */
static int web_server;
static uint16_t port;
static char folder[] = "/tmp/test_fallback_check.XXXXXX";

static int listen_at(const char *host, uint16_t *number)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(*number),
		.sin_addr.s_addr = inet_addr(host),
	};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
			 0);
	*number = ntohs(address.sin_port);
	return fd;
}

static int set_up(void **state)
{
	(void)state;
	web_server = listen_at("127.0.0.2", &port);
	assert_non_null(mkdtemp(folder));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(web_server);
	return rmdir(folder);
}

static int check(const char *format, ...)
{
	char text[BACKEND_TEXT_SIZE];
	struct backend backend;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	assert_int_equal(backend_resolve(text, &backend), 0);
	return fallback_check(&backend, port);
}

static void tells_who_turns_visitors_away(void **state)
{
	(void)state;
	assert_int_equal(check("127.0.0.1:%u", port), -ECONNREFUSED);
	assert_int_equal(check("unix:%s/socket", folder), -ENOENT);
	assert_int_equal(check("unix:@%s", folder), -ECONNREFUSED);
}

static void does_not_connect_to_whom_it_sees_listen(void **state)
{
	(void)state;
	assert_int_equal(check("127.0.0.2:%u", port), 0);
	assert_int_equal(accept(web_server, NULL, NULL), -1);
	assert_int_equal(errno, EAGAIN);
}

static void one_address_that_answers_is_enough(void **state)
{
	struct backend backend;
	struct backend other;

	(void)state;
	assert_int_equal(backend_resolve("127.0.0.1:1", &backend), 0);
	assert_int_equal(backend_resolve("127.0.0.2:1", &other), 0);
	((struct sockaddr_in *)&other.addresses[0].address)->sin_port =
		htons(port);
	backend.addresses[1] = other.addresses[0];
	backend.count = 2;
	assert_int_equal(fallback_check(&backend, port), 0);
	backend.count = 1;
	assert_int_equal(fallback_check(&backend, port), -ECONNREFUSED);
}

/* A full queue is the sign of a server that is busy, not of none. */
static void takes_a_socket_for_one_until_its_server_is_gone(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket",
		 folder);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(check("unix:%s/socket", folder), 0);
	assert_int_equal(check("unix:%s/socket", folder), 0);
	assert_int_equal(check("unix:%s/socket", folder), 0);
	close_fd_at(&fd);
	assert_int_equal(check("unix:%s/socket", folder), -ECONNREFUSED);
	unlink(address.sun_path);
}

static void where_nobody_is_served_nothing_is_wrong(void **state)
{
	struct backend backend;
	uint16_t unused = 0;

	(void)state;
	close(listen_at("127.0.0.2", &unused));
	assert_int_equal(backend_resolve("127.0.0.1:1", &backend), 0);
	assert_int_equal(fallback_check(&backend, unused), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_who_turns_visitors_away),
		cmocka_unit_test(does_not_connect_to_whom_it_sees_listen),
		cmocka_unit_test(one_address_that_answers_is_enough),
		cmocka_unit_test(
			takes_a_socket_for_one_until_its_server_is_gone),
		cmocka_unit_test(where_nobody_is_served_nothing_is_wrong),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
