// SPDX-License-Identifier: MIT
#include "redirect/rules/conntrack_message.h"

#include <string.h>

#include "base/netlink.h"

const struct rtattr *conntrack_attribute(const struct nlmsghdr *message,
					 unsigned short type)
{
	const size_t size = sizeof(struct nfgenmsg);

	if (!netlink_body(message, CONNTRACK_MESSAGE(IPCTNL_MSG_CT_NEW), size))
		return NULL;
	return netlink_attribute(message, size, type);
}

uint8_t conntrack_byte(const struct rtattr *attribute)
{
	if (!attribute || RTA_PAYLOAD(attribute) < 1)
		return 0;
	return *(const uint8_t *)RTA_DATA(attribute);
}

static const struct rtattr *protocol(const struct rtattr *tuple,
				     unsigned short type)
{
	return netlink_nested(netlink_nested(tuple, CTA_TUPLE_PROTO), type);
}

bool conntrack_is_tcp(const struct rtattr *tuple)
{
	return conntrack_byte(protocol(tuple, CTA_PROTO_NUM)) == IPPROTO_TCP;
}

uint16_t conntrack_port(const struct rtattr *tuple, unsigned short type)
{
	const struct rtattr *port = protocol(tuple, type);
	uint16_t value = 0;

	if (port && RTA_PAYLOAD(port) >= sizeof(value))
		memcpy(&value, RTA_DATA(port), sizeof(value));
	return ntohs(value);
}

static struct in6_addr address(const struct rtattr *tuple,
			       unsigned short ipv4_type,
			       unsigned short ipv6_type)
{
	const struct rtattr *ip = netlink_nested(tuple, CTA_TUPLE_IP);
	const struct rtattr *ipv4 = netlink_nested(ip, ipv4_type);
	const struct rtattr *ipv6 = netlink_nested(ip, ipv6_type);
	struct in6_addr value = IN6ADDR_ANY_INIT;

	if (ipv4 && RTA_PAYLOAD(ipv4) >= 4) {
		value.s6_addr[10] = value.s6_addr[11] = 0xff;
		memcpy(&value.s6_addr[12], RTA_DATA(ipv4), 4);
	} else if (ipv6 && RTA_PAYLOAD(ipv6) >= sizeof(value)) {
		memcpy(&value, RTA_DATA(ipv6), sizeof(value));
	}
	return value;
}

struct in6_addr conntrack_source(const struct rtattr *tuple)
{
	return address(tuple, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
}

struct in6_addr conntrack_destination(const struct rtattr *tuple)
{
	return address(tuple, CTA_IP_V4_DST, CTA_IP_V6_DST);
}
