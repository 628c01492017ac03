/* SPDX-License-Identifier: MIT */
/* What the text of `nft -n list ruleset` says of a port, line by line. Pure. */
#ifndef REDIRECT_RULES_NFT_TEXT_H
#define REDIRECT_RULES_NFT_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "redirect/host.h"

/*
 * Does this line, also one of `iptables-save`, change the destination of
 * packets to TCP @port? Rules that name no port are not taken for it, nor those
 * of this program.
 */
bool nft_text_publishes(const char *text, uint16_t port);

/* The first such line of @ruleset, which is taken apart, in @rule. */
bool nft_text_find_publishing(char *ruleset, uint16_t port,
			      char rule[static RULE_TEXT_SIZE]);

/* The same for a line, also one of `iptables -S`, that keeps connections to
 * @port from being tracked. */
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
