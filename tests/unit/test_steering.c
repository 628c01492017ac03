// SPDX-License-Identifier: MIT
/*
 * The steering program on packets made by hand: a tap device in a network
 * namespace of this test's own carries them through the kernel, and the
 * program's counters tell what became of them. As root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/memory.h"
#include "listen/listener.h"
#include "redirect/bpf/interfaces.h"
#include "redirect/bpf/destinations.h"
#include "redirect/bpf/steering.h"
#include "redirect/bpf/tc.h"

#define SERVICE_PORT 443
#define LISTEN_PORT  21443
#define FRAME_SIZE   8192
/* Larger than a page, so that the tap device leaves it in fragments. */
#define LONG_PAYLOAD 5000

static const uint8_t host_mac[ETH_ALEN] = { 2, 0, 0, 0, 0, 1 };
static const uint8_t client_mac[ETH_ALEN] = { 2, 0, 0, 0, 0, 2 };

struct scene {
	int tap_fd;
	/* It is a tun device at this time. */
	bool no_link_layer;
	unsigned int ifindex;
	struct listeners listeners;
	struct program program;
	struct destinations destinations;
	struct tc_attachment attachment;
	uint16_t client_port;
};

/* A TCP segment to the host, and what surrounds it. */
struct packet {
	int family;
	uint8_t flags;
	uint16_t port;
	uint32_t sequence;
	uint32_t acknowledged;
	/* Network header options or extension headers, as they stand. */
	const uint8_t *extension;
	size_t extension_size;
	/* The type of the first extension header. */
	uint8_t next_header;
	/* NULL: the client's, and the host's. */
	const char *source;
	const char *destination;
	const uint8_t *mac;
	/* A tag's, 0 for no tag; 0x1000 stands for VLAN 0. */
	uint16_t vlan;
	uint16_t fragment_offset;
	/* TCP's options, a multiple of four bytes. */
	const uint8_t *options;
	size_t options_size;
	size_t payload;
	/* How much of it the device leaves in one piece. */
	uint16_t linear;
};

/* A device forgets them with its own address. */
#define NEIGHBOURS                                                   \
	"ip neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:02 "   \
	"dev tap0; "                                                 \
	"ip neighbour replace 2001:db8::2 lladdr 02:00:00:00:00:02 " \
	"dev tap0"

static void run(const char *command)
{
	assert_int_equal(system(command), 0);
}

static uint32_t sum(const void *data, size_t size, uint32_t start)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		start += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return start;
}

static uint16_t fold(uint32_t value)
{
	while (value >> 16)
		value = (value & 0xffff) + (value >> 16);
	return htons((uint16_t)~value);
}

static size_t put_ipv4(uint8_t *to, const struct packet *packet,
		       size_t tcp_size, uint32_t *pseudo)
{
	const char *source = packet->source ? packet->source : "192.0.2.2";
	const char *destination = packet->destination ? packet->destination
						      : "192.0.2.1";
	size_t size = sizeof(struct iphdr) + packet->extension_size;
	struct iphdr ip = {
		.version = 4,
		.ihl = (unsigned int)(size / 4) & 0xf,
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.tot_len = htons((uint16_t)(size + tcp_size)),
		.frag_off = htons(packet->fragment_offset),
	};

	inet_pton(AF_INET, source, &ip.saddr);
	inet_pton(AF_INET, destination, &ip.daddr);
	*pseudo = sum(&ip.saddr, 8, IPPROTO_TCP + (uint32_t)tcp_size);
	memcpy(to, &ip, sizeof(ip));
	if (packet->extension_size)
		memcpy(to + sizeof(ip), packet->extension,
		       packet->extension_size);
	ip.check = fold(sum(to, size, 0));
	memcpy(to, &ip, sizeof(ip));
	return size;
}

static size_t put_ipv6(uint8_t *to, const struct packet *packet,
		       size_t tcp_size, uint32_t *pseudo)
{
	const char *source = packet->source ? packet->source : "2001:db8::2";
	const char *destination = packet->destination ? packet->destination
						      : "2001:db8::1";
	size_t size = sizeof(struct ip6_hdr) + packet->extension_size;
	struct ip6_hdr ip = {
		.ip6_flow = htonl(6U << 28),
		.ip6_plen =
			htons((uint16_t)(packet->extension_size + tcp_size)),
		.ip6_nxt = packet->extension_size ? packet->next_header
						  : IPPROTO_TCP,
		.ip6_hlim = 64,
	};

	inet_pton(AF_INET6, source, &ip.ip6_src);
	inet_pton(AF_INET6, destination, &ip.ip6_dst);
	*pseudo = sum(&ip.ip6_src, 32, IPPROTO_TCP + (uint32_t)tcp_size);
	memcpy(to, &ip, sizeof(ip));
	if (packet->extension_size)
		memcpy(to + sizeof(ip), packet->extension,
		       packet->extension_size);
	return size;
}

