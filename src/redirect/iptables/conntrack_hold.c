// SPDX-License-Identifier: MIT
#include "redirect/iptables/conntrack_hold.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/name.h"
#include "redirect/iptables/conntrack_entries.h"

#define SUPERVISOR_SUFFIX " supervisor"
#define WORKER_SUFFIX	  " worker"
#define SWEEPER_SUFFIX	  " sweeper"

/* Whose life a name stands for: the supervisor's, or another's. */
struct owner {
	char name[CONNTRACK_HOLD_NAME_SIZE + sizeof(SUPERVISOR_SUFFIX)];
};

static struct owner owner_of(const char *name, const char *suffix)
{
	struct owner owner;

	snprintf(owner.name, sizeof(owner.name), "%.*s%s",
		 CONNTRACK_HOLD_NAME_SIZE, name, suffix);
	return owner;
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
	hold->supervisor_socket =
		name_own(owner_of(hold->name, SUPERVISOR_SUFFIX).name);
	hold->worker_socket =
		name_own(owner_of(hold->name, WORKER_SUFFIX).name);
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

enum conntrack_hold_state conntrack_hold_state(const char *name)
{
	if (name_is_owned(owner_of(name, SUPERVISOR_SUFFIX).name))
		return CONNTRACK_HOLD_OWNED;
	return name_is_owned(owner_of(name, WORKER_SUFFIX).name)
		       ? CONNTRACK_HOLD_ORPHANED
		       : CONNTRACK_HOLD_ABANDONED;
}

int conntrack_hold_claim(const char *name)
{
	return name_own(owner_of(name, SWEEPER_SUFFIX).name);
}

int conntrack_hold_wait(const char *name)
{
	return name_await_end(owner_of(name, WORKER_SUFFIX).name, -1);
}
