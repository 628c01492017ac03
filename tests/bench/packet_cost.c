// SPDX-License-Identifier: MIT
/*
 * packet_cost: what the programs at TC ingress cost a packet, beside a program
 * that does nothing.
 *
 * The kernel runs them on the same packets (BPF_PROG_TEST_RUN) in a network
 * namespace of this program's own, where a device has addresses and routes and
 * the listeners are there, so that every helper has real work. But for the
 * last one of steering, bpf_sk_assign(): it refuses outside of TC's own path.
 * Prints one JSON object with ns for each kind of packet; as root.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "listen/listener.h"
#include "base/log.h"
#include "redirect/bpf/handoff.h"
#include "redirect/bpf/steering.h"
#include "base/fd.h"
#include "base/memory.h"
#include "tests/unit/hello_builder.h"

#define SERVICE_PORT 443
#define LISTEN_PORT  21443
#define ROUNDS	     31
/* Runs of one packet for one figure; they are the same to the program. */
#define REPEAT 50000
/* New flows for one figure; each is new only once. */
#define FLOWS 1000

#define MOST_DATA 1440

struct frame {
	struct ether_header ethernet;
	struct iphdr ip;
	struct tcphdr tcp;
	uint8_t data[MOST_DATA];
} __attribute__((packed));

#define HEADERS_SIZE offsetof(struct frame, data)

enum content {
	CONTENT_NONE,
	/* What a TLS session carries. */
	CONTENT_SESSION,
	/* A visitor's hello. */
	CONTENT_HELLO,
};

/* What a packet is to the program. */
struct kind {
	const char *name;
	uint16_t port;
	uint8_t flags;
	/* Every run with another client port, or else all with the same. */
	bool new_flow;
	enum content content;
	size_t length;
};

static const struct kind steered[] = {
	{ "unrelated", .port = 22, .flags = TH_ACK },
	{ "established", .port = SERVICE_PORT, .flags = TH_ACK },
	/* One flow again and again, so that all of it is in the caches. */
	{ "syn", .port = SERVICE_PORT, .flags = TH_SYN },
	/* And the other extreme: each flow for the first time, with an entry
	 * to make for it, and a system call between two of them. */
	{ "new_flow", .port = SERVICE_PORT, .flags = TH_SYN, .new_flow = true },
};

static const struct kind handed_off[] = {
	{ "unrelated", .port = 22, .flags = TH_ACK },
	{ "ack", .port = SERVICE_PORT, .flags = TH_ACK },
	{ "data", .port = SERVICE_PORT, .flags = TH_ACK,
	  .content = CONTENT_SESSION, .length = MOST_DATA },
	{ "hello_500", .port = SERVICE_PORT, .flags = TH_ACK | TH_PUSH,
	  .content = CONTENT_HELLO, .length = 500 },
	{ "hello_1400", .port = SERVICE_PORT, .flags = TH_ACK | TH_PUSH,
	  .content = CONTENT_HELLO, .length = 1400 },
};

struct bench {
	struct listeners listeners;
	int empty_fd;
	/* What is measured. */
	int program_fd;
	uint32_t ifindex;
	uint32_t next_flow;
};

_Noreturn static void fail(const char *what, int err)
{
	fprintf(stderr, "packet_cost: %s: %s\n", what, error_text(err));
	exit(EXIT_FAILURE);
}

static void check(const char *what, int err)
{
	if (err < 0)
		fail(what, err);
}

/* As browsers send it, filled up to @length. */
static void write_hello(uint8_t *bytes, size_t length)
{
	static const char *const protocols[] = { "h2", "http/1.1", NULL };
	static struct hello hello;
	struct hello_spec spec = { .protocols = protocols,
				   .server_name = "www.example.org",
				   .key_share = 36,
				   .cipher_suites = 30,
				   .session_id = 32,
				   .grease = true };

	memset(&hello, 0, sizeof(hello));
	hello_build(&hello, &spec);
	/* Its extension has a header of its own. */
	spec.padding = length - hello.length - 4;
	memset(&hello, 0, sizeof(hello));
	hello_build(&hello, &spec);
	if (hello.length != length)
		fail("the hello has another length", -EMSGSIZE);
	memcpy(bytes, hello.bytes, hello.length);
}

static struct frame make_frame(const struct kind *kind, uint32_t flow)
{
	struct frame frame = {
		.ethernet = { .ether_dhost = { 2, 0, 0, 0, 0, 1 },
			      .ether_shost = { 2, 0, 0, 0, 0, 2 },
			      .ether_type = htons(ETHERTYPE_IP) },
		.ip = { .version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_TCP,
			.tot_len = htons(sizeof(struct iphdr) +
					 sizeof(struct tcphdr) + kind->length),
			/* 192.0.2.2 and others of its network. */
			.saddr = htonl(0xc0000202 + (flow >> 15) % 250),
			.daddr = htonl(0xc0000201) },
		.tcp = { .source = htons((uint16_t)(32768 + flow % 32768)),
			 .dest = htons(kind->port),
			 .doff = 5,
			 .window = htons(65535) },
	};

	frame.tcp.th_flags = kind->flags;
	if (kind->content == CONTENT_HELLO)
		write_hello(frame.data, kind->length);
	else
		/* Application data, as the first byte of a record says. */
		memset(frame.data, 23, sizeof(frame.data));
	return frame;
}