static size_t put_ethernet(uint8_t *to, const struct packet *packet)
{
	const uint16_t type = htons(packet->family == AF_INET ? ETHERTYPE_IP
							      : ETHERTYPE_IPV6);
	const uint16_t tag[2] = { htons(ETHERTYPE_VLAN),
				  htons(packet->vlan & 0xfff) };
	uint8_t *end = to;

	memcpy(end, packet->mac ? packet->mac : host_mac, ETH_ALEN);
	memcpy(end + ETH_ALEN, client_mac, ETH_ALEN);
	end += 2 * ETH_ALEN;
	if (packet->vlan) {
		memcpy(end, tag, sizeof(tag));
		end += sizeof(tag);
	}
	memcpy(end, &type, sizeof(type));
	return (size_t)(end - to) + sizeof(type);
}

static void send_packet(const struct scene *scene, const struct packet *packet)
{
	static uint8_t buffer[FRAME_SIZE];
	struct virtio_net_hdr *offload = (struct virtio_net_hdr *)buffer;
	uint8_t *end = buffer + sizeof(*offload);
	struct tcphdr tcp = {
		.source = htons(scene->client_port),
		.dest = htons(packet->port ? packet->port : SERVICE_PORT),
		.seq = htonl(packet->sequence),
		.ack_seq = htonl(packet->acknowledged),
		.doff = (5 + packet->options_size / 4) & 0xf,
		.window = htons(65535),
	};
	size_t tcp_size = sizeof(tcp) + packet->options_size + packet->payload;
	uint32_t pseudo;

	memset(buffer, 0, sizeof(buffer));
	offload->hdr_len = packet->linear;
	if (!scene->no_link_layer)
		end += put_ethernet(end, packet);
	end += packet->family == AF_INET
		       ? put_ipv4(end, packet, tcp_size, &pseudo)
		       : put_ipv6(end, packet, tcp_size, &pseudo);
	tcp.th_flags = packet->flags;
	pseudo = sum(packet->options, packet->options_size, pseudo);
	tcp.check = fold(sum(&tcp, sizeof(tcp), pseudo));
	memcpy(end, &tcp, sizeof(tcp));
	if (packet->options_size)
		memcpy(end + sizeof(tcp), packet->options,
		       packet->options_size);
	end += tcp_size;
	assert_int_equal(write(scene->tap_fd, buffer, (size_t)(end - buffer)),
			 end - buffer);
}

/* Wait for a segment of the host to our client port; false after 2 s. */
static bool receive_segment(const struct scene *scene, struct tcphdr *tcp)
{
	uint8_t buffer[FRAME_SIZE];
	const uint8_t *frame = buffer + sizeof(struct virtio_net_hdr);
	struct pollfd readable = { .fd = scene->tap_fd, .events = POLLIN };

	while (poll(&readable, 1, 2000) == 1) {
		uint16_t type;

		assert_true(read(scene->tap_fd, buffer, sizeof(buffer)) > 0);
		memcpy(&type, frame + 2 * (size_t)ETH_ALEN, sizeof(type));
		memcpy(tcp,
		       frame + ETH_HLEN +
			       (ntohs(type) == ETHERTYPE_IP
					? sizeof(struct iphdr)
					: sizeof(struct ip6_hdr)),
		       sizeof(*tcp));
		if ((ntohs(type) == ETHERTYPE_IP ||
		     ntohs(type) == ETHERTYPE_IPV6) &&
		    ntohs(tcp->dest) == scene->client_port)
			return true;
	}
	return false;
}

struct counts {
	uint64_t packets[STEER_VERDICTS];
};

static struct counts read_counts(const struct scene *scene)
{
	struct counts counts;

	program_read(&scene->program, scene->ifindex, counts.packets,
		     STEER_VERDICTS);
	return counts;
}

static uint64_t total(const struct counts *counts)
{
	uint64_t packets = 0;

	for (int i = 0; i < STEER_VERDICTS; i++)
		packets += counts->packets[i];
	return packets;
}

/* A packet of a new flow must get @verdict; STEER_VERDICTS: none at all. */
static void expect(struct scene *scene, const struct packet *packet,
		   enum steer_verdict verdict)
{
	struct counts before = read_counts(scene);
	struct counts after;

	scene->client_port++;
	send_packet(scene, packet);
	after = read_counts(scene);
	assert_int_equal(total(&after) - total(&before),
			 verdict == STEER_VERDICTS ? 0 : 1);
	if (verdict != STEER_VERDICTS)
		assert_int_equal(after.packets[verdict],
				 before.packets[verdict] + 1);
}

/* The same again for a packet of the flow before. */
static void expect_again(struct scene *scene, const struct packet *packet,
			 enum steer_verdict verdict)
{
	scene->client_port--;
	expect(scene, packet, verdict);
}

