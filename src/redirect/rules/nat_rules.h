/* SPDX-License-Identifier: MIT */
/* What this host's rules are, and where its NAT leads new connections from
 * outside. */
#ifndef REDIRECT_RULES_NAT_RULES_H
#define REDIRECT_RULES_NAT_RULES_H

#include <netinet/in.h>
#include <stddef.h>

#include "redirect/rules/rule_table.h"

/*
 * The addresses that visitors can have connected to, in this network namespace:
 * how many, in an array that the caller frees. What cannot be read is as if it
 * were not there.
 */
size_t host_addresses(struct in6_addr **items);

/* All rules as nft lists them, which the caller frees; NULL if it cannot. */
char *nft_list(void);

/* Does iptables have a table of its own kind for NAT? It tells nobody of its
 * changes, and to list what is not there would make it. */
bool nat_has_legacy_table(void);

/* About new connections to @port at all of them. The caller frees
 * ->addresses. */
struct rule_question question_about(uint16_t port, uint16_t own_port);

/*
 * Add to @targets where nft and iptables lead what @question asks about: to
 * containers, to other ports of this host. What cannot be read has nothing to
 * say.
 */
void nat_rules_read(const struct rule_question *question,
		    struct nat_targets *targets);

/*
 * The first half of it: what @ruleset, the text of nft_list(), says. Dnat and
 * redirect are followed straight or by maps, in the chains of prerouting and
 * those that they lead on to; a match that is not understood is taken to apply.
 * 0 or -ENOMEM. Pure.
 */
int nft_targets_read(const char *ruleset, const struct rule_question *question,
		     struct nat_targets *targets);

/*
 * A rule of @ruleset for new connections to TCP @port that keeps them from
 * being tracked, in @rule. False if there is none.
 */
bool nft_untracks(const char *ruleset, uint16_t port,
		  char rule[static RULE_TEXT_SIZE]);

/*
 * Is there a firewall whose policy is to drop, and which accepts new
 * connections to @port by a rule for it but not to @redirected_port, as far as
 * can be told? A chain that leads on to others is given the benefit of the
 * doubt. The rule for @port is put in @rule.
 */
bool nft_drops_redirected(const char *ruleset, uint16_t port,
			  uint16_t redirected_port,
			  char rule[static RULE_TEXT_SIZE]);

/* Where the host's rules lead what is sent to @port, at any address. */
void nat_rules_find(uint16_t port, uint16_t own_port,
		    struct nat_targets *targets);

#endif
