// SPDX-License-Identifier: MIT
#include "command/fallback_check.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "listen/listener.h"

/* Of all addresses together. */
#define TIMEOUT_MS 1000

static int wait_for_answer(int fd, uint64_t deadline)
{
	struct pollfd event = { .fd = fd, .events = POLLOUT };
	const uint64_t now = monotonic_ns();
	socklen_t size = sizeof(int);
	int error = 0;

	if (now >= deadline ||
	    poll(&event, 1, (int)((deadline - now) / NS_PER_MS) + 1) <= 0)
		return -ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

/* 0 if somebody answers, or why not. */
static int ask(const struct endpoint *endpoint, uint64_t deadline)
{
	const struct sockaddr *address =
		(const struct sockaddr *)&endpoint->address;
	cleanup_fd int fd = -1;

	/* A server has no use for a connection that says nothing. */
	if (listeners_address_is_taken(address, endpoint->length))
		return 0;
	fd = socket(address->sa_family,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, address, endpoint->length) == 0)
		return 0;
	return errno == EINPROGRESS ? wait_for_answer(fd, deadline) : -errno;
}

/* Nothing of the kind follows from silence, or from being out of descriptors. */
static bool says_that_nobody_is_there(int err)
{
	switch (err) {
	case -ECONNREFUSED:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -EADDRNOTAVAIL:
	case -EAFNOSUPPORT:
	case -ENOENT:
	case -ENOTDIR:
	case -EACCES:
	case -EPERM:
		return true;
	default:
		return false;
	}
}

int fallback_check(const struct backend *fallback, uint16_t service_port)
{
	const uint64_t deadline = monotonic_ns() + TIMEOUT_MS * NS_PER_MS;
	int err = 0;

	if (!listeners_serve(service_port))
		return 0;
	for (size_t i = 0; i < fallback->count; i++) {
		err = ask(&fallback->addresses[i], deadline);
		if (!says_that_nobody_is_there(err))
			return 0;
	}
	return err;
}
