/* SPDX-License-Identifier: MIT */
/*
 * A rule that does nothing but keep connection tracking switched on.
 *
 * The kernel tracks connections only as long as a rule asks for it. If ours is
 * the only one that does, deleting it switches tracking off, the addresses of
 * redirected connections are no longer translated back, and each is reset with
 * its next packet. The hold stays until the last of them has ended.
 *
 * An instance that was killed cannot take its hold away. So that others can
 * tell, the owner keeps an abstract Unix socket bound to the name that is the
 * rule's comment: such a name lives in the network namespace, as the rule
 * does, and goes with the process, whatever number that had.
 */
#ifndef CONNTRACK_HOLD_H
#define CONNTRACK_HOLD_H

#include <stdbool.h>

#include "rulespec.h"

/* What all their comments begin with. */
#define CONNTRACK_HOLD_PREFIX	 RULESPEC_COMMENT " hold "
#define CONNTRACK_HOLD_NAME_SIZE 64

struct conntrack_hold {
	/* The rule's comment and the socket's name. */
	char name[CONNTRACK_HOLD_NAME_SIZE];
	int socket;
	struct rulespec rule;
};

#define CONNTRACK_HOLD_NONE ((struct conntrack_hold){ .socket = -1 })

/*
 * Take a name of our own and make the rule; no table is changed. Returns 0 or
 * negative errno.
 */
int conntrack_hold_open(struct conntrack_hold *hold);
/* Give the name up; safe on CONNTRACK_HOLD_NONE and twice. */
void conntrack_hold_close(struct conntrack_hold *hold);

/* Make the rule of the hold called @name. Returns 0 or -ENOMEM. */
int conntrack_hold_rule(const char *name, struct rulespec *rule);

/* Is there a process that owns the hold called @name? Yes, if in doubt. */
bool conntrack_hold_has_owner(const char *name);

#endif
