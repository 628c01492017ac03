/* SPDX-License-Identifier: MIT */
/* What ctnetlink says of an entry of conntrack. Pure. */
#ifndef REDIRECT_RULES_CONNTRACK_MESSAGE_H
#define REDIRECT_RULES_CONNTRACK_MESSAGE_H

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* IPCTNL_MSG_CT_GET, ... as a message's type. */
#define CONNTRACK_MESSAGE(type) ((NFNL_SUBSYS_CTNETLINK << 8) | (type))

/* The attribute @type of the entry in @message, or NULL. */
const struct rtattr *conntrack_attribute(const struct nlmsghdr *message,
					 unsigned short type);

/* The first byte of the attribute's value, 0 if there is none. */
uint8_t conntrack_byte(const struct rtattr *attribute);

/* Of one direction (@tuple): is it of TCP; a port (CTA_PROTO_SRC_PORT, ...) in
 * host byte order, 0 if there is none. */
bool conntrack_is_tcp(const struct rtattr *tuple);
uint16_t conntrack_port(const struct rtattr *tuple, unsigned short type);

/* The same: where it comes from or goes to, IPv4 as ::ffff:a.b.c.d; all zeros
 * if it is not told. */
struct in6_addr conntrack_source(const struct rtattr *tuple);
struct in6_addr conntrack_destination(const struct rtattr *tuple);

#endif
