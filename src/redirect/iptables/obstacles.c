// SPDX-License-Identifier: MIT
#include "redirect/iptables/obstacles.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/memory.h"
#include "redirect/rules/input_firewall.h"
#include "redirect/rules/nat_rules.h"

/*
 * May our rule come before one that takes the port? From it, all visitors come
 * to one fallback; and that this leads where the other rule does is not proved
 * by somebody who accepts there: the user has to say so.
 */
static int may_come_first(const struct redirect_config *config,
			  const struct xtables *xtables,
			  const struct nat_targets *targets)
{
	if (targets->for_some) {
		log_error("%s: port %u is published for some visitors alone, "
			  "by a rule that comes before ours (%s): use --bpf",
			  xtables->name, config->service_port, targets->rule);
		return -EEXIST;
	}
	if (config->default_fallback) {
		log_error("%s: port %u is published by a rule that comes "
			  "before ours (%s): use --bpf, or name with -fallback "
			  "where that rule leads",
			  xtables->name, config->service_port, targets->rule);
		return -EEXIST;
	}
	return 0;
}

/*
 * Container engines publish a port by a DNAT rule: behind it, ours would stand
 * in the table and never see a visitor.
 */
static int check_published_port(const struct redirect_config *config,
				const struct xtables *xtables,
				const char *rules, bool *first)
{
	const struct rule_question question =
		question_about(config->service_port, config->listen_port);
	struct nat_targets targets = { .count = 0 };
	int err = rule_table_targets(rules, "PREROUTING", &question, &targets);

	free(question.addresses);
	if (err || !*targets.rule)
		return err;
	if (config->rulespec) {
		log_warning("%s: port %u is taken by another rule first: %s",
			    xtables->name, config->service_port, targets.rule);
		return 0;
	}
	err = may_come_first(config, xtables, &targets);
	if (err)
		return err;
	log_info("%s: port %u is published by a rule (%s): ours goes before it",
		 xtables->name, config->service_port, targets.rule);
	*first = true;
	return 0;
}

/*
 * A redirected packet meets the firewall with the listener's port, and one
 * that accepts the service alone would keep every visitor out.
 */
static int check_firewall(const struct redirect_config *config,
			  struct xtables *xtables)
{
	cleanup_free char *rules = NULL;
	char rule[RULE_TEXT_SIZE];
	int found;

	/* A host without a filter table has no such firewall. */
	if (xtables_list(xtables, "filter", &rules))
		return 0;
	found = input_firewall_drops_redirected(rules, config->service_port,
						config->listen_port, rule);
	if (found <= 0)
		return found;
	if (config->rulespec) {
		log_warning("%s: the firewall may drop what is redirected to "
			    "port %u (%s)",
			    xtables->name, config->listen_port, rule);
		return 0;
	}
	log_error("%s: the firewall accepts port %u but not port %u, where "
		  "the redirect leads (%s): use --bpf, or accept the latter "
		  "with -m conntrack --ctstate DNAT",
		  xtables->name, config->service_port, config->listen_port,
		  rule);
	return -EACCES;
}

/*
 * NAT sees what is tracked, and no other connection. A firewall that answers
 * SYNs by itself (SYNPROXY) has the same rule in front.
 */
static bool find_untracking(const char *ruleset, uint16_t port,
			    const struct redirect_config *config,
			    char rule[static RULE_TEXT_SIZE])
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };
	const struct rule_question question = question_about(port, 0);
	bool found = ruleset && nft_untracks(ruleset, port, rule);

	for (size_t i = 0; i < (config->ipv6 ? 2 : 1) && !found; i++) {
		cleanup_free char *rules = xtables_read(families[i], "raw");
		struct rule_answer answer = { .verdict = RULE_PASS };

		if (rules)
			rule_table_ask(rules, "PREROUTING", &question, &answer);
		found = answer.verdict == RULE_UNTRACK;
		if (found)
			snprintf(rule, RULE_TEXT_SIZE, "%.*s",
				 (int)answer.rule_length, answer.rule);
	}
	free(question.addresses);
	return found;
}

/* What a rule of the user's own does is the user's to know. */
static int probe_ways(const char *ruleset, const struct redirect_config *config,
		      char *reason, size_t size)
{
	char rule[RULE_TEXT_SIZE];

	if (find_untracking(ruleset, config->service_port, config, rule)) {
		snprintf(reason, size,
			 "connections to port %u are not tracked (%.100s), so "
			 "that a NAT rule never sees them: use --bpf",
			 config->service_port, rule);
		return -EOPNOTSUPP;
	}
	if (ways_obstacle(config->service_port, rule, sizeof(rule)) > 0) {
		snprintf(reason, size, "%.200s: use --bpf", rule);
		return -EOPNOTSUPP;
	}
	return 0;
}

int obstacles_probe(const struct redirect_config *config, char *reason,
		    size_t size)
{
	cleanup_free char *ruleset = NULL;
	char rule[RULE_TEXT_SIZE];

	if (config->interface_count) {
		snprintf(reason, size,
			 "--interface is for BPF: use --bpf, or a rule of your "
			 "own with -i (ACME_ALPN_PROXY_RULESPEC)");
		return -EOPNOTSUPP;
	}
	if (config->rulespec)
		return 0;
	ruleset = nft_list();
	if (!ruleset || !nft_drops_redirected(ruleset, config->service_port,
					      config->listen_port, rule))
		return probe_ways(ruleset, config, reason, size);
	snprintf(reason, size,
		 "the firewall accepts port %u (%s) but not port %u, where the "
		 "redirect leads: use --bpf, or accept the latter with ct "
		 "status dnat",
		 config->service_port, rule, config->listen_port);
	return -EACCES;
}

int obstacles_check(const struct redirect_config *config,
		    struct xtables *xtables, const char *nat, bool *first)
{
	int err = check_published_port(config, xtables, nat, first);

	return err ? err : check_firewall(config, xtables);
}
