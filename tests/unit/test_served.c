// SPDX-License-Identifier: MIT
/* Who serves a port: no more than a second is spent to ask where nobody
 * answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "redirect/host.h"

#define LISTENERS 12

/* What the code under test has instead of the kernel's: a clock that stands
 * still but where it waits, addresses that never answer, and no programs. */
static uint64_t now = NS_PER_S;
static size_t dialled;

int clock_gettime(clockid_t clock, struct timespec *time)
{
	(void)clock;
	*time = (struct timespec){ .tv_sec = (time_t)(now / NS_PER_S),
				   .tv_nsec = (long)(now % NS_PER_S) };
	return 0;
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	(void)fds;
	(void)count;
	now += (uint64_t)timeout * NS_PER_MS;
	return 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
	(void)fd;
	(void)address;
	(void)size;
	dialled++;
	errno = EINPROGRESS;
	return -1;
}

int access(const char *path, int mode)
{
	(void)path;
	(void)mode;
	errno = ENOENT;
	return -1;
}

/* At 127.0.0.@host, as one of those that share it. */
static int listen_at(unsigned int host, uint16_t *port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host),
		.sin_port = htons(*port),
	};
	socklen_t size = sizeof(address);
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
			 0);
	*port = ntohs(address.sin_port);
	return fd;
}

/* With listeners at so many addresses in turn: how long it took. */
static uint64_t ask(unsigned int addresses)
{
	struct served served;
	int listeners[LISTENERS];
	uint16_t port = 0;
	uint64_t begin = now;

	for (unsigned int i = 0; i < LISTENERS; i++)
		listeners[i] = listen_at(1 + i % addresses, &port);
	dialled = 0;
	assert_true(served_find(port, &served));
	assert_string_equal(served.fallback, "");
	assert_non_null(strstr(served.by, "by a listener (127.0.0."));
	for (size_t i = 0; i < LISTENERS; i++)
		close(listeners[i]);
	return now - begin;
}

static void tries_each_address_once(void **state)
{
	(void)state;
	ask(1);
	assert_int_equal(dialled, 1);
	ask(3);
	assert_int_equal(dialled, 3);
}

static void gives_up_after_a_second(void **state)
{
	(void)state;
	/* Each wait ends up to a millisecond late. */
	assert_in_range(ask(LISTENERS), 900 * NS_PER_MS, 1010 * NS_PER_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tries_each_address_once),
		cmocka_unit_test(gives_up_after_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
