/* SPDX-License-Identifier: MIT */
/*
 * A flood of SYNs with forged sources, as fast as one core takes them:
 *
 *   flood DEVICE DESTINATION-MAC DESTINATION PORT COUNT SECONDS
 *
 * until COUNT were sent or SECONDS are over. It runs on the host that is
 * flooded: the kernel takes the SYNs for received by DEVICE. Nobody has to send
 * them (kernel 5.18, XDP's live frames), so that a core receives twice as many
 * as by sendmmsg() through a veth: what is left to limit the rate is that
 * host's own way from TC ingress to the SYN-ACK.
 *
 * Sources are the 65536 addresses of 198.18.0.0/16, which is set aside for such
 * tests (RFC 2544), with any port. At the end one line of JSON tells how many
 * were sent. For a network namespace of a test's own.
 */
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Of one call, which has to set up memory for all that it sends. */
#define BATCH	    16384
#define MAX_COUNT   10000000
#define MAX_SECONDS 60
#define SOURCES	    (198U << 24 | 18U << 16)

struct frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

#define SOURCE_OFFSET	(offsetof(struct frame, ip.saddr) + 2)
#define ID_OFFSET	offsetof(struct frame, ip.id)
#define PORT_OFFSET	offsetof(struct frame, tcp.source)
#define SEQUENCE_OFFSET offsetof(struct frame, tcp.seq)

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

/*
 * The SYN of which all others are made, with 0 for the random number. What the
 * number changes, its complement in the IP header's id and in the sequence
 * number makes up for: the checksums stay.
 */
static void forge(struct frame *frame, uint32_t destination, uint16_t port)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = sizeof(ip) / 4,
		.id = 0xffff,
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.tot_len = htons(sizeof(ip) + sizeof(struct tcphdr)),
		.saddr = htonl(SOURCES),
		.daddr = destination,
	};
	struct tcphdr tcp = {
		.dest = port,
		.seq = 0xffffffff,
		.doff = sizeof(tcp) / 4,
		.syn = 1,
		.window = htons(65535),
	};
	uint32_t pseudo = htons(IPPROTO_TCP) + htons(sizeof(tcp));

	pseudo += (ip.saddr & 0xffff) + (ip.saddr >> 16);
	pseudo += (ip.daddr & 0xffff) + (ip.daddr >> 16);
	tcp.check = checksum(&tcp, sizeof(tcp), pseudo);
	ip.check = checksum(&ip, sizeof(ip), 0);
	frame->ethernet.ether_type = htons(ETHERTYPE_IP);
	frame->ip = ip;
	frame->tcp = tcp;
}

#define INSTRUCTION(operation, to, from, at, value)                      \
	{                                                                \
		.code = (operation), .dst_reg = (to), .src_reg = (from), \
		.off = (__s16)(at), .imm = (value),                      \
	}
#define LOAD(size, to, from, at) \
	INSTRUCTION(BPF_LDX | BPF_MEM | (size), to, from, at, 0)
#define STORE(size, to, at, from) \
	INSTRUCTION(BPF_STX | BPF_MEM | (size), to, from, at, 0)
#define REGISTER(operation, to, from) \
	INSTRUCTION(BPF_ALU64 | (operation) | BPF_X, to, from, 0, 0)
#define NUMBER(operation, to, value) \
	INSTRUCTION(BPF_ALU64 | (operation) | BPF_K, to, 0, 0, value)

/* An XDP program that puts a random number into each frame (see forge()) and
 * has the kernel receive it. */
static int load_program(void)
{
	enum {
		R0,
		R1,
		R2,
		R3,
		FRAME = 7
	};
	const struct bpf_insn code[] = {
		LOAD(BPF_W, FRAME, R1, offsetof(struct xdp_md, data)),
		LOAD(BPF_W, R3, R1, offsetof(struct xdp_md, data_end)),
		REGISTER(BPF_MOV, R2, FRAME),
		NUMBER(BPF_ADD, R2, sizeof(struct frame)),
		NUMBER(BPF_MOV, R0, XDP_DROP),
		/* To the end, which no frame of ours does. */
		INSTRUCTION(BPF_JMP | BPF_JGT | BPF_X, R2, R3, 9, 0),
		INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0,
			    BPF_FUNC_get_prandom_u32),
		STORE(BPF_H, FRAME, SOURCE_OFFSET, R0),
		REGISTER(BPF_MOV, R1, R0),
		NUMBER(BPF_RSH, R1, 16),
		STORE(BPF_H, FRAME, PORT_OFFSET, R1),
		NUMBER(BPF_XOR, R0, -1),
		STORE(BPF_H, FRAME, ID_OFFSET, R0),
		STORE(BPF_W, FRAME, SEQUENCE_OFFSET, R0),
		NUMBER(BPF_MOV, R0, XDP_PASS),
		INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	union bpf_attr attributes = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		.license = (uintptr_t) "Dual MIT/GPL",
	};
	long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes,
			  sizeof(attributes));

	if (fd < 0) {
		perror("the XDP program");
		exit(EXIT_FAILURE);
	}
	return (int)fd;
}

static void send_batch(int program, const struct frame *frame,
		       unsigned int ifindex, unsigned int count)
{
	const struct xdp_md context = {
		.data_end = sizeof(*frame),
		.ingress_ifindex = ifindex,
	};
	union bpf_attr attributes = {
		.test = {
			.prog_fd = (uint32_t)program,
			.repeat = count,
			.data_in = (uintptr_t)frame,
			.data_size_in = sizeof(*frame),
			.ctx_in = (uintptr_t)&context,
			.ctx_size_in = sizeof(context),
			.flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		},
	};

	if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes,
		    sizeof(attributes)) < 0) {
		perror("frames for the device");
		exit(EXIT_FAILURE);
	}
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void flood(const struct frame *frame, unsigned int ifindex,
		  unsigned long count, double duration)
{
	int program = load_program();
	double start = seconds();
	double now = start;
	unsigned long sent = 0;

	while (sent < count && now - start < duration) {
		send_batch(program, frame, ifindex, BATCH);
		sent += BATCH;
		now = seconds();
	}
	printf("{\"sent\":%lu,\"seconds\":%.3f}\n", sent, now - start);
}

int main(int argc, char *argv[])
{
	const struct ether_addr *mac = argc == 7 ? ether_aton(argv[2]) : NULL;
	unsigned int ifindex = mac ? if_nametoindex(argv[1]) : 0;
	unsigned long count = mac ? strtoul(argv[5], NULL, 10) : 0;
	double duration = mac ? strtod(argv[6], NULL) : 0;
	struct frame frame = { 0 };
	uint32_t destination;

	if (!ifindex || inet_pton(AF_INET, argv[3], &destination) != 1 ||
	    count == 0 || count > MAX_COUNT || duration <= 0 ||
	    duration > MAX_SECONDS) {
		fprintf(stderr, "usage: flood DEVICE DESTINATION-MAC "
				"DESTINATION PORT COUNT SECONDS\n");
		return 2;
	}
	memcpy(frame.ethernet.ether_dhost, mac, ETH_ALEN);
	forge(&frame, destination, htons((uint16_t)strtoul(argv[4], NULL, 10)));
	flood(&frame, ifindex, count, duration);
	return EXIT_SUCCESS;
}