static struct packet syn(int family)
{
	return (struct packet){ .family = family, .flags = TH_SYN };
}

static void set_enabled(const struct scene *scene, bool enabled)
{
	const struct program_switch wanted = {
		.enabled = enabled,
		.service_port = htons(SERVICE_PORT),
	};

	assert_int_equal(program_switch(&scene->program, &wanted), 0);
}

static const int families[] = { AF_INET, AF_INET6 };

static void test_syn_is_steered(void **state)
{
	struct scene *scene = *state;
	struct tcphdr answer;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct packet packet = syn(families[i]);

		expect(scene, &packet, STEER_STEERED);
		assert_true(receive_segment(scene, &answer));
		assert_int_equal(answer.th_flags, TH_SYN | TH_ACK);
		assert_int_equal(ntohs(answer.source), SERVICE_PORT);
		/* Its duplicate belongs to the handshake. */
		expect_again(scene, &packet, STEER_EXISTING_FLOW);
	}
}

static int listen_as_web_server(void)
{
	const struct sockaddr_in6 any = { .sin6_family = AF_INET6,
					  .sin6_port = htons(SERVICE_PORT) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any)),
			 0);
	assert_int_equal(listen(fd, 10), 0);
	return fd;
}

/* Its own handshakes under way, and not the web server's. */
static void test_latecomers(void **state)
{
	const struct redirect_config config = { .service_port = SERVICE_PORT,
						.listen_port = LISTEN_PORT };
	/* Handshakes of the last one's kind belong to a device. */
	const struct packet syns[] = {
		syn(AF_INET),
		syn(AF_INET6),
		{ .family = AF_INET6,
		  .flags = TH_SYN,
		  .source = "fe80::2",
		  .destination = "fe80::1" },
	};
	struct scene *scene = *state;
	int web = listen_as_web_server();
	struct tcphdr answer;

	run("ip address add fe80::1/64 dev tap0 nodad; "
	    "ip neighbour replace fe80::2 lladdr 02:00:00:00:00:02 dev tap0");
	for (size_t i = 0; i < ARRAY_SIZE(syns); i++) {
		struct packet packet = syns[i];

		set_enabled(scene, false);
		expect(scene, &packet, STEER_NOT_STEERING);
		assert_true(receive_segment(scene, &answer));
		assert_false(steering_has_latecomers(&scene->program, &config));
		set_enabled(scene, true);
		packet.sequence = 1000;
		expect(scene, &packet, STEER_STEERED);
		assert_true(receive_segment(scene, &answer));
		assert_true(steering_has_latecomers(&scene->program, &config));
		/* The last packet comes. */
		packet.flags = TH_ACK;
		packet.sequence = 1001;
		packet.acknowledged = ntohl(answer.seq) + 1;
		expect_again(scene, &packet, STEER_VERDICTS);
		assert_false(steering_has_latecomers(&scene->program, &config));
	}
	close(web);
	run("ip address del fe80::1/64 dev tap0");
}

static void test_other_segments_pass(void **state)
{
	static const uint8_t flags[] = {
		TH_SYN | TH_ACK, TH_SYN | TH_RST, TH_SYN | TH_FIN, TH_ACK,
		TH_FIN | TH_ACK, TH_RST,	  TH_RST | TH_ACK, 0,
	};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct packet packet = syn(families[i]);

		packet.port = SERVICE_PORT + 1;
		expect(*state, &packet, STEER_VERDICTS);
		packet.port = 0;
		for (size_t j = 0; j < ARRAY_SIZE(flags); j++) {
			packet.flags = flags[j];
			expect(*state, &packet, STEER_VERDICTS);
		}
	}
}

static void test_ipv4_options(void **state)
{
	/* The longest there are: a record route and the end of the list. */
	static const uint8_t options[40] = { 7, 39, 4 };
	struct packet packet = syn(AF_INET);

	packet.extension = options;
	packet.extension_size = sizeof(options);
	expect(*state, &packet, STEER_STEERED);
}

