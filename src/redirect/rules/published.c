// SPDX-License-Identifier: MIT
#include "redirect/rules/published.h"

#include "base/memory.h"
#include "base/spawn.h"
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

static bool find_in_nftables(uint16_t port, char rule[static RULE_TEXT_SIZE])
{
	char program[] = "nft", numeric[] = "-n", list[] = "list";
	char ruleset[] = "ruleset";
	char *const argv[] = { program, numeric, list, ruleset, NULL };
	cleanup_free char *path = spawn_find(program);
	cleanup_free char *output = NULL;

	return path && spawn_wait(path, argv, &output) == 0 && output &&
	       nft_text_find_publishing(output, port, rule);
}

bool published_find(uint16_t port, char rule[static RULE_TEXT_SIZE])
{
	/* No port is our own's here: with BPF we have no rule. */
	const struct rule_check check = translation_check(port, 0);

	return find_in_nftables(port, rule) ||
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
