// SPDX-License-Identifier: MIT
#include "redirect/bpf/routes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <stdbool.h>
#include <string.h>

#include "base/address.h"
#include "base/netlink.h"
#include "redirect/host.h"

struct reading {
	routes_handler handler;
	void *context;
};

static int hand_over_local(const struct nlmsghdr *message, void *context)
{
	const struct rtmsg *route =
		netlink_body(message, RTM_NEWROUTE, sizeof(*route));
	const struct reading *reading = context;
	const struct rtattr *destination;
	uint32_t size;
	struct host_prefix prefix = { .length = 0 };

	/* Kernels before 4.20 do not look for the type. */
	if (!route || route->rtm_type != RTN_LOCAL || !route->rtm_dst_len)
		return 0;
	size = route->rtm_family == AF_INET ? sizeof(struct in_addr)
					    : sizeof(struct in6_addr);
	destination = netlink_attribute(message, sizeof(*route), RTA_DST);
	if (!destination || RTA_PAYLOAD(destination) != size)
		return 0;
	prefix.length = route->rtm_dst_len + HOST_ADDRESS_BITS - size * 8;
	if (size == sizeof(struct in_addr))
		prefix.address.words[2] = htonl(0xffff);
	memcpy((char *)(&prefix.address + 1) - size, RTA_DATA(destination),
	       size);
	return reading->handler(&prefix, reading->context);
}

static int list_family(sa_family_t family, struct reading *reading)
{
	const struct rtmsg wanted = { .rtm_family = (unsigned char)family,
				      .rtm_type = RTN_LOCAL };

	return netlink_dump(NETLINK_ROUTE, RTM_GETROUTE, &wanted,
			    sizeof(wanted), hand_over_local, reading);
}

int routes_list_local(routes_handler handler, void *context)
{
	struct reading reading = { .handler = handler, .context = context };
	int err = list_family(AF_INET, &reading);

	return err ? err : list_family(AF_INET6, &reading);
}

struct search {
	struct in6_addr address;
	bool found;
};

static int compare(const struct host_prefix *prefix, void *context)
{
	struct search *search = context;
	struct in6_addr begin;

	memcpy(&begin, &prefix->address, sizeof(begin));
	search->found |=
		address_begins_with(&search->address, &begin, prefix->length);
	return 0;
}

int host_has_address(const struct sockaddr *address)
{
	struct search search = { .address = address_as_ipv6(address) };
	int err = routes_list_local(compare, &search);

	return err ? err : search.found;
}

/* A mask is there even if the mark that is asked for is 0. */
static int find_mark(const struct nlmsghdr *message, void *context)
{
	const size_t size = sizeof(struct fib_rule_hdr);
	bool *found = context;

	if (netlink_body(message, RTM_NEWRULE, size) &&
	    netlink_attribute(message, size, FRA_FWMASK))
		*found = true;
	return 0;
}

int routes_depend_on_marks(void)
{
	const struct fib_rule_hdr any = { .family = AF_UNSPEC };
	bool found = false;
	int err = netlink_dump(NETLINK_ROUTE, RTM_GETRULE, &any, sizeof(any),
			       find_mark, &found);

	/* A kernel without policy routing. */
	if (err == -EOPNOTSUPP)
		return 0;
	return err ? err : found;
}
