// SPDX-License-Identifier: MIT
#include "redirect/rules/published.h"

#include "base/memory.h"
#include "redirect/rules/nft_text.h"
#include "redirect/rules/rule_check.h"

/* A REDIRECT to @own_port is ours and publishes nothing. */
static struct rule_check translation_check(uint16_t port, uint16_t own_port)
{
	return (struct rule_check){
		.table = "nat",
		.chain = "PREROUTING",
		.question = { .port = port,
			      .original_port = port,
			      .own_port = own_port },
		.verdict = RULE_TRANSLATE,
	};
}

bool published_find(uint16_t port, char rule[static RULE_TEXT_SIZE])
{
	/* No port is our own's here: with BPF we have no rule. */
	const struct rule_check check = translation_check(port, 0);
	cleanup_free char *ruleset = rule_check_list_nft();

	return (ruleset && nft_text_find_publishing(ruleset, port, rule)) ||
	       rule_check_host(&check, true, rule) > 0;
}

int published_in_dump(sa_family_t family, const char *rules,
		      uint16_t service_port, uint16_t listen_port,
		      char rule[static RULE_TEXT_SIZE])
{
	const struct rule_check check =
		translation_check(service_port, listen_port);

	return rule_check_dump(&check, family, rules, rule);
}