static void test_ipv6_extension_headers(void **state)
{
	/* Hop-by-hop, destination options of 16 bytes, then TCP; padding. */
	static const uint8_t options[] = {
		IPPROTO_DSTOPTS,
		0,
		1,
		4,
		0,
		0,
		0,
		0,
		IPPROTO_TCP,
		1,
		1,
		12,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
	};
	/* A routing header that is not at its end. */
	static const uint8_t routing[] = {
		IPPROTO_TCP, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0,
		0,	     0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	};
	/* An atomic fragment. */
	static const uint8_t fragment[] = { IPPROTO_TCP, 0, 0, 0, 0, 0, 0, 1 };
	/* More headers than anyone sends. */
	uint8_t many[7 * 8] = { 0 };
	struct packet packet = syn(AF_INET6);

	packet.next_header = IPPROTO_HOPOPTS;
	packet.extension = options;
	packet.extension_size = sizeof(options);
	expect(*state, &packet, STEER_STEERED);

	packet.next_header = IPPROTO_ROUTING;
	packet.extension = routing;
	packet.extension_size = sizeof(routing);
	expect(*state, &packet, STEER_VERDICTS);

	packet.next_header = IPPROTO_FRAGMENT;
	packet.extension = fragment;
	packet.extension_size = sizeof(fragment);
	expect(*state, &packet, STEER_VERDICTS);

	for (size_t i = 0; i < sizeof(many); i += 8) {
		many[i] = i + 8 < sizeof(many) ? IPPROTO_DSTOPTS : IPPROTO_TCP;
		many[i + 2] = 1;
		many[i + 3] = 4;
	}
	packet.next_header = IPPROTO_DSTOPTS;
	packet.extension = many;
	packet.extension_size = sizeof(many);
	expect(*state, &packet, STEER_VERDICTS);
}

/* What Linux sends before them: segment size, SACK, timestamps, scale. */
#define USUAL_OPTIONS \
	2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7

/* A new path of a connection that the web server has. */
static void test_mptcp(void **state)
{
	static const uint8_t begins[] = { USUAL_OPTIONS, 30, 4, 0x01, 0 };
	static const uint8_t joins[] = {
		USUAL_OPTIONS, 30, 12, 0x10, 1, 1, 2, 3, 4, 5, 6, 7, 8
	};
	/* In a header no longer than a usual one. */
	static const uint8_t joins_tersely[] = { 2, 4,	5,  0xb4, 1, 3, 3,
						 7, 30, 12, 0x10, 1, 1, 2,
						 3, 4,	5,  6,	  7, 8 };
	/* No end and no length that means anything. */
	static const uint8_t broken[] = { USUAL_OPTIONS, 9, 0, 0, 0 };
	static const uint8_t cut[] = { USUAL_OPTIONS, 1, 1, 1, 30 };
	static const struct {
		const uint8_t *options;
		size_t size;
		enum steer_verdict verdict;
	} cases[] = {
		{ begins, sizeof(begins), STEER_STEERED },
		{ joins, sizeof(joins), STEER_EXISTING_FLOW },
		{ joins_tersely, sizeof(joins_tersely), STEER_EXISTING_FLOW },
		{ broken, sizeof(broken), STEER_STEERED },
		{ cut, sizeof(cut), STEER_STEERED },
	};
	static const uint8_t ipv4_options[4] = { 1, 1, 1, 0 };
	static const uint8_t ipv6_options[8] = { IPPROTO_TCP, 0, 1, 4 };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct packet packet = syn(families[i]);

		for (size_t j = 0; j < ARRAY_SIZE(cases); j++) {
			packet.options = cases[j].options;
			packet.options_size = cases[j].size;
			expect(*state, &packet, cases[j].verdict);
		}
		packet.options = joins;
		packet.options_size = sizeof(joins);
		packet.payload = LONG_PAYLOAD;
		packet.linear = ETH_HLEN;
		expect(*state, &packet, STEER_EXISTING_FLOW);
		packet.linear = 0;
		packet.payload = 0;
		packet.extension = families[i] == AF_INET ? ipv4_options
							  : ipv6_options;
		packet.extension_size = families[i] == AF_INET
						? sizeof(ipv4_options)
						: sizeof(ipv6_options);
		packet.next_header = IPPROTO_DSTOPTS;
		expect(*state, &packet, STEER_EXISTING_FLOW);
	}
}

static void test_fragments_pass(void **state)
{
	struct packet packet = syn(AF_INET);

	packet.fragment_offset = IP_MF;
	expect(*state, &packet, STEER_VERDICTS);
	packet.fragment_offset = 1;
	expect(*state, &packet, STEER_VERDICTS);
	packet.fragment_offset = IP_DF;
	expect(*state, &packet, STEER_STEERED);
}

static void test_headers_in_page_fragments(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct packet packet = syn(families[i]);

		packet.payload = LONG_PAYLOAD;
		packet.linear = ETH_HLEN;
		expect(*state, &packet, STEER_STEERED);
	}
}

static void test_frames_of_others_pass(void **state)
{
	static const uint8_t stranger[ETH_ALEN] = { 2, 0, 0, 0, 0, 9 };

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct packet packet = syn(families[i]);

		packet.mac = stranger;
		expect(*state, &packet, STEER_VERDICTS);
		packet.mac = NULL;
		/* A VLAN device's, whoever has it. */
		packet.vlan = 7;
		expect(*state, &packet, STEER_VERDICTS);
		/* A priority is no VLAN. */
		packet.vlan = 0x1000;
		expect(*state, &packet, STEER_STEERED);
	}
}

