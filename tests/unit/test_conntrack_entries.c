// SPDX-License-Identifier: MIT
/*
 * The messages are judged as they are, and then made entries of a network
 * namespace of this test's own, as root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sched.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/netlink.h"
#include "redirect/iptables/conntrack_entries.h"

#define LISTEN_PORT 21443

struct entry {
	const char *what;
	sa_family_t family;
	uint8_t protocol;
	/* Where the client sent its packets; where their answers come from. */
	uint16_t original_port;
	uint16_t reply_port;
	uint8_t state;
	/* One side has data that the other has not acknowledged. */
	bool original_waits;
	bool reply_waits;
	/* What is expected. */
	bool ended;
};

static const struct entry entries[] = {
	{ "ended", AF_INET, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_TIME_WAIT, .ended = true },
	{ "ended, IPv6", AF_INET6, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_TIME_WAIT, .ended = true },
	{ "reset", AF_INET, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_CLOSE, .ended = true },
	{ "reset with data under way", AF_INET, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_CLOSE, .reply_waits = true, .ended = true },
	{ "a rule of the user's own", AF_INET, IPPROTO_TCP, 8443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_TIME_WAIT, .ended = true },
	{ "end of a download under way", AF_INET, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_TIME_WAIT, .reply_waits = true },
	{ "end of an upload under way", AF_INET, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_TIME_WAIT, .original_waits = true },
	{ "handshake", AF_INET, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_SYN_RECV },
	{ "alive", AF_INET, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_ESTABLISHED },
	{ "alive, IPv6", AF_INET6, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_ESTABLISHED },
	{ "half-closed", AF_INET, IPPROTO_TCP, 443, LISTEN_PORT,
	  .state = TCP_CONNTRACK_CLOSE_WAIT },
	{ "not redirected", AF_INET, IPPROTO_TCP, 443, 443,
	  .state = TCP_CONNTRACK_TIME_WAIT },
	{ "to the listener itself", AF_INET, IPPROTO_TCP, LISTEN_PORT,
	  LISTEN_PORT, .state = TCP_CONNTRACK_TIME_WAIT },
	{ "another instance's", AF_INET, IPPROTO_TCP, 443, 21444,
	  .state = TCP_CONNTRACK_TIME_WAIT },
	{ "UDP", AF_INET, IPPROTO_UDP, 443, LISTEN_PORT, .state = 0 },
};

struct message {
	_Alignas(struct nlmsghdr) char bytes[512];
};

static struct nlmsghdr *header_of(struct message *message)
{
	return (struct nlmsghdr *)message->bytes;
}

static struct rtattr *put(struct message *message, unsigned short type,
			  const void *value, size_t length)
{
	struct nlmsghdr *header = header_of(message);
	struct rtattr *attribute =
		(struct rtattr *)(message->bytes + header->nlmsg_len);

	assert_true(header->nlmsg_len + RTA_SPACE(length) <=
		    sizeof(message->bytes));
	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(length);
	if (length)
		memcpy(RTA_DATA(attribute), value, length);
	header->nlmsg_len += RTA_SPACE(length);
	return attribute;
}

static struct rtattr *nest(struct message *message, unsigned short type)
{
	return put(message, NLA_F_NESTED | type, NULL, 0);
}

static void end_nest(struct message *message, struct rtattr *attribute)
{
	attribute->rta_len = (unsigned short)(message->bytes +
					      header_of(message)->nlmsg_len -
					      (char *)attribute);
}

static void put_address(struct message *message, sa_family_t family,
			bool source, unsigned char last_byte)
{
	const struct in_addr ipv4 = { htonl(0xc0000200 + last_byte) };
	struct in6_addr ipv6 = { .s6_addr = { 0x20, 0x01, 0x0d, 0xb8 } };

	ipv6.s6_addr[15] = last_byte;
	if (family == AF_INET)
		put(message, source ? CTA_IP_V4_SRC : CTA_IP_V4_DST, &ipv4,
		    sizeof(ipv4));
	else
		put(message, source ? CTA_IP_V6_SRC : CTA_IP_V6_DST, &ipv6,
		    sizeof(ipv6));
}

static void put_tuple(struct message *message, const struct entry *entry,
		      bool reply, uint16_t client_port)
{
	struct rtattr *tuple =
		nest(message, reply ? CTA_TUPLE_REPLY : CTA_TUPLE_ORIG);
	struct rtattr *part = nest(message, CTA_TUPLE_IP);
	uint16_t source = htons(reply ? entry->reply_port : client_port);
	uint16_t destination =
		htons(reply ? client_port : entry->original_port);

	put_address(message, entry->family, true, reply ? 1 : 2);
	put_address(message, entry->family, false, reply ? 2 : 1);
	end_nest(message, part);
	part = nest(message, CTA_TUPLE_PROTO);
	put(message, CTA_PROTO_NUM, &entry->protocol, sizeof(entry->protocol));
	put(message, CTA_PROTO_SRC_PORT, &source, sizeof(source));
	put(message, CTA_PROTO_DST_PORT, &destination, sizeof(destination));
	end_nest(message, part);
	end_nest(message, tuple);
}

