// SPDX-License-Identifier: MIT
#include "redirect/rules/rule_check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/spawn.h"
#include "redirect/rules/xtables.h"

static bool is_loopback(const struct rule_address *address)
{
	static const uint8_t ipv6_loopback[16] = { [15] = 1 };

	if (address->family == AF_INET)
		return address->bytes[0] == IN_LOOPBACKNET;
	return memcmp(address->bytes, ipv6_loopback, 16) == 0;
}

static struct rule_address rule_address(const struct sockaddr *from)
{
	struct rule_address address = { .family = from->sa_family };

	if (from->sa_family == AF_INET)
		memcpy(address.bytes,
		       &((const struct sockaddr_in *)(const void *)from)
				->sin_addr,
		       4);
	else
		memcpy(address.bytes,
		       &((const struct sockaddr_in6 *)(const void *)from)
				->sin6_addr,
		       16);
	return address;
}

static bool is_wanted(const struct sockaddr *address, sa_family_t family)
{
	return address &&
	       (address->sa_family == AF_INET ||
		address->sa_family == AF_INET6) &&
	       (family == AF_UNSPEC || family == address->sa_family);
}

size_t rule_check_addresses(sa_family_t family, struct rule_address **items)
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
		struct rule_address address;

		if (!is_wanted(i->ifa_addr, family))
			continue;
		address = rule_address(i->ifa_addr);
		if (!is_loopback(&address))
			(*items)[count++] = address;
	}
	freeifaddrs(interfaces);
	return count;
}

int rule_check_dump(const struct rule_check *check, sa_family_t family,
		    const char *rules, char rule[static RULE_TEXT_SIZE])
{
	struct rule_question question = check->question;
	cleanup_free struct rule_address *addresses = NULL;
	struct rule_answer answer;
	int err;

	question.address_count = rule_check_addresses(family, &addresses);
	question.addresses = addresses;
	err = rule_table_ask(rules, check->chain, &question, &answer);
	if (err)
		return err;
	if (answer.verdict != check->verdict)
		return 0;
	snprintf(rule, RULE_TEXT_SIZE, "%.*s", (int)answer.rule_length,
		 answer.rule);
	return 1;
}

static int check_family(const struct rule_check *check, sa_family_t family,
			char rule[static RULE_TEXT_SIZE])
{
	cleanup_free char *rules = NULL;
	struct xtables xtables;
	int result = xtables_open(&xtables, family, check->table, &rules);

	if (!result)
		result = rule_check_dump(check, family, rules, rule);
	else if (result != -ENOMEM)
		result = 0;
	xtables_release(&xtables);
	return result;
}

int rule_check_host(const struct rule_check *check, bool ipv6,
		    char rule[static RULE_TEXT_SIZE])
{
	int result = check_family(check, AF_INET, rule);

	if (result == 0 && ipv6)
		result = check_family(check, AF_INET6, rule);
	return result;
}

char *rule_check_list_nft(void)
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
