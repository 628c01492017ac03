// SPDX-License-Identifier: MIT
#include "redirect/rules/input_firewall.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "redirect/rules/nat_rules.h"
#include "redirect/rules/xtables.h"

/* Is what was sent to @original_port, and has @port now, dropped by @rules, the
 * dump of a filter table? Returns as input_firewall_drops(). */
static int drops(const char *rules, uint16_t original_port, uint16_t port,
		 char rule[static RULE_TEXT_SIZE])
{
	struct rule_question question = question_about(original_port, 0);
	struct rule_answer answer;
	int err;

	question.port = port;
	err = rule_table_ask(rules, "INPUT", &question, &answer);
	free(question.addresses);
	if (err || answer.verdict != RULE_DROP)
		return err;
	snprintf(rule, RULE_TEXT_SIZE, "%.*s", (int)answer.rule_length,
		 answer.rule);
	return 1;
}

int input_firewall_drops(uint16_t port, bool ipv6,
			 char rule[static RULE_TEXT_SIZE])
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };
	int result = 0;

	for (size_t i = 0; i < (ipv6 ? 2 : 1) && !result; i++) {
		cleanup_free char *rules = xtables_read(families[i], "filter");

		if (rules)
			result = drops(rules, port, port, rule);
	}
	return result;
}

int input_firewall_drops_redirected(const char *rules, uint16_t service_port,
				    uint16_t listen_port,
				    char rule[static RULE_TEXT_SIZE])
{
	/* A firewall that drops both lets the port in by a rule that is not
	 * understood here, or not at all: then we change nothing. */
	int result = drops(rules, service_port, service_port, rule);

	if (result)
		return result > 0 ? 0 : result;
	return drops(rules, service_port, listen_port, rule);
}
