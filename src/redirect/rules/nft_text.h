/* SPDX-License-Identifier: MIT */
/* What the text of `nft -n list ruleset` says of a port, line by line. Pure. */
#ifndef REDIRECT_RULES_NFT_TEXT_H
#define REDIRECT_RULES_NFT_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "redirect/host.h"

/* The first line of @ruleset, which is taken apart, that keeps connections to
 * TCP @port from being tracked, in @rule. It may be one of `iptables -S`. */
bool nft_text_find_untracking(char *ruleset, uint16_t port,
			      char rule[static RULE_TEXT_SIZE]);

/*
 * Is there a firewall whose policy is to drop, and which accepts new
 * connections to @port by a rule for it but not to @redirected_port, as far as
 * can be told? A chain that leads on to others is given the benefit of the
 * doubt. @ruleset is taken apart; the rule for @port is put in @rule.
 */
bool nft_text_drops_redirected(char *ruleset, uint16_t port,
			       uint16_t redirected_port,
			       char rule[static RULE_TEXT_SIZE]);

#endif
