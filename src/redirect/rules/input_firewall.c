// SPDX-License-Identifier: MIT
#include "redirect/rules/input_firewall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "redirect/rules/rule_table.h"

/* Addresses that visitors can have connected to. */
struct addresses {
	struct host_address *items;
	size_t count;
};

static bool is_loopback(const struct host_address *address)
{
	static const uint8_t ipv6_loopback[16] = { [15] = 1 };

	if (address->family == AF_INET)
		return address->bytes[0] == IN_LOOPBACKNET;
	return memcmp(address->bytes, ipv6_loopback, 16) == 0;
}

static struct host_address host_address(const struct sockaddr *from)
{
	struct host_address address = { .family = from->sa_family };

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

/* What cannot be read is as if it were not there: the check is a courtesy. */
static void read_addresses(sa_family_t family, struct addresses *addresses)
{
	struct ifaddrs *interfaces;
	size_t count = 0;

	*addresses = (struct addresses){ 0 };
	if (getifaddrs(&interfaces) < 0)
		return;
	for (struct ifaddrs *i = interfaces; i; i = i->ifa_next)
		count++;
	if (count)
		addresses->items = calloc(count, sizeof(*addresses->items));
	for (struct ifaddrs *i = interfaces; i && addresses->items;
	     i = i->ifa_next) {
		struct host_address address;

		if (!i->ifa_addr || i->ifa_addr->sa_family != family)
			continue;
		address = host_address(i->ifa_addr);
		if (!is_loopback(&address))
			addresses->items[addresses->count++] = address;
	}
	freeifaddrs(interfaces);
}

/* Ask @chain; 1 with the deciding rule if the verdict is @wanted. */
static int ask(const char *rules, const char *chain,
	       const struct rule_question *question, enum rule_verdict wanted,
	       char rule[static NAT_CHECK_RULE_SIZE])
{
	struct rule_answer answer;
	int err = rule_table_ask(rules, chain, question, &answer);

	if (err)
		return err;
	if (answer.verdict != wanted)
		return 0;
	snprintf(rule, NAT_CHECK_RULE_SIZE, "%.*s", (int)answer.rule_length,
		 answer.rule);
	return 1;
}

int nat_check_rules(const struct xtables *xtables, const char *rules,
		    uint16_t service_port, uint16_t listen_port,
		    char rule[static NAT_CHECK_RULE_SIZE])
{
	struct addresses addresses;
	struct rule_question question = {
		.port = service_port,
		.original_port = service_port,
		.own_port = listen_port,
	};
	int result;

	read_addresses(xtables->family, &addresses);
	question.addresses = addresses.items;
	question.address_count = addresses.count;
	result = ask(rules, "PREROUTING", &question, RULE_TRANSLATE, rule);
	free(addresses.items);
	return result;
}

/* Do the INPUT rules drop what was sent to @original_port and has @port now? */
static int ask_input(const struct xtables *xtables, const char *rules,
		     uint16_t original_port, uint16_t port,
		     char rule[static NAT_CHECK_RULE_SIZE])
{
	struct addresses addresses;
	struct rule_question question = {
		.port = port,
		.original_port = original_port,
	};
	int result;

	read_addresses(xtables->family, &addresses);
	question.addresses = addresses.items;
	question.address_count = addresses.count;
	result = ask(rules, "INPUT", &question, RULE_DROP, rule);
	free(addresses.items);
	return result;
}

int nat_check_firewall(const struct xtables *xtables, const char *rules,
		       uint16_t service_port, uint16_t listen_port,
		       char rule[static NAT_CHECK_RULE_SIZE])
{
	/* A firewall that drops both lets the port in by a rule that is not
	 * understood here, or not at all: then we change nothing. */
	int result =
		ask_input(xtables, rules, service_port, service_port, rule);

	if (result)
		return result > 0 ? 0 : result;
	return ask_input(xtables, rules, service_port, listen_port, rule);
}

/* What a check asks of one family's rules. */
struct check {
	const char *table;
	uint16_t service_port;
	uint16_t listen_port;
	int (*ask)(const struct xtables *xtables, const char *rules,
		   uint16_t service_port, uint16_t listen_port,
		   char rule[static NAT_CHECK_RULE_SIZE]);
};

static int check_family(sa_family_t family, const struct check *check,
			char rule[static NAT_CHECK_RULE_SIZE])
{
	cleanup_free char *rules = NULL;
	struct xtables xtables;
	int result = xtables_find(&xtables, family);

	if (!result)
		result = xtables_list(&xtables, check->table, &rules);
	if (!result)
		result = check->ask(&xtables, rules, check->service_port,
				    check->listen_port, rule);
	else if (result != -ENOMEM)
		result = 0;
	xtables_release(&xtables);
	return result;
}

static int check_families(const struct check *check, bool ipv6,
			  char rule[static NAT_CHECK_RULE_SIZE])
{
	int result = check_family(AF_INET, check, rule);

	if (result == 0 && ipv6)
		result = check_family(AF_INET6, check, rule);
	return result;
}

int nat_check_port(uint16_t service_port, uint16_t listen_port, bool ipv6,
		   char rule[static NAT_CHECK_RULE_SIZE])
{
	const struct check check = {
		.table = "nat",
		.service_port = service_port,
		.listen_port = listen_port,
		.ask = nat_check_rules,
	};

	return check_families(&check, ipv6, rule);
}

int nat_check_input(uint16_t port, bool ipv6,
		    char rule[static NAT_CHECK_RULE_SIZE])
{
	const struct check check = {
		.table = "filter",
		.service_port = port,
		.listen_port = port,
		.ask = ask_input,
	};

	return check_families(&check, ipv6, rule);
}
