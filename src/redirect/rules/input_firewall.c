// SPDX-License-Identifier: MIT
#include "redirect/rules/input_firewall.h"

#include "base/memory.h"
#include "redirect/rules/nft_text.h"
#include "redirect/rules/rule_check.h"

/* Is what was sent to @original_port, and has @port now, dropped? */
static struct rule_check drop_check(uint16_t original_port, uint16_t port)
{
	return (struct rule_check){
		.table = "filter",
		.chain = "INPUT",
		.question = { .port = port, .original_port = original_port },
		.verdict = RULE_DROP,
	};
}

int input_firewall_drops(uint16_t port, bool ipv6,
			 char rule[static RULE_TEXT_SIZE])
{
	const struct rule_check check = drop_check(port, port);

	return rule_check_host(&check, ipv6, rule);
}

int input_firewall_drops_redirected(sa_family_t family, const char *rules,
				    uint16_t service_port, uint16_t listen_port,
				    char rule[static RULE_TEXT_SIZE])
{
	const struct rule_check direct = drop_check(service_port, service_port);
	const struct rule_check redirected =
		drop_check(service_port, listen_port);
	/* A firewall that drops both lets the port in by a rule that is not
	 * understood here, or not at all: then we change nothing. */
	int result = rule_check_dump(&direct, family, rules, rule);

	if (result)
		return result > 0 ? 0 : result;
	return rule_check_dump(&redirected, family, rules, rule);
}

bool input_firewall_of_nft_drops_redirected(uint16_t service_port,
					    uint16_t listen_port,
					    char rule[static RULE_TEXT_SIZE])
{
	cleanup_free char *ruleset = rule_check_list_nft();

	return ruleset && nft_text_drops_redirected(ruleset, service_port,
						    listen_port, rule);
}
