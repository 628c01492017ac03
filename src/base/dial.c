// SPDX-License-Identifier: MIT
#include "base/dial.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"

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

int dial(const struct endpoint *endpoint, uint64_t deadline_ns)
{
	const struct sockaddr *address =
		(const struct sockaddr *)&endpoint->address;
	cleanup_fd int fd = -1;

	fd = socket(address->sa_family,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, address, endpoint->length) == 0)
		return 0;
	return errno == EINPROGRESS ? wait_for_answer(fd, deadline_ns) : -errno;
}
