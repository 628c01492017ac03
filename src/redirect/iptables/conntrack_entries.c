// SPDX-License-Identifier: MIT
#include "redirect/iptables/conntrack_entries.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/netlink.h"
#include "redirect/rules/conntrack_message.h"

static bool is_led_to(const struct nlmsghdr *message, uint16_t listen_port)
{
	const struct rtattr *original, *reply;

	original = conntrack_attribute(message, CTA_TUPLE_ORIG);
	reply = conntrack_attribute(message, CTA_TUPLE_REPLY);
	return conntrack_is_tcp(original) &&
	       conntrack_port(reply, CTA_PROTO_SRC_PORT) == listen_port &&
	       conntrack_port(original, CTA_PROTO_DST_PORT) != listen_port;
}

bool conntrack_entry_has_ended(const struct nlmsghdr *message,
			       uint16_t listen_port)
{
	const struct rtattr *tcp;
	uint8_t flags;

	if (!is_led_to(message, listen_port))
		return false;
	tcp = netlink_nested(conntrack_attribute(message, CTA_PROTOINFO),
			     CTA_PROTOINFO_TCP);
	flags = conntrack_byte(
			netlink_nested(tcp, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL)) |
		conntrack_byte(
			netlink_nested(tcp, CTA_PROTOINFO_TCP_FLAGS_REPLY));
	switch (conntrack_byte(netlink_nested(tcp, CTA_PROTOINFO_TCP_STATE))) {
	case TCP_CONNTRACK_CLOSE:
		/* Ended by a reset. */
		return true;
	case TCP_CONNTRACK_TIME_WAIT:
		/*
		 * The kernel comes here with any ACK after both FINs, also one
		 * of data sent before: the last of a download may still be
		 * under way, and be sent again.
		 */
		return !(flags & IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED);
	default:
		return false;
	}
}

struct deletion {
	int fd;
	uint16_t listen_port;
	/* The first that failed, or 0. */
	int err;
};

/*
 * The same connection may have begun anew since the dump: the identifier tells
 * the kernel which of both is meant (and without a tuple it would delete all
 * entries, so that one is a must).
 */
static int delete_entry(int fd, const struct nlmsghdr *entry)
{
	static const unsigned short identity[] = { CTA_TUPLE_ORIG, CTA_ID,
						   CTA_ZONE };
	union {
		struct nlmsghdr header;
		char bytes[256];
	} request = { .header = { .nlmsg_len = NLMSG_SPACE(
					  sizeof(struct nfgenmsg)) } };
	struct nlmsghdr *header = &request.header;

	header->nlmsg_type = CONNTRACK_MESSAGE(IPCTNL_MSG_CT_DELETE);
	memcpy(NLMSG_DATA(header), NLMSG_DATA(entry), sizeof(struct nfgenmsg));
	for (size_t i = 0; i < ARRAY_SIZE(identity); i++) {
		const struct rtattr *attribute =
			conntrack_attribute(entry, identity[i]);

		if (!attribute)
			continue;
		if (header->nlmsg_len + RTA_ALIGN(attribute->rta_len) >
		    sizeof(request))
			return -EMSGSIZE;
		memcpy(request.bytes + header->nlmsg_len, attribute,
		       attribute->rta_len);
		header->nlmsg_len += RTA_ALIGN(attribute->rta_len);
	}
	return netlink_ask(fd, header, NULL, NULL);
}

/* In the middle of the dump, so that an entry has no time to change. */
static int delete_if_ended(const struct nlmsghdr *message, void *context)
{
	struct deletion *deletion = context;
	int err;

	if (!conntrack_entry_has_ended(message, deletion->listen_port))
		return 0;
	err = delete_entry(deletion->fd, message);
	/* -ENOENT: it has gone by itself, or another has taken its place. */
	if (err && err != -ENOENT && !deletion->err)
		deletion->err = err;
	return 0;
}

int conntrack_entries_delete_ended(sa_family_t family, uint16_t listen_port)
{
	const struct nfgenmsg wanted = { .nfgen_family = (uint8_t)family,
					 .version = NFNETLINK_V0 };
	struct deletion deletion = { .listen_port = listen_port };
	cleanup_fd int fd = netlink_open(NETLINK_NETFILTER);
	int err;

	if (fd < 0)
		return fd;
	deletion.fd = fd;
	err = netlink_dump(NETLINK_NETFILTER,
			   CONNTRACK_MESSAGE(IPCTNL_MSG_CT_GET), &wanted,
			   sizeof(wanted), delete_if_ended, &deletion);
	return err ? err : deletion.err;
}
