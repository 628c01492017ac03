// SPDX-License-Identifier: MIT
#include "redirect/iptables/conntrack_hold.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "redirect/iptables/conntrack_entries.h"

#define SUPERVISOR_SUFFIX " supervisor"
#define WORKER_SUFFIX	  " worker"
#define SWEEPER_SUFFIX	  " sweeper"

/* An abstract address (unix(7)): a zero byte, then the name. */
static socklen_t abstract_address(struct sockaddr_un *address, const char *name,
				  const char *suffix)
{
	int length;

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	length = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1,
			  "%.*s%s", CONNTRACK_HOLD_NAME_SIZE, name, suffix);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)length);
}

/* Returns a socket that owns the name, or -EADDRINUSE if another does. */
static int own_name(const char *name, const char *suffix)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	socklen_t length = abstract_address(&address, name, suffix);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return -errno;
	return steal_fd(&fd);
}

int conntrack_hold_rule(const char *name, struct rulespec *rule)
{
	char text[160];
	/*
	 * The match switches connection tracking on. Packets in state INVALID
	 * never reach a nat table, and without a target nothing would happen to
	 * them.
	 */
	int length = snprintf(text, sizeof(text),
			      "-m conntrack --ctstate INVALID "
			      "-m comment --comment '%s'",
			      name);

	return rulespec_split(text, (size_t)length, rule);
}

/*
 * A kernel without ctnetlink (module nf_conntrack_netlink; all distributions
 * have it) keeps the entries until they expire, after two minutes. Waiting that
 * long is not worth it for the rare client that uses the same port again around
 * the next start.
 */
int conntrack_hold_remove(struct xtables *xtables, const struct rulespec *rule,
			  uint16_t listen_port)
{
	int err = conntrack_entries_delete_ended(xtables->family, listen_port);

	if (err)
		log_debug("conntrack remembers ended connections to port %u "
			  "for two minutes more: %s",
			  listen_port, error_text(err));
	return xtables_delete_all(xtables, rule);
}

int conntrack_hold_open(struct conntrack_hold *hold)
{
	uint32_t unique;
	int err;

	*hold = CONNTRACK_HOLD_NONE;
	/* The pid is for a human reader. It is not enough: two containers on
	 * the host's network can have the same. */
	if (getrandom(&unique, sizeof(unique), 0) != sizeof(unique))
		return -errno;
	snprintf(hold->name, sizeof(hold->name),
		 CONNTRACK_HOLD_PREFIX "%ld-%08x", (long)getpid(), unique);

	err = conntrack_hold_rule(hold->name, &hold->rule);
	if (err)
		return err;
	hold->supervisor_socket = own_name(hold->name, SUPERVISOR_SUFFIX);
	hold->worker_socket = own_name(hold->name, WORKER_SUFFIX);
	if (hold->supervisor_socket < 0)
		err = hold->supervisor_socket;
	else if (hold->worker_socket < 0)
		err = hold->worker_socket;
	if (err)
		conntrack_hold_close(hold);
	return err;
}

void conntrack_hold_close(struct conntrack_hold *hold)
{
	rulespec_free(&hold->rule);
	close_fd_at(&hold->supervisor_socket);
	close_fd_at(&hold->worker_socket);
}

static bool has_owner(const char *name, const char *suffix)
{
	cleanup_fd int fd = own_name(name, suffix);

	return fd < 0;
}

enum conntrack_hold_state conntrack_hold_state(const char *name)
{
	if (has_owner(name, SUPERVISOR_SUFFIX))
		return CONNTRACK_HOLD_OWNED;
	return has_owner(name, WORKER_SUFFIX) ? CONNTRACK_HOLD_ORPHANED
					      : CONNTRACK_HOLD_ABANDONED;
}

int conntrack_hold_claim(const char *name)
{
	return own_name(name, SWEEPER_SUFFIX);
}

/* A connection that is never accepted is refused, or hung up, when the last
 * process that has the listening socket closes it. */
int conntrack_hold_wait(const char *name)
{
	cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd hangup = { .fd = fd };
	struct sockaddr_un address;
	socklen_t length = abstract_address(&address, name, WORKER_SUFFIX);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, length) < 0)
		return errno == ECONNREFUSED ? 0 : -errno;
	while (poll(&hangup, 1, -1) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}
