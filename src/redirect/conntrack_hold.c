// SPDX-License-Identifier: MIT
#include "conntrack_hold.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support.h"

/* An abstract address (unix(7)): a zero byte, then the name. */
static socklen_t abstract_address(struct sockaddr_un *address, const char *name)
{
	size_t length = strnlen(name, CONNTRACK_HOLD_NAME_SIZE);

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path + 1, name, length);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

/* Returns a socket that owns @name, or -EADDRINUSE if another does. */
static int bind_name(const char *name)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	socklen_t length = abstract_address(&address, name);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0)
		return -errno;
	return steal_fd(&fd);
}

int conntrack_hold_rule(const char *name, struct rulespec *rule)
{
	char text[160];
	/*
	 * The match asks for connection tracking. Packets in state INVALID
	 * have no connection and never reach a nat table; and without a target
	 * nothing would happen to them either.
	 */
	int length = snprintf(text, sizeof(text),
			      "-m conntrack --ctstate INVALID "
			      "-m comment --comment '%s'",
			      name);

	return rulespec_split(text, (size_t)length, rule);
}

int conntrack_hold_open(struct conntrack_hold *hold)
{
	uint32_t unique;
	int err;

	*hold = CONNTRACK_HOLD_NONE;
	/* The pid tells a reader whose it is; it alone would not do: two
	 * containers on the host's network can have the same. */
	if (getrandom(&unique, sizeof(unique), 0) != sizeof(unique))
		return -errno;
	snprintf(hold->name, sizeof(hold->name),
		 CONNTRACK_HOLD_PREFIX "%ld-%08x", (long)getpid(), unique);

	err = conntrack_hold_rule(hold->name, &hold->rule);
	if (err)
		return err;
	hold->socket = bind_name(hold->name);
	if (hold->socket < 0) {
		err = hold->socket;
		conntrack_hold_close(hold);
	}
	return err;
}

void conntrack_hold_close(struct conntrack_hold *hold)
{
	rulespec_free(&hold->rule);
	close_fd_at(&hold->socket);
}

bool conntrack_hold_has_owner(const char *name)
{
	cleanup_fd int fd = bind_name(name);

	return fd < 0;
}
