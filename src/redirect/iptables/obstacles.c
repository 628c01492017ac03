// SPDX-License-Identifier: MIT
#include "redirect/iptables/obstacles.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/memory.h"
#include "redirect/rules/input_firewall.h"
#include "redirect/rules/published.h"

/*
 * Container engines publish a port by a DNAT rule, and theirs come first: ours
 * would stand in the table and never see a visitor.
 */
static int check_published_port(const struct redirect_config *config,
				const struct xtables *xtables,
				const char *rules)
{
	char rule[RULE_TEXT_SIZE];
	int found = published_in_dump(xtables->family, rules,
				      config->service_port, config->listen_port,
				      rule);

	if (found <= 0)
		return found;
	if (config->rulespec) {
		log_warning("%s: port %u is taken by another rule first: %s",
			    xtables->name, config->service_port, rule);
		return 0;
	}
	log_error("%s: port %u is a container's, published by a rule that "
		  "comes before ours (%s): use --bpf",
		  xtables->name, config->service_port, rule);
	return -EEXIST;
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
	found = input_firewall_drops_redirected(xtables->family, rules,
						config->service_port,
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

int obstacles_probe(const struct redirect_config *config, char *reason,
		    size_t size)
{
	char rule[RULE_TEXT_SIZE];

	if (config->interface_count) {
		snprintf(reason, size,
			 "--interface is for BPF: use --bpf, or a rule of your "
			 "own with -i (ACME_ALPN_PROXY_RULESPEC)");
		return -EOPNOTSUPP;
	}
	if (config->rulespec ||
	    !input_firewall_of_nft_drops_redirected(config->service_port,
						    config->listen_port, rule))
		return 0;
	snprintf(reason, size,
		 "the firewall accepts port %u (%s) but not port %u, where the "
		 "redirect leads: use --bpf, or accept the latter with ct "
		 "status dnat",
		 config->service_port, rule, config->listen_port);
	return -EACCES;
}

int obstacles_check(const struct redirect_config *config,
		    struct xtables *xtables, const char *nat)
{
	int err = check_published_port(config, xtables, nat);

	return err ? err : check_firewall(config, xtables);
}
