// SPDX-License-Identifier: MIT
#include "base/name.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

/* A zero byte, then the name. */
static socklen_t make_address(struct sockaddr_un *address, const char *name)
{
	int length;

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	length = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1,
			  "%s", name);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)length);
}

static int open_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int name_own(const char *name)
{
	cleanup_fd int fd = open_socket();
	struct sockaddr_un address;
	socklen_t length = make_address(&address, name);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return -errno;
	return steal_fd(&fd);
}

bool name_is_owned(const char *name)
{
	cleanup_fd int fd = name_own(name);

	return fd < 0;
}

/* A connection that is never accepted is refused, or hung up, when the last
 * process that has the listening socket closes it. */
int name_await_end(const char *name, int timeout_ms)
{
	cleanup_fd int fd = open_socket();
	struct pollfd hangup = { .fd = fd };
	struct sockaddr_un address;
	socklen_t length = make_address(&address, name);
	int ended;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, length) < 0)
		return errno == ECONNREFUSED ? 0 : -errno;
	do {
		ended = poll(&hangup, 1, timeout_ms);
	} while (ended < 0 && errno == EINTR);
	if (ended < 0)
		return -errno;
	return ended ? 0 : -ETIMEDOUT;
}
