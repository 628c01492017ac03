/* SPDX-License-Identifier: MIT */
/*
 * Is the service port published to somewhere else by NAT on this host, as
 * container engines do it? Such a rule carries a steered packet away, unless
 * its flow is pinned in conntrack.
 */
#ifndef REDIRECT_RULES_PUBLISHED_H
#define REDIRECT_RULES_PUBLISHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redirect/rules/input_firewall.h"

/* Enough for a rule; longer ones are cut. */
#define DNAT_RULE_SIZE NAT_CHECK_RULE_SIZE

/*
 * Does this line, of `iptables-save` or of `nft list ruleset`, change the
 * destination of packets to TCP @port? Rules that name no port are not taken
 * for it, nor those of this program. Pure.
 */
bool dnat_is_rule_for(const char *line, uint16_t port);

/*
 * Ask nft, line by line, and what iptables and ip6tables list (nat_check.h).
 * Returns true if there is such a rule, with its text in @rule.
 */
bool dnat_find(uint16_t port, char rule[static DNAT_RULE_SIZE]);

#endif
