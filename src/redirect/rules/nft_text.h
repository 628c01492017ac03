/* SPDX-License-Identifier: MIT */
/* What the text of `nft list ruleset` says of a port, line by line. Pure. */
#ifndef REDIRECT_RULES_NFT_TEXT_H
#define REDIRECT_RULES_NFT_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "redirect/rules/rule_table.h"

/*
 * Does this line, also one of `iptables-save`, change the destination of
 * packets to TCP @port? Rules that name no port are not taken for it, nor those
 * of this program.
 */
bool nft_text_publishes(const char *line, uint16_t port);

/* The first such line of @ruleset, which is taken apart, in @rule. */
bool nft_text_find_publishing(char *ruleset, uint16_t port,
			      char rule[static RULE_TEXT_SIZE]);

#endif