/* Link addresses that an IP header could begin with, and the cloud's. */
static void test_link_addresses_that_look_like_ip(void **state)
{
	static const uint8_t firsts[] = { 0x42, 0x46, 0x4e, 0x60, 0x6e };
	uint8_t mac[ETH_ALEN];
	char command[80];

	memcpy(mac, host_mac, sizeof(mac));
	for (size_t i = 0; i < ARRAY_SIZE(firsts); i++) {
		mac[0] = firsts[i];
		snprintf(command, sizeof(command),
			 "ip link set tap0 address %02x:00:00:00:00:01",
			 mac[0]);
		run(command);
		for (size_t j = 0; j < ARRAY_SIZE(families); j++) {
			struct packet packet = syn(families[j]);

			packet.mac = mac;
			expect(*state, &packet, STEER_STEERED);
		}
	}
	run("ip link set tap0 address 02:00:00:00:00:01; " NEIGHBOURS);
}

/* What the program remembers of destinations is of no use to others. */
static void test_destinations_elsewhere_pass(void **state)
{
	static const char *const elsewhere[ARRAY_SIZE(families)][2] = {
		{ "198.51.100.1", "192.0.2.3" },
		{ "2001:db8:1::1", "2001:db8::3" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct packet here = syn(families[i]);
		struct packet other = syn(families[i]);

		for (size_t j = 0; j < ARRAY_SIZE(elsewhere[i]); j++) {
			other.destination = elsewhere[i][j];
			expect(*state, &here, STEER_STEERED);
			expect(*state, &other, STEER_NOT_LOCAL);
		}
	}
}

/* Long enough for the program to ask again whose an address is. */
static void wait_for_question(void)
{
	poll(NULL, 0, 500);
}

static void test_address_comes_and_goes(void **state)
{
	struct packet packet = syn(AF_INET);

	packet.destination = "192.0.2.3";
	expect(*state, &packet, STEER_NOT_LOCAL);
	run("ip address add 192.0.2.3/24 dev tap0");
	expect(*state, &packet, STEER_STEERED);
	run("ip address del 192.0.2.3/24 dev tap0");
	wait_for_question();
	expect(*state, &packet, STEER_NOT_LOCAL);
}

static void list_destinations(struct scene *scene)
{
	assert_int_equal(
		destinations_list(&scene->destinations, &scene->program), 0);
}

/* A packet to an address of ours, and one to @neighbours, of each family. */
static void expect_only_listed(struct scene *scene,
			       const char *const neighbours[])
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct packet here = syn(families[i]);
		struct packet other = syn(families[i]);

		other.destination = neighbours[i];
		expect(scene, &here, STEER_STEERED);
		expect(scene, &other, STEER_NOT_LOCAL);
	}
}

/* Where forwarding is off and devices are shared, the list of destinations. */
static void test_shared_devices(void **state)
{
	static const char *const neighbours[] = { "192.0.2.3", "2001:db8::3" };
	struct scene *scene = *state;
	const struct program_switch shared = { .enabled = 1,
					       .service_port =
						       htons(SERVICE_PORT),
					       .shared_devices = 1 };
	struct packet neighbour = syn(AF_INET);

	neighbour.destination = neighbours[0];
	run("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
	list_destinations(scene);
	assert_int_equal(program_switch(&scene->program, &shared), 0);
	expect_only_listed(scene, neighbours);

	run("ip address add 192.0.2.3/24 dev tap0");
	list_destinations(scene);
	expect(scene, &neighbour, STEER_STEERED);
	run("ip address del 192.0.2.3/24 dev tap0");
	list_destinations(scene);
	wait_for_question();
	expect(scene, &neighbour, STEER_NOT_LOCAL);
	run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
	set_enabled(scene, true);
}

static void expect_each(struct scene *scene,
			const char *const destinations[][3],
			enum steer_verdict verdict)
{
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		for (size_t j = 0; j < 3; j++) {
			struct packet packet = syn(families[i]);

			packet.destination = destinations[i][j];
			expect(scene, &packet, verdict);
		}
	}
}

/* Addresses that no interface has, as load balancers want it; one network lies
 * in another. */
static void test_local_routes(void **state)
{
	static const char *const within[][3] = {
		{ "203.0.113.0", "203.0.113.77", "203.0.113.255" },
		{ "2001:db8:7::", "2001:db8:7::77", "2001:db8:7:1::77" },
	};
	struct scene *scene = *state;
	const struct program_switch shared = { .enabled = 1,
					       .service_port =
						       htons(SERVICE_PORT),
					       .shared_devices = 1 };

	run("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0; "
	    "ip route add local 203.0.113.0/24 dev lo; "
	    "ip route add local 203.0.113.77 dev lo table 7; "
	    "ip -6 route add local 2001:db8:7::/48 dev lo; "
	    "ip -6 route add local 2001:db8:7::77 dev lo table 7");
	list_destinations(scene);
	assert_int_equal(program_switch(&scene->program, &shared), 0);
	expect_each(scene, within, STEER_STEERED);
	run("ip route del local 203.0.113.0/24; "
	    "ip route del local 203.0.113.77 table 7; "
	    "ip -6 route del local 2001:db8:7::/48; "
	    "ip -6 route del local 2001:db8:7::77 table 7");
	list_destinations(scene);
	wait_for_question();
	expect_each(scene, within, STEER_NOT_LOCAL);
	run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
	set_enabled(scene, true);
}

