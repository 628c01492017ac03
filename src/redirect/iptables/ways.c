// SPDX-License-Identifier: MIT
#include "redirect/iptables/obstacles.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/fib_rules.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/netlink.h"

static bool has_ipv4(const struct ifaddrs *item)
{
	return item->ifa_addr && item->ifa_addr->sa_family == AF_INET;
}

/* The first address of the interface @name, or NULL. */
static const struct ifaddrs *first_of(const struct ifaddrs *all,
				      const char *name)
{
	for (const struct ifaddrs *item = all; item; item = item->ifa_next)
		if (has_ipv4(item) && strcmp(item->ifa_name, name) == 0)
			return item;
	return NULL;
}

/* Those with routes are in use; the list has them in the first column. */
static bool find_bare_interface(const struct ifaddrs *all, char *what,
				size_t size)
{
	FILE *file = fopen("/proc/self/net/route", "re");
	char line[256], name[IFNAMSIZ];
	bool found = false;

	if (!file)
		return false;
	/* The heading is no interface, whatever it says. */
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	while (!found && fgets(line, sizeof(line), file)) {
		found = sscanf(line, "%15s", name) == 1 && name[0] != '*' &&
			!first_of(all, name);
		if (found)
			snprintf(what, size,
				 "interface %s has no IPv4 address, so that "
				 "what is redirected there is dropped",
				 name);
	}
	fclose(file);
	return found;
}

struct question {
	const struct ifaddrs *all;
	uint16_t service_port;
	char *what;
	size_t size;
	bool found;
};

static bool covers(const struct rtattr *prefix, unsigned int length,
		   const struct ifaddrs *item)
{
	const struct in6_addr address = address_as_ipv6(item->ifa_addr);
	struct in6_addr begin = ipv4_any;

	memcpy(&begin.s6_addr[12], RTA_DATA(prefix), sizeof(struct in_addr));
	return address_begins_with(&address, &begin, 96 + length);
}

/*
 * A rule for a whole network is for the first address as well; and one for the
 * first address alone is for what is redirected, too.
 */
static void look_at_source(struct question *question,
			   const struct rtattr *source, unsigned int length)
{
	for (const struct ifaddrs *item = question->all; item;
	     item = item->ifa_next) {
		const struct ifaddrs *first;
		char text[INET_ADDRSTRLEN];

		if (!has_ipv4(item) || !covers(source, length, item))
			continue;
		first = first_of(question->all, item->ifa_name);
		if (!first)
			continue;
		if (!(item->ifa_flags & IFF_LOOPBACK) &&
		    covers(source, length, first))
			continue;
		question->found = true;
		snprintf(question->what, question->size,
			 "a policy rule routes what comes from %s, and what is "
			 "redirected is answered from another address",
			 inet_ntop(AF_INET, RTA_DATA(source), text,
				   sizeof(text)));
	}
}

static int look_at_rule(const struct nlmsghdr *message, void *context)
{
	const size_t size = sizeof(struct fib_rule_hdr);
	const struct fib_rule_hdr *rule =
		netlink_body(message, RTM_NEWRULE, size);
	const struct rtattr *source, *ports;
	struct fib_rule_port_range range;
	struct question *question = context;

	if (!rule || question->found)
		return 0;
	source = netlink_attribute(message, size, FRA_SRC);
	if (source && rule->src_len && RTA_PAYLOAD(source) >= sizeof(uint32_t))
		look_at_source(question, source, rule->src_len);
	ports = netlink_attribute(message, size, FRA_SPORT_RANGE);
	if (!ports || RTA_PAYLOAD(ports) < sizeof(range))
		return 0;
	memcpy(&range, RTA_DATA(ports), sizeof(range));
	if (range.start <= question->service_port &&
	    range.end >= question->service_port) {
		question->found = true;
		snprintf(question->what, question->size,
			 "a policy rule routes what comes from port %u, and "
			 "what is redirected is answered from another",
			 question->service_port);
	}
	return 0;
}

int ways_obstacle(uint16_t service_port, char *what, size_t size)
{
	const struct fib_rule_hdr any = { .family = AF_INET };
	struct question question = {
		.service_port = service_port,
		.what = what,
		.size = size,
	};
	struct ifaddrs *all;
	int err;

	if (getifaddrs(&all) < 0)
		return -errno;
	question.all = all;
	err = netlink_dump(NETLINK_ROUTE, RTM_GETRULE, &any, sizeof(any),
			   look_at_rule, &question);
	/* A kernel without policy routing. */
	if (err == -EOPNOTSUPP)
		err = 0;
	if (!err && !question.found)
		question.found = find_bare_interface(all, what, size);
	freeifaddrs(all);
	return err ? err : question.found;
}
