/* SPDX-License-Identifier: MIT */
/*
 * Where the text of `nft -n list ruleset` leads what is sent to a port of this
 * host: dnat and redirect, straight or by maps, in the chains of prerouting and
 * those that they lead on to. Pure.
 */
#ifndef REDIRECT_RULES_NFT_TARGETS_H
#define REDIRECT_RULES_NFT_TARGETS_H

#include "redirect/rules/rule_table.h"

/*
 * Add them to @targets, with the first rule, but for a redirect to the
 * question's own port. A match that is not understood is taken to apply. 0 or
 * -ENOMEM.
 */
int nft_targets_read(const char *ruleset, const struct rule_question *question,
		     struct nat_targets *targets);

#endif