/* No route without a mark, which a packet gets later: not ours all the same. */
static void test_marked_rules(void **state)
{
	static const char *const elsewhere[] = { "203.0.113.1",
						 "2001:db8:7::1" };
	struct scene *scene = *state;
	const struct program_switch marked = { .enabled = 1,
					       .service_port =
						       htons(SERVICE_PORT),
					       .marked_rules = 1 };

	list_destinations(scene);
	assert_int_equal(program_switch(&scene->program, &marked), 0);
	expect_only_listed(scene, elsewhere);
	set_enabled(scene, true);
}

static void test_switches(void **state)
{
	struct scene *scene = *state;
	const struct listeners only_ipv6 = { .ipv4 = -1,
					     .ipv6 = scene->listeners.ipv6 };
	struct packet ipv4 = syn(AF_INET);
	struct packet ipv6 = syn(AF_INET6);

	set_enabled(scene, false);
	expect(scene, &ipv4, STEER_NOT_STEERING);
	set_enabled(scene, true);

	/* The program's clock may be behind, by ticks of a slow machine. */
	*scene->program.lease = monotonic_ns() - NS_PER_S;
	expect(scene, &ipv4, STEER_NOT_STEERING);
	*scene->program.lease = monotonic_ns() + 60 * NS_PER_S;
	expect(scene, &ipv4, STEER_STEERED);

	assert_int_equal(steering_set_listeners(&scene->program, &only_ipv6),
			 0);
	expect(scene, &ipv4, STEER_NOT_STEERING);
	expect(scene, &ipv6, STEER_STEERED);
	assert_int_equal(
		steering_set_listeners(&scene->program, &scene->listeners), 0);
}

/* The handshake by cookie, also while steering is paused. */
static void test_syn_cookies(void **state)
{
	struct scene *scene = *state;
	struct sockaddr_storage local;
	socklen_t size = sizeof(local);
	struct tcphdr answer;

	run("sysctl -qw net.ipv4.tcp_syncookies=2");
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const int listener = families[i] == AF_INET
					     ? scene->listeners.ipv4
					     : scene->listeners.ipv6;
		struct packet packet = syn(families[i]);
		struct pollfd ready = { .fd = listener, .events = POLLIN };
		int fd;

		packet.sequence = 1000;
		expect(scene, &packet, STEER_STEERED);
		assert_true(receive_segment(scene, &answer));
		packet.flags = TH_ACK;
		packet.sequence = 1001;
		packet.acknowledged = ntohl(answer.seq);
		/* A cookie that is none. */
		expect_again(scene, &packet, STEER_VERDICTS);
		set_enabled(scene, false);
		packet.acknowledged = ntohl(answer.seq) + 1;
		expect_again(scene, &packet, STEER_COOKIE);
		set_enabled(scene, true);
		assert_int_equal(poll(&ready, 1, 2000), 1);
		fd = accept(listener, NULL, NULL);
		assert_true(fd >= 0);
		assert_int_equal(
			getsockname(fd, (struct sockaddr *)&local, &size), 0);
		assert_int_equal(
			ntohs(((struct sockaddr_in *)&local)->sin_port),
			SERVICE_PORT);
		close(fd);
	}
	run("sysctl -qw net.ipv4.tcp_syncookies=1");
}

/* A steered SYN that the firewall drops: the next one goes its own way. */
static void test_unanswered_flow_is_given_up(void **state)
{
	struct scene *scene = *state;
	struct packet packet = syn(AF_INET);
	struct packet other = syn(AF_INET);

	/* The second rule is there to have conntrack at work. */
	run("nft 'add table ip t; add chain ip t c "
	    "{ type filter hook input priority 0; }; "
	    "add rule ip t c ct state invalid drop; "
	    "add rule ip t c tcp dport 443 drop'");
	expect(scene, &packet, STEER_STEERED);
	poll(NULL, 0, 600);
	expect_again(scene, &packet, STEER_UNANSWERED);
	run("nft delete table ip t");
	expect(scene, &other, STEER_STEERED);
}

/* A program of somebody else's on the same hook. */
struct foreign {
	int program_fd;
	int link_fd;
	uint32_t priority;
};

