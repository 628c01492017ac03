// SPDX-License-Identifier: MIT
#include "redirect/bpf/conntrack_revive.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/netlink.h"
#include "redirect/rules/conntrack_message.h"

/* There as soon as conntrack is: without it nobody is to be asked, which would
 * have the kernel look for a module each time. */
#define CONNTRACK_IS_THERE "/proc/sys/net/netfilter/nf_conntrack_max"
/* Until the next packet, which gives it the kernel's own time. */
#define TIMEOUT_S 300

struct change {
	struct nlmsghdr header;
	struct nfgenmsg body;
	uint8_t attributes[256];
};

static void *end_of(struct change *change)
{
	return (char *)change + NLMSG_ALIGN(change->header.nlmsg_len);
}

static void add(struct change *change, unsigned short type, const void *value,
		size_t size)
{
	struct rtattr *attribute = end_of(change);

	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(size);
	memcpy(RTA_DATA(attribute), value, size);
	change->header.nlmsg_len = NLMSG_ALIGN(change->header.nlmsg_len) +
				   (uint32_t)RTA_ALIGN(attribute->rta_len);
}

static struct rtattr *begin(struct change *change, unsigned short type)
{
	struct rtattr *nest = end_of(change);

	add(change, type | NLA_F_NESTED, "", 0);
	return nest;
}

static void end(struct change *change, struct rtattr *nest)
{
	nest->rta_len = (unsigned short)((char *)end_of(change) - (char *)nest);
}

static void add_addresses(struct change *change,
			  const struct handoff_flow *flow)
{
	const bool ipv4 = change->body.nfgen_family == AF_INET;
	const size_t size = ipv4 ? sizeof(flow->client.words[3])
				 : sizeof(flow->client);
	struct rtattr *nest = begin(change, CTA_TUPLE_IP);

	add(change, ipv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC,
	    &flow->client.words[ipv4 ? 3 : 0], size);
	add(change, ipv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST,
	    &flow->server.words[ipv4 ? 3 : 0], size);
	end(change, nest);
}

static void add_ports(struct change *change, const struct handoff_flow *flow)
{
	const uint8_t protocol = IPPROTO_TCP;
	struct rtattr *nest = begin(change, CTA_TUPLE_PROTO);

	add(change, CTA_PROTO_NUM, &protocol, sizeof(protocol));
	add(change, CTA_PROTO_SRC_PORT, &flow->client_port,
	    sizeof(flow->client_port));
	add(change, CTA_PROTO_DST_PORT, &flow->server_port,
	    sizeof(flow->server_port));
	end(change, nest);
}

static void add_state(struct change *change)
{
	const uint8_t state = TCP_CONNTRACK_ESTABLISHED;
	const uint32_t timeout = htonl(TIMEOUT_S);
	struct rtattr *information = begin(change, CTA_PROTOINFO);
	struct rtattr *tcp = begin(change, CTA_PROTOINFO_TCP);

	add(change, CTA_PROTOINFO_TCP_STATE, &state, sizeof(state));
	end(change, tcp);
	end(change, information);
	add(change, CTA_TIMEOUT, &timeout, sizeof(timeout));
}

int conntrack_revive_open(void)
{
	return netlink_open(NETLINK_NETFILTER);
}

/* Begin a message of @type about the connection. */
static void begin_about(struct change *change, const struct handoff_flow *flow,
			unsigned short type)
{
	struct rtattr *tuple;
	struct in6_addr client;

	memcpy(&client, &flow->client, sizeof(client));
	change->header = (struct nlmsghdr){
		.nlmsg_len = NLMSG_LENGTH(sizeof(change->body)),
		.nlmsg_type = CONNTRACK_MESSAGE(type),
	};
	change->body = (struct nfgenmsg){
		.nfgen_family = IN6_IS_ADDR_V4MAPPED(&client) ? AF_INET
							      : AF_INET6,
		.version = NFNETLINK_V0,
	};
	tuple = begin(change, CTA_TUPLE_ORIG);
	add_addresses(change, flow);
	add_ports(change, flow);
	end(change, tuple);
}

int conntrack_revive(int fd, const struct handoff_flow *flow)
{
	struct change change;
	int err;

	if (access(CONNTRACK_IS_THERE, F_OK) < 0)
		return 0;
	begin_about(&change, flow, IPCTNL_MSG_CT_NEW);
	add_state(&change);
	err = netlink_ask(fd, &change.header, NULL, NULL);
	return err == -ENOENT ? 0 : err;
}

/* What conntrack says of the connection. */
struct answer {
	uint32_t status;
	uint8_t state;
};

static int read_answer(const struct nlmsghdr *message, void *context)
{
	struct answer *answer = context;

	answer->status =
		ntohl(netlink_u32(conntrack_attribute(message, CTA_STATUS)));
	answer->state = conntrack_byte(netlink_nested(
		netlink_nested(conntrack_attribute(message, CTA_PROTOINFO),
			       CTA_PROTOINFO_TCP),
		CTA_PROTOINFO_TCP_STATE));
	return 0;
}

bool conntrack_leads_away(int fd, const struct handoff_flow *flow)
{
	const uint32_t led_away = IPS_DST_NAT | IPS_ASSURED;
	struct answer answer = { .status = 0 };
	struct change question;

	if (access(CONNTRACK_IS_THERE, F_OK) < 0)
		return false;
	begin_about(&question, flow, IPCTNL_MSG_CT_GET);
	return !netlink_ask(fd, &question.header, read_answer, &answer) &&
	       (answer.status & led_away) == led_away &&
	       answer.state == TCP_CONNTRACK_ESTABLISHED;
}
