/* SPDX-License-Identifier: MIT */
/*
 * A flood of SYNs with forged sources, as fast as one thread sends them:
 *
 *   flood DEVICE DESTINATION-MAC DESTINATION PORT SECONDS
 *
 * Sources are the 131072 addresses of 198.18.0.0/15, which is set aside for
 * such tests (RFC 2544). At the end one line of JSON tells how many were sent.
 * For a network namespace of a test's own; never for a network of others.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH	    64
#define MAX_SECONDS 60
#define SOURCES	    (198U << 24 | 18U << 16)
#define SOURCE_MASK 0x1ffffU

struct frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

static uint32_t random_number(void)
{
	static uint32_t state = 0x9e3779b9;

	/* Marsaglia's xorshift: not for secrets, but fast. */
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static uint16_t checksum(const void *data, size_t size, uint32_t start)
{
	uint32_t sum = start;
	uint16_t word;

	for (size_t i = 0; i + 1 < size; i += 2) {
		memcpy(&word, (const char *)data + i, sizeof(word));
		sum += word;
	}
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The next SYN in the place of the one before. */
static void forge(struct frame *frame)
{
	uint32_t pseudo = htons(IPPROTO_TCP) + htons(sizeof(frame->tcp));
	struct iphdr ip = frame->ip;
	struct tcphdr tcp = frame->tcp;

	ip.saddr = htonl(SOURCES | (random_number() & SOURCE_MASK));
	ip.check = 0;
	ip.check = checksum(&ip, sizeof(ip), 0);
	tcp.source = htons((uint16_t)(1024 + random_number() % 60000));
	tcp.seq = random_number();
	tcp.check = 0;
	pseudo += (ip.saddr & 0xffff) + (ip.saddr >> 16);
	pseudo += (ip.daddr & 0xffff) + (ip.daddr >> 16);
	tcp.check = checksum(&tcp, sizeof(tcp), pseudo);
	frame->ip = ip;
	frame->tcp = tcp;
}

static int open_device(const char *device)
{
	const int on = 1;
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_ifindex = (int)if_nametoindex(device),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || !address.sll_ifindex ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) <
		    0) {
		perror(device);
		exit(EXIT_FAILURE);
	}
	return fd;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void flood(int fd, const struct frame *first, double duration)
{
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec parts[BATCH];
	struct frame frames[BATCH];
	unsigned long long sent = 0;
	double start = seconds();
	double now = start;

	for (int i = 0; i < BATCH; i++) {
		frames[i] = *first;
		parts[i] = (struct iovec){ &frames[i], sizeof(frames[i]) };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (now - start < duration) {
		int count;

		for (int i = 0; i < BATCH; i++)
			forge(&frames[i]);
		count = sendmmsg(fd, messages, BATCH, 0);
		/* ENOBUFS: the other end is full. */
		sent += count > 0 ? (unsigned long long)count : 0;
		now = seconds();
	}
	printf("{\"sent\":%llu,\"seconds\":%.3f}\n", sent, now - start);
}

int main(int argc, char *argv[])
{
	const struct ether_addr *mac = argc == 6 ? ether_aton(argv[2]) : NULL;
	struct frame frame = {
		.ethernet = { .ether_type = htons(ETHERTYPE_IP) },
		.ip = { .version = 4,
			.ihl = sizeof(struct iphdr) / 4,
			.ttl = 64,
			.protocol = IPPROTO_TCP,
			.tot_len = htons(sizeof(struct iphdr) +
					 sizeof(struct tcphdr)) },
		.tcp = { .doff = sizeof(struct tcphdr) / 4,
			 .syn = 1,
			 .window = htons(65535) },
	};
	double duration = argc == 6 ? strtod(argv[5], NULL) : 0;

	if (!mac || inet_pton(AF_INET, argv[3], &frame.ip.daddr) != 1 ||
	    duration <= 0 || duration > MAX_SECONDS) {
		fprintf(stderr, "usage: flood DEVICE DESTINATION-MAC "
				"DESTINATION PORT SECONDS\n");
		return 2;
	}
	memcpy(frame.ethernet.ether_dhost, mac, ETH_ALEN);
	frame.tcp.dest = htons((uint16_t)strtoul(argv[4], NULL, 10));
	flood(open_device(argv[1]), &frame, duration);
	return EXIT_SUCCESS;
}