static void attach_tcx(struct foreign *foreign, const struct scene *scene,
		       bool ahead)
{
	/* BPF_TCX_INGRESS and BPF_F_BEFORE, as in tc.c. */
	LIBBPF_OPTS(bpf_link_create_opts, options,
		    .flags = ahead ? 1U << 3 : 0);

	foreign->link_fd = bpf_link_create(foreign->program_fd,
					   (int)scene->ifindex,
					   (enum bpf_attach_type)46, &options);
	assert_true(foreign->link_fd >= 0);
}

static void attach_filter(struct foreign *foreign, const struct scene *scene,
			  bool ahead)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)scene->ifindex,
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = foreign->program_fd,
		    .priority = ahead ? 1 : 1000, .handle = 1);

	assert_int_equal(bpf_tc_attach(&hook, &filter), 0);
	foreign->priority = filter.priority;
}

/* One that says @verdict to every packet, ahead of ours or behind. */
static struct foreign attach_foreign(const struct scene *scene, int verdict,
				     bool ahead)
{
	const struct bpf_insn instructions[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = verdict },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct foreign foreign = { .link_fd = -1 };

	foreign.program_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "foreign",
					   "MIT", instructions,
					   ARRAY_SIZE(instructions), NULL);
	assert_true(foreign.program_fd >= 0);
	if (scene->attachment.way == TC_TCX)
		attach_tcx(&foreign, scene, ahead);
	else
		attach_filter(&foreign, scene, ahead);
	return foreign;
}

static void detach_foreign(const struct scene *scene, struct foreign *foreign)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)scene->ifindex,
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .priority = foreign->priority,
		    .handle = 1);

	if (foreign->priority)
		assert_int_equal(bpf_tc_detach(&hook, &filter), 0);
	close_fd_at(&foreign->link_fd);
	close_fd_at(&foreign->program_fd);
}

static bool is_behind(const struct scene *scene)
{
	char text[80];

	return tc_is_behind(&scene->attachment, scene->program.id, text,
			    sizeof(text));
}

/* The next program has its say about what we have steered. */
static void test_chain_goes_on_behind_us(void **state)
{
	struct scene *scene = *state;
	struct packet packet = syn(AF_INET);
	struct foreign foreign = attach_foreign(scene, TC_ACT_SHOT, false);

	assert_false(is_behind(scene));
	expect(scene, &packet, STEER_STEERED);
	/* Dropped: nothing is known of it yet. */
	expect_again(scene, &packet, STEER_STEERED);
	detach_foreign(scene, &foreign);
	expect_again(scene, &packet, STEER_STEERED);
	expect_again(scene, &packet, STEER_EXISTING_FLOW);
}

/* One ahead of us may let the chain go on, or end it, as Cilium's does. */
static void test_program_ahead(void **state)
{
	struct scene *scene = *state;
	struct packet packet = syn(AF_INET);
	struct foreign foreign;

	foreign = attach_foreign(scene, TC_ACT_UNSPEC, true);
	assert_true(is_behind(scene));
	expect(scene, &packet, STEER_STEERED);
	detach_foreign(scene, &foreign);

	foreign = attach_foreign(scene, TC_ACT_OK, true);
	assert_true(is_behind(scene));
	expect(scene, &packet, STEER_VERDICTS);
	detach_foreign(scene, &foreign);
	assert_false(is_behind(scene));
}

/* By tcx we come first, whoever was there before. */
static void test_attaches_ahead_of_others(void **state)
{
	struct scene *scene = *state;
	struct packet packet = syn(AF_INET);
	struct foreign foreign;

	if (scene->attachment.way != TC_TCX)
		skip();
	assert_int_equal(tc_detach(&scene->attachment), 0);
	foreign = attach_foreign(scene, TC_ACT_OK, false);
	assert_int_equal(tc_attach(&scene->attachment, TC_TCX, scene->ifindex,
				   scene->program.fd, LISTEN_PORT),
			 0);
	assert_false(is_behind(scene));
	expect(scene, &packet, STEER_STEERED);
	detach_foreign(scene, &foreign);
}

static int open_device(const char *name, int kind)
{
	struct ifreq request = {
		.ifr_flags = (short)(kind | IFF_NO_PI | IFF_VNET_HDR),
	};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	strcpy(request.ifr_name, name);
	assert_int_equal(ioctl(fd, TUNSETIFF, &request), 0);
	return fd;
}

/*
 * A device without a link layer, and clients whose addresses look like an
 * Ethernet type with an IP header behind it.
 */
