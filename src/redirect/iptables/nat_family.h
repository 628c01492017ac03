/* SPDX-License-Identifier: MIT */
/*
 * The rules that one address family has in its nat table, in the order of
 * their lives:
 *
 *   attach   the hold (conntrack_hold.h), then the redirect behind it
 *   pause    the redirect goes; connections redirected before still have
 *            their packets translated, because the hold keeps that going
 *   close    the hold goes, when the last of them has ended
 *
 * What fails is logged here.
 */
#ifndef REDIRECT_IPTABLES_NAT_FAMILY_H
#define REDIRECT_IPTABLES_NAT_FAMILY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "redirect/redirect.h"
#include "redirect/rules/rulespec.h"
#include "redirect/rules/xtables.h"

struct nat_family {
	struct xtables xtables;
	const struct rulespec *rule;
	const struct rulespec *hold;
	/* The redirect has to come before all others. */
	bool first;
	/* The redirect may stand in the table already. */
	bool may_be_there;
	/* Connections may have been redirected, which need the hold. */
	bool was_attached;
};

/*
 * All that can be known to fail before a rule is touched. Both rules must
 * outlive @family. 0 or negative errno, as all below.
 */
int nat_family_open(struct nat_family *family, sa_family_t number,
		    const struct redirect_config *config,
		    const struct rulespec *rule, const struct rulespec *hold);

/* Redirect, and look whether it is so. If this fails, nat_family_take_back(). */
int nat_family_attach(struct nat_family *family);
/* Leave the table as it was before the attach that failed, of this family or
 * of the other. */
void nat_family_take_back(struct nat_family *family);
/* Attach again if somebody else has removed the redirect. */
void nat_family_put_back(struct nat_family *family);
/* While paused: put the hold back if somebody else has removed it. */
void nat_family_keep_hold(struct nat_family *family);
int nat_family_pause(struct nat_family *family);
/* Remove the hold, if connections may have been redirected. */
void nat_family_close(struct nat_family *family, uint16_t listen_port);

#endif