/* Run it @repeat times on one packet; ns for all of them. */
static uint64_t run(const struct bench *bench, int program_fd,
		    const struct kind *kind, struct frame *frame,
		    uint32_t repeat)
{
	struct __sk_buff context = { .ifindex = bench->ifindex };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame,
		    .data_size_in = HEADERS_SIZE + kind->length,
		    .ctx_in = &context, .ctx_size_in = sizeof(context),
		    .repeat = (int)repeat);

	check("cannot run the program",
	      bpf_prog_test_run_opts(program_fd, &options));
	return (uint64_t)options.duration * repeat;
}

/* ns a packet of this kind costs. */
static double measure(struct bench *bench, int program_fd,
		      const struct kind *kind)
{
	const uint32_t flows = kind->new_flow ? FLOWS : 1;
	const uint32_t repeat = kind->new_flow ? 1 : REPEAT;
	uint64_t total = 0;

	for (uint32_t i = 0; i < flows; i++) {
		struct frame frame = make_frame(kind, bench->next_flow);

		if (kind->new_flow)
			bench->next_flow++;
		total += run(bench, program_fd, kind, &frame, repeat);
	}
	return (double)total / ((double)flows * repeat);
}

static int compare(const void *one, const void *other)
{
	const double a = *(const double *)one;
	const double b = *(const double *)other;

	return (a > b) - (a < b);
}

static double median(double values[ROUNDS])
{
	qsort(values, ROUNDS, sizeof(*values), compare);
	return values[ROUNDS / 2];
}

static void report(struct bench *bench, const struct kind *kind)
{
	double empty[ROUNDS];
	double ours[ROUNDS];

	for (size_t i = 0; i < ROUNDS; i++) {
		empty[i] = measure(bench, bench->empty_fd, kind);
		ours[i] = measure(bench, bench->program_fd, kind);
	}
	printf("\"%s\":{\"empty_ns\":%.0f,\"ours_ns\":%.0f}", kind->name,
	       median(empty), median(ours));
}

static void report_all(struct bench *bench, const char *name,
		       const struct kind *kinds, size_t count)
{
	printf("\"%s\":{", name);
	for (size_t i = 0; i < count; i++) {
		printf("%s", i ? "," : "");
		report(bench, &kinds[i]);
	}
	printf("}");
}

static void set_up_network(struct bench *bench)
{
	check("cannot make a network namespace", unshare(CLONE_NEWNET));
	if (system("ip link set lo up && "
		   "ip link add cost0 address 02:00:00:00:00:01 type veth "
		   "peer name cost1 && "
		   "ip link set cost0 up && ip link set cost1 up && "
		   "ip address add 192.0.2.1/24 dev cost0 && "
		   "sysctl -qw net.ipv4.ip_forward=1"))
		fail("cannot set a device up", -EINVAL);
	bench->ifindex = if_nametoindex("cost0");
}

static int load_empty(void)
{
	/* return TCX_NEXT; */
	static const struct bpf_insn next[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = -1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "empty", "MIT", next,
			     ARRAY_SIZE(next), NULL);
}

/* On, and under lease for ever. */
static void enable(const struct bench *bench, const struct program *program)
{
	const struct program_switch enabled = {
		.supervised_until_ns = UINT64_MAX,
		.enabled = 1,
		.service_port = htons(SERVICE_PORT),
	};

	check("cannot switch it on", program_switch(program, &enabled));
	*program->lease = UINT64_MAX;
	program_count(program, bench->ifindex);
}

/* A figure of a program that had nothing to do would be a fine one. */
static void check_verdict(const struct bench *bench,
			  const struct program *program, size_t verdict,
			  const char *complaint)
{
	uint64_t packets[STEER_VERDICTS + HANDOFF_VERDICTS];

	program_read(program, bench->ifindex, packets, verdict + 1);
	if (!packets[verdict])
		fail(complaint, -EPROTO);
}

static void measure_steering(struct bench *bench)
{
	struct program program;

	check("cannot load the steering program", steering_load(&program, 0));
	check("cannot give it the listeners",
	      steering_set_listeners(&program, &bench->listeners));
	enable(bench, &program);
	bench->program_fd = program.fd;
	report_all(bench, "steer", steered, ARRAY_SIZE(steered));
	check_verdict(bench, &program, STEER_REFUSED,
		      "no SYN got as far as bpf_sk_assign()");
	program_unload(&program);
}

static void measure_handoff(struct bench *bench)
{
	struct handoff handoff;

	check("cannot load the handoff program", handoff_load(&handoff, NULL));
	enable(bench, &handoff.program);
	bench->program_fd = handoff.program.fd;
	report_all(bench, "handoff", handed_off, ARRAY_SIZE(handed_off));
	check_verdict(bench, &handoff.program, HANDOFF_ORDINARY,
		      "no hello was judged");
	handoff_unload(&handoff);
}

int main(void)
{
	struct bench bench = { .next_flow = 0 };

	program_raise_memlock();
	set_up_network(&bench);
	check("cannot listen",
	      listeners_open(&bench.listeners, LISTENER_STEERED, LISTEN_PORT,
			     true));
	bench.empty_fd = load_empty();
	check("cannot load an empty program", bench.empty_fd);

	printf("{");
	measure_handoff(&bench);
	printf(",");
	measure_steering(&bench);
	puts("}");
	listeners_close(&bench.listeners);
	close_fd_at(&bench.empty_fd);
	return EXIT_SUCCESS;
}