static void test_no_link_layer(void **state)
{
	static const char *const sources[] = {
		"203.0.113.2",
		"8.0.69.2",
		"2001:db8:9::2",
		"2001:db8:86dd:6000::2",
	};
	struct scene *scene = *state;
	const struct scene tap = *scene;

	scene->tap_fd = open_device("tun0", IFF_TUN);
	scene->ifindex = if_nametoindex("tun0");
	scene->no_link_layer = true;
	run("ip link set tun0 up");
	program_count(&scene->program, scene->ifindex);
	assert_int_equal(tc_attach(&scene->attachment, tap.attachment.way,
				   scene->ifindex, scene->program.fd,
				   LISTEN_PORT),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		struct packet packet =
			syn(strchr(sources[i], ':') ? AF_INET6 : AF_INET);

		packet.source = sources[i];
		/* Long enough for an Ethernet header more. */
		packet.payload = ETH_HLEN;
		expect(scene, &packet, STEER_STEERED);
		packet.port = SERVICE_PORT + 1;
		expect(scene, &packet, STEER_VERDICTS);
	}
	assert_int_equal(tc_detach(&scene->attachment), 0);
	program_forget(&scene->program, scene->ifindex);
	close(scene->tap_fd);
	scene->tap_fd = tap.tap_fd;
	scene->ifindex = tap.ifindex;
	scene->no_link_layer = false;
	scene->attachment = tap.attachment;
}

static void open_tap(struct scene *scene)
{
	scene->tap_fd = open_device("tap0", IFF_TAP);
	run("ip link set lo up; "
	    "ip link set tap0 address 02:00:00:00:00:01 up; "
	    "ip address add 192.0.2.1/24 dev tap0; "
	    "ip address add 2001:db8::1/64 dev tap0 nodad; " NEIGHBOURS "; "
	    "ip route add 198.51.100.0/24 via 192.0.2.2; "
	    "ip route add 2001:db8:1::/48 via 2001:db8::2; "
	    "sysctl -qw net.ipv4.ip_forward=1 "
	    "net.ipv6.conf.all.forwarding=1");
	scene->ifindex = if_nametoindex("tap0");
}

static void set_up(void **state, enum tc_way way)
{
	struct scene *scene = calloc(1, sizeof(*scene));

	assert_non_null(scene);
	*state = scene;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	open_tap(scene);
	program_raise_memlock();
	assert_int_equal(listeners_open(&scene->listeners, LISTENER_STEERED,
					LISTEN_PORT, true),
			 0);
	assert_int_equal(steering_load(&scene->program, 0), 0);
	program_count(&scene->program, scene->ifindex);
	assert_int_equal(
		steering_set_listeners(&scene->program, &scene->listeners), 0);
	assert_int_equal(tc_attach(&scene->attachment, way, scene->ifindex,
				   scene->program.fd, LISTEN_PORT),
			 0);
	assert_true(tc_is_attached(&scene->attachment, scene->program.id));
	*scene->program.lease = monotonic_ns() + 60 * NS_PER_S;
	set_enabled(scene, true);
	scene->client_port = 40000;
}

static int set_up_clsact(void **state)
{
	set_up(state, TC_CLSACT);
	return 0;
}

static int set_up_best(void **state)
{
	set_up(state, tc_best_way());
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	assert_int_equal(tc_detach(&scene->attachment), 0);
	assert_false(tc_is_attached(&scene->attachment, scene->program.id));
	program_unload(&scene->program);
	listeners_close(&scene->listeners);
	close(scene->tap_fd);
	free(scene);
	return 0;
}

/* The others leave handshakes behind. */
#define COMMON_TESTS                                                     \
	cmocka_unit_test(test_latecomers),                               \
		cmocka_unit_test(test_syn_is_steered),                   \
		cmocka_unit_test(test_other_segments_pass),              \
		cmocka_unit_test(test_ipv4_options),                     \
		cmocka_unit_test(test_ipv6_extension_headers),           \
		cmocka_unit_test(test_mptcp),                            \
		cmocka_unit_test(test_fragments_pass),                   \
		cmocka_unit_test(test_headers_in_page_fragments),        \
		cmocka_unit_test(test_frames_of_others_pass),            \
		cmocka_unit_test(test_destinations_elsewhere_pass),      \
		cmocka_unit_test(test_address_comes_and_goes),           \
		cmocka_unit_test(test_link_addresses_that_look_like_ip), \
		cmocka_unit_test(test_no_link_layer),                    \
		cmocka_unit_test(test_shared_devices),                   \
		cmocka_unit_test(test_local_routes),                     \
		cmocka_unit_test(test_marked_rules),                     \
		cmocka_unit_test(test_switches),                         \
		cmocka_unit_test(test_syn_cookies),                      \
		cmocka_unit_test(test_unanswered_flow_is_given_up),      \
		cmocka_unit_test(test_chain_goes_on_behind_us),          \
		cmocka_unit_test(test_program_ahead)

int main(void)
{
	const struct CMUnitTest clsact[] = { COMMON_TESTS };
	const struct CMUnitTest best[] = {
		COMMON_TESTS,
		cmocka_unit_test(test_attaches_ahead_of_others),
	};

	return cmocka_run_group_tests_name("clsact", clsact, set_up_clsact,
					   tear_down) +
	       cmocka_run_group_tests_name("best way", best, set_up_best,
					   tear_down);
}
