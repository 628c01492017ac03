/* SPDX-License-Identifier: MIT */
/*
 * A rule that does nothing but keep connection tracking switched on.
 *
 * The kernel tracks connections only as long as a rule needs it. If ours is the
 * only one, deleting it switches tracking off, the addresses of redirected
 * connections are no longer translated back, and each is reset at its next
 * packet. The hold stays until the last of them has ended.
 *
 * An instance that was killed cannot remove its hold. So that others can tell,
 * two abstract Unix sockets are bound to the hold's name, which is also the
 * rule's comment: the supervisor has one, its workers have the other too. Such
 * names live in the network namespace, as the rule does, and vanish with the
 * last process that has the socket.
 */
#ifndef REDIRECT_IPTABLES_CONNTRACK_HOLD_H
#define REDIRECT_IPTABLES_CONNTRACK_HOLD_H

#include <stdint.h>
#include <time.h>

#include "redirect/rules/rulespec.h"
#include "redirect/rules/xtables.h"

/* What all their comments begin with. */
#define CONNTRACK_HOLD_PREFIX	 RULESPEC_COMMENT " hold "
#define CONNTRACK_HOLD_NAME_SIZE 64

/* A closed socket still has packets under way, which need the translation too:
 * the last data, its acknowledgement, a FIN sent again. */
#define CONNTRACK_HOLD_AFTER_CLOSE ((struct timespec){ .tv_sec = 2 })

struct conntrack_hold {
	/* The rule's comment, and what the sockets' names begin with. */
	char name[CONNTRACK_HOLD_NAME_SIZE];
	int supervisor_socket;
	/* For the workers to keep open as well. */
	int worker_socket;
	struct rulespec rule;
};

#define CONNTRACK_HOLD_NONE                                \
	((struct conntrack_hold){ .supervisor_socket = -1, \
				  .worker_socket = -1 })

enum conntrack_hold_state {
	/* No process is left: the rule should be removed. */
	CONNTRACK_HOLD_ABANDONED,
	/* Workers still relay, but their supervisor is gone. */
	CONNTRACK_HOLD_ORPHANED,
	/* The supervisor lives and will remove it. Also if we cannot tell. */
	CONNTRACK_HOLD_OWNED,
};

/*
 * Take a name of our own and make the rule; no table is changed. Returns 0 or
 * negative errno.
 */
int conntrack_hold_open(struct conntrack_hold *hold);
/* Give the name up; safe on CONNTRACK_HOLD_NONE and twice. */
void conntrack_hold_close(struct conntrack_hold *hold);

/* Make the rule of the hold called @name. Returns 0 or -ENOMEM. */
int conntrack_hold_rule(const char *name, struct rulespec *rule);

/*
 * Delete a hold's @rule from the table of @xtables, and before it what
 * conntrack remembers of ended connections to @listen_port
 * (conntrack_entries.h). Returns 0 or negative errno with xtables->message set.
 */
int conntrack_hold_remove(struct xtables *xtables, const struct rulespec *rule,
			  uint16_t listen_port);

enum conntrack_hold_state conntrack_hold_state(const char *name);

/*
 * Become the one process that will delete the rule of the hold called @name.
 * Returns a descriptor to keep as long, or negative errno (-EADDRINUSE:
 * another does it).
 */
int conntrack_hold_claim(const char *name);

/* Block until no worker has the hold called @name. 0 or negative errno. */
int conntrack_hold_wait(const char *name);

#endif