static void put_tcp(struct message *message, const struct entry *entry)
{
	struct nf_ct_tcp_flags original = {
		.flags = entry->original_waits
				 ? IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED
				 : 0,
		.mask = 0xff,
	};
	struct nf_ct_tcp_flags reply = {
		.flags = entry->reply_waits ? IP_CT_TCP_FLAG_DATA_UNACKNOWLEDGED
					    : 0,
		.mask = 0xff,
	};
	struct rtattr *info = nest(message, CTA_PROTOINFO);
	struct rtattr *tcp = nest(message, CTA_PROTOINFO_TCP);

	put(message, CTA_PROTOINFO_TCP_STATE, &entry->state,
	    sizeof(entry->state));
	put(message, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, &original,
	    sizeof(original));
	put(message, CTA_PROTOINFO_TCP_FLAGS_REPLY, &reply, sizeof(reply));
	end_nest(message, tcp);
	end_nest(message, info);
}

/* What the kernel would send of @entry, and takes to make it. */
static void make_message(struct message *message, const struct entry *entry,
			 uint16_t client_port)
{
	const struct nfgenmsg family = { .nfgen_family =
						 (uint8_t)entry->family };
	const uint32_t seconds = htonl(100);
	struct nlmsghdr *header = header_of(message);

	memset(message, 0, sizeof(*message));
	header->nlmsg_len = NLMSG_SPACE(sizeof(family));
	header->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW;
	memcpy(NLMSG_DATA(header), &family, sizeof(family));
	put_tuple(message, entry, false, client_port);
	put_tuple(message, entry, true, client_port);
	put(message, CTA_TIMEOUT, &seconds, sizeof(seconds));
	if (entry->protocol == IPPROTO_TCP)
		put_tcp(message, entry);
}

static void test_what_has_ended(void **state)
{
	struct message message;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		make_message(&message, &entries[i], 40000);
		if (conntrack_entry_has_ended(header_of(&message),
					      LISTEN_PORT) != entries[i].ended)
			fail_msg("misjudged: %s", entries[i].what);
	}
}

/* Nothing is read beyond the end, and what is missing is no reason. */
static void test_message_cut_short(void **state)
{
	struct message message;
	uint32_t length;

	(void)state;
	make_message(&message, &entries[0], 40000);
	length = header_of(&message)->nlmsg_len;
	for (uint32_t cut = NLMSG_HDRLEN; cut < length; cut++) {
		header_of(&message)->nlmsg_len = cut;
		assert_false(conntrack_entry_has_ended(header_of(&message),
						       LISTEN_PORT));
	}
	header_of(&message)->nlmsg_len = length;
	header_of(&message)->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) |
					  IPCTNL_MSG_CT_DELETE;
	assert_false(
		conntrack_entry_has_ended(header_of(&message), LISTEN_PORT));
}

/* Many more than fit into one datagram of a dump, each with its own client. */
#define ENTRIES (100 * ARRAY_SIZE(entries))

static uint16_t client_port(size_t index)
{
	return (uint16_t)(1024 + index);
}

static void create(int fd, const struct entry *entry, uint16_t port)
{
	struct message message;

	make_message(&message, entry, port);
	header_of(&message)->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	if (netlink_ask(fd, header_of(&message), NULL, NULL))
		fail_msg("not created: %s", entry->what);
}

/* Deletes it, too. */
static bool exists(int fd, const struct entry *entry, uint16_t port)
{
	struct message message;

	make_message(&message, entry, port);
	header_of(&message)->nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) |
					  IPCTNL_MSG_CT_DELETE;
	return netlink_ask(fd, header_of(&message), NULL, NULL) == 0;
}

static void test_the_rest_stays(void **state)
{
	cleanup_fd int fd = netlink_open(NETLINK_NETFILTER);

	(void)state;
	assert_true(fd >= 0);
	for (size_t i = 0; i < ENTRIES; i++)
		create(fd, &entries[i % ARRAY_SIZE(entries)], client_port(i));

	/* Of one family at a time. */
	assert_int_equal(conntrack_entries_delete_ended(AF_INET, LISTEN_PORT),
			 0);
	assert_true(exists(fd, &entries[1], client_port(1)));
	assert_int_equal(conntrack_entries_delete_ended(AF_INET6, LISTEN_PORT),
			 0);

	for (size_t i = 0; i < ENTRIES; i++) {
		const struct entry *entry = &entries[i % ARRAY_SIZE(entries)];

		if (exists(fd, entry, client_port(i)) == entry->ended)
			fail_msg("%s: %s", entry->ended ? "stays" : "is gone",
				 entry->what);
	}
}

static int set_up(void **state)
{
	(void)state;
	return unshare(CLONE_NEWNET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_has_ended),
		cmocka_unit_test(test_message_cut_short),
		cmocka_unit_test(test_the_rest_stays),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
