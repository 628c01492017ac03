// SPDX-License-Identifier: MIT
#include "redirect/rules/nat_rules.h"

#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/memory.h"
#include "base/spawn.h"
#include "redirect/host.h"
#include "redirect/rules/xtables.h"

static bool is_wanted(const struct sockaddr *address)
{
	struct in6_addr mapped;

	if (!address ||
	    (address->sa_family != AF_INET && address->sa_family != AF_INET6))
		return false;
	mapped = address_as_ipv6(address);
	return !address_is_loopback(&mapped);
}

size_t host_addresses(struct in6_addr **items)
{
	struct ifaddrs *interfaces;
	size_t count = 0;

	*items = NULL;
	if (getifaddrs(&interfaces) < 0)
		return 0;
	for (struct ifaddrs *i = interfaces; i; i = i->ifa_next)
		count++;
	if (count)
		*items = calloc(count, sizeof(**items));
	count = 0;
	for (struct ifaddrs *i = interfaces; i && *items; i = i->ifa_next) {
		if (is_wanted(i->ifa_addr))
			(*items)[count++] = address_as_ipv6(i->ifa_addr);
	}
	freeifaddrs(interfaces);
	return count;
}

struct rule_question question_about(uint16_t port, uint16_t own_port)
{
	struct rule_question question = { .port = port,
					  .original_port = port,
					  .own_port = own_port };

	question.address_count = host_addresses(&question.addresses);
	return question;
}

char *nft_list(void)
{
	char program[] = "nft", numeric[] = "-n", list[] = "list";
	char ruleset[] = "ruleset";
	char *const argv[] = { program, numeric, list, ruleset, NULL };
	cleanup_free char *path = spawn_find(program);
	char *output = NULL;

	if (path && spawn_wait(path, argv, &output) == 0)
		return output;
	free(output);
	return NULL;
}

bool nat_has_legacy_table(void)
{
	static const char *const lists[] = { "/proc/self/net/ip_tables_names",
					     "/proc/self/net/ip6_tables_names" };
	bool found = false;
	char name[32];

	for (size_t i = 0; i < ARRAY_SIZE(lists) && !found; i++) {
		FILE *file = fopen(lists[i], "re");

		while (file && !found && fgets(name, sizeof(name), file))
			found = strcmp(name, "nat\n") == 0;
		if (file)
			fclose(file);
	}
	return found;
}

static void read_iptables(const struct rule_question *question,
			  struct nat_targets *targets)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		cleanup_free char *rules = xtables_read(families[i], "nat");

		if (rules)
			rule_table_targets(rules, "PREROUTING", question,
					   targets);
	}
}

void nat_rules_read(const struct rule_question *question,
		    struct nat_targets *targets)
{
	cleanup_free char *ruleset = nft_list();

	if (ruleset)
		nft_targets_read(ruleset, question, targets);
	/* By that name it is iptables', some of whose rules nft cannot read. */
	if (!ruleset || strstr(ruleset, "chain PREROUTING {") ||
	    nat_has_legacy_table())
		read_iptables(question, targets);
}

void nat_rules_find(uint16_t port, uint16_t own_port,
		    struct nat_targets *targets)
{
	const struct rule_question question = question_about(port, own_port);

	*targets = (struct nat_targets){ .count = 0 };
	nat_rules_read(&question, targets);
	free(question.addresses);
}

bool published_find(uint16_t port, uint16_t own_port,
		    char rule[static RULE_TEXT_SIZE])
{
	struct nat_targets targets;

	nat_rules_find(port, own_port, &targets);
	strcpy(rule, targets.rule);
	return *rule;
}
