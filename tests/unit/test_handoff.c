// SPDX-License-Identifier: MIT
/*
 * The handoff program and the sockets made from what it takes, between two
 * network namespaces of this test's own: a host with a web server's listener,
 * and a client. As root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "hello/domain_list.h"
#include "redirect/bpf/conntrack_revive.h"
#include "redirect/bpf/handoff.h"
#include "redirect/bpf/tc.h"
#include "tests/unit/hello_builder.h"

#define SERVICE_PORT 443
#define INSTANCE     21443
#define WAIT_MS	     3000
#define BULK	     100000

struct scene {
	int host_ns;
	int client_ns;
	int first_ns;
	unsigned int ifindex;
	int web[2];
	/* For packets that no kernel has made, and where they go. */
	int wire;
	struct sockaddr_ll outside;
	struct handoff handoff;
	struct tc_attachment attachment;
	struct program_switch program_switch;
	/* What holds when a connection is handed over, as a command says. */
	const char *holds;
	/* What was handed over last, and how many. */
	int handed;
	uint64_t handed_count;
};

static const int families[] = { AF_INET, AF_INET6 };

static void run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void enter(int ns)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

static socklen_t host_address(int family, uint16_t port,
			      struct sockaddr_storage *address)
{
	struct sockaddr_in ipv4 = { .sin_family = AF_INET,
				    .sin_port = htons(port) };
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6,
				     .sin6_port = htons(port) };

	inet_pton(AF_INET, "192.0.2.1", &ipv4.sin_addr);
	inet_pton(AF_INET6, "2001:db8::1", &ipv6.sin6_addr);
	if (family == AF_INET)
		memcpy(address, &ipv4, sizeof(ipv4));
	else
		memcpy(address, &ipv6, sizeof(ipv6));
	return family == AF_INET ? sizeof(ipv4) : sizeof(ipv6);
}

static int try_to_listen(int family, uint16_t port)
{
	struct sockaddr_storage address;
	socklen_t length = host_address(family, port, &address);
	const int on = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&address, length) == 0 &&
	    listen(fd, 1024) == 0)
		return fd;
	close(fd);
	return -1;
}

static int hand_over(void *context, int fd)
{
	struct scene *scene = context;

	close_fd_at(&scene->handed);
	scene->handed = dup(fd);
	scene->handed_count++;
	if (scene->holds)
		run(scene->holds);
	return 0;
}

static void apply(struct scene *scene)
{
	assert_int_equal(
		program_switch(&scene->handoff.program, &scene->program_switch),
		0);
}

static void load(struct scene *scene, const struct domain_list *names)
{
	assert_int_equal(handoff_load(&scene->handoff, names), 0);
	scene->handoff.hand_over = hand_over;
	scene->handoff.hand_over_context = scene;
	program_count(&scene->handoff.program, scene->ifindex);
	assert_int_equal(tc_attach(&scene->attachment, tc_best_way(),
				   scene->ifindex, scene->handoff.program.fd,
				   INSTANCE),
			 0);
	*scene->handoff.program.lease = UINT64_MAX;
	scene->program_switch = (struct program_switch){
		.supervised_until_ns = UINT64_MAX,
		.enabled = 1,
		.only_listed_names = names->count > 0,
		.service_port = htons(SERVICE_PORT),
	};
	apply(scene);
}

static void unload(struct scene *scene)
{
	tc_detach(&scene->attachment);
	handoff_unload(&scene->handoff);
}

static void open_wire(struct scene *scene)
{
	struct ifreq outside = { .ifr_name = "outside" };

	enter(scene->host_ns);
	assert_int_equal(ioctl(scene->web[0], SIOCGIFHWADDR, &outside), 0);
	enter(scene->client_ns);
	scene->outside = (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = (int)if_nametoindex("far"),
		.sll_halen = ETH_ALEN,
	};
	memcpy(scene->outside.sll_addr, outside.ifr_hwaddr.sa_data, ETH_ALEN);
	scene->wire = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(scene->wire >= 0);
	enter(scene->host_ns);
}

static int open_scene(void **state)
{
	static const struct domain_list all;
	struct scene *scene = calloc(1, sizeof(*scene));

	*state = scene;
	scene->handed = -1;
	log_settings.level = LOG_LEVEL_WARNING;
	scene->first_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	scene->client_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	scene->host_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	{
		char command[1024];

		snprintf(command, sizeof(command),
			 "ip link set lo up && "
			 "ip link add outside type veth peer name far "
			 "netns /proc/%d/fd/%d && "
			 "ip address add 192.0.2.1/24 dev outside && "
			 "ip address add 2001:db8::1/64 dev outside nodad && "
			 "ip link set outside up",
			 getpid(), scene->client_ns);
		run(command);
	}
	enter(scene->client_ns);
	run("ip address add 192.0.2.2/24 dev far && "
	    "ip address add 2001:db8::2/64 dev far nodad && "
	    "ip link set lo up && ip link set far up");
	enter(scene->host_ns);
	scene->ifindex = if_nametoindex("outside");
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		scene->web[i] = try_to_listen(families[i], SERVICE_PORT);
		assert_true(scene->web[i] >= 0);
	}
	open_wire(scene);
	load(scene, &all);
	return 0;
}

static int close_scene(void **state)
{
	struct scene *scene = *state;

	enter(scene->host_ns);
	unload(scene);
	close_fd_at(&scene->handed);
	close_fd_at(&scene->wire);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		close_fd_at(&scene->web[i]);
	enter(scene->first_ns);
	close(scene->host_ns);
	close(scene->client_ns);
	close(scene->first_ns);
	free(scene);
	return 0;
}

/* By @source, or whatever address the client has. */
static int visit_from(struct scene *scene, int family,
		      const struct sockaddr *source)
{
	struct sockaddr_storage address;
	socklen_t length = host_address(family, SERVICE_PORT, &address);
	const int on = 1;
	int fd;

	enter(scene->client_ns);
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (source)
		assert_int_equal(bind(fd, source, length), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, length), 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	enter(scene->host_ns);
	return fd;
}

static int visit(struct scene *scene, int family)
{
	return visit_from(scene, family, NULL);
}

static bool wait_for(int fd, short events)
{
	struct pollfd ready = { .fd = fd, .events = events };

	return poll(&ready, 1, WAIT_MS) == 1;
}

static int accept_at_web(struct scene *scene, int family)
{
	const int web = scene->web[family == AF_INET6];

	assert_true(wait_for(web, POLLIN));
	return accept4(web, NULL, NULL, SOCK_CLOEXEC);
}

static void send_all(int fd, const void *bytes, size_t length)
{
	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
}

static void expect_bytes(int fd, const void *bytes, size_t length)
{
	cleanup_free uint8_t *got = malloc(length);
	size_t have = 0;

	while (have < length) {
		ssize_t more;

		assert_true(wait_for(fd, POLLIN));
		more = recv(fd, got + have, length - have, 0);
		assert_true(more > 0);
		have += (size_t)more;
	}
	assert_memory_equal(got, bytes, length);
}

/* Something in both directions, more than a window. */
static void exchange(int one, int other)
{
	cleanup_free uint8_t *bulk = malloc(BULK);

	for (size_t i = 0; i < BULK; i++)
		bulk[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t at = 0; at < BULK; at += BULK / 10) {
		send_all(one, bulk + at, BULK / 10);
		expect_bytes(other, bulk + at, BULK / 10);
		send_all(other, bulk + at, BULK / 10);
		expect_bytes(one, bulk + at, BULK / 10);
	}
}

static const char *const acme[] = { "acme-tls/1", NULL };
static const char *const browser[] = { "h2", "http/1.1", NULL };

static const struct hello *build(const struct hello_spec *spec)
{
	static struct hello hello;

	memset(&hello, 0, sizeof(hello));
	hello_build(&hello, spec);
	return &hello;
}

static const struct hello *challenge(void)
{
	static const struct hello_spec spec = { .protocols = acme,
						.server_name = "example.org",
						.session_id = 32 };

	return build(&spec);
}

static uint64_t counted(const struct scene *scene, enum handoff_verdict verdict)
{
	uint64_t packets[HANDOFF_VERDICTS];

	program_read(&scene->handoff.program, scene->ifindex, packets,
		     HANDOFF_VERDICTS);
	return packets[verdict];
}

/* The kernel may be a while behind what is sent. */
static void wait_until_counted(const struct scene *scene,
			       enum handoff_verdict verdict, uint64_t packets)
{
	const uint64_t deadline = monotonic_ns() + WAIT_MS * NS_PER_MS;

	while (counted(scene, verdict) < packets && monotonic_ns() < deadline)
		usleep(1000);
	assert_true(counted(scene, verdict) >= packets);
}

/* Until @count of it is so many. */
static void receive_until(struct scene *scene, const uint64_t *count,
			  uint64_t wanted)
{
	handoff_receive(&scene->handoff);
	while (*count < wanted &&
	       wait_for(handoff_event_fd(&scene->handoff), POLLIN))
		handoff_receive(&scene->handoff);
	assert_int_equal(*count, wanted);
}

/* The client's hello is at the web server, and it talks to it. */
static void expect_at_web(struct scene *scene, int family, int client,
			  const struct hello *hello)
{
	cleanup_fd int web = accept_at_web(scene, family);

	expect_bytes(web, hello->bytes, hello->length);
	handoff_receive(&scene->handoff);
	exchange(client, web);
}

/* It is with us, and the web server's socket has been reset. */
static void expect_taken(struct scene *scene, int family, int client,
			 const struct hello *hello)
{
	cleanup_fd int web = -1;
	char byte;

	if (scene->handed < 0)
		assert_true(
			wait_for(handoff_event_fd(&scene->handoff), POLLIN));
	handoff_receive(&scene->handoff);
	assert_true(scene->handed >= 0);
	expect_bytes(scene->handed, hello->bytes, hello->length);
	exchange(client, scene->handed);
	close_fd_at(&scene->handed);
	web = accept_at_web(scene, family);
	while (recv(web, &byte, 1, 0) > 0)
		;
	assert_int_equal(errno, ECONNRESET);
}

static void leaves_visitors_alone(void **state)
{
	struct scene *scene = *state;
	static const struct hello_spec specs[] = {
		{ .protocols = browser, .server_name = "example.org" },
		{ .server_name = "example.org", .padding = 3000 },
		{ .protocols = acme, .padding = 10, .padding_twice = true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(specs); j++) {
			const struct hello *hello = build(&specs[j]);
			cleanup_fd int client = visit(scene, families[i]);

			send_all(client, hello->bytes, hello->length);
			expect_at_web(scene, families[i], client, hello);
		}
	}
	assert_int_equal(scene->handed_count, 0);
	assert_int_equal(counted(scene, HANDOFF_ORDINARY), 6);
	assert_int_equal(counted(scene, HANDOFF_TAKEN), 0);
}

static void takes_a_challenge(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		cleanup_fd int client = visit(scene, families[i]);

		send_all(client, hello->bytes, hello->length);
		expect_taken(scene, families[i], client, hello);
	}
	assert_int_equal(scene->handoff.moved, 2);
	assert_int_equal(scene->handoff.failed, 0);
	assert_int_equal(counted(scene, HANDOFF_TAKEN), 2);
}

/* In so many segments, each of which the host has seen before the next. */
static void send_in_pieces(struct scene *scene, int client,
			   const struct hello *hello, size_t piece)
{
	for (size_t at = 0; at < hello->length; at += piece) {
		size_t length = hello->length - at < piece ? hello->length - at
							   : piece;
		int unsent = 1;

		send_all(client, hello->bytes + at, length);
		/* Until it is acknowledged, the next could join it. */
		while (ioctl(client, SIOCOUTQ, &unsent) == 0 && unsent &&
		       at + piece < hello->length) {
			handoff_receive(&scene->handoff);
			usleep(100);
		}
	}
}

static void takes_challenges_in_any_pieces(void **state)
{
	struct scene *scene = *state;
	static const size_t pieces[] = { 1, 5, 9, 11, 12, 40, 100, 120 };
	const struct hello *hello = challenge();

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		cleanup_fd int client = visit(scene, AF_INET);

		send_in_pieces(scene, client, hello, pieces[i]);
		expect_taken(scene, AF_INET, client, hello);
	}
}

static void takes_long_challenges(void **state)
{
	struct scene *scene = *state;
	struct hello_spec spec = { .protocols = acme,
				   .server_name = "example.org" };

	for (spec.padding = 1000; spec.padding < 8000; spec.padding += 1500) {
		const struct hello *hello = build(&spec);
		cleanup_fd int client = visit(scene, AF_INET6);

		send_all(client, hello->bytes, hello->length);
		expect_taken(scene, AF_INET6, client, hello);
	}
	spec.padding = 8200;
	{
		const struct hello *hello = build(&spec);
		cleanup_fd int client = visit(scene, AF_INET6);

		send_all(client, hello->bytes, hello->length);
		expect_at_web(scene, AF_INET6, client, hello);
	}
	assert_true(counted(scene, HANDOFF_TOO_LONG) >= 1);
}

/* It has more than is usual of everything, and its list is the last. */
static void takes_challenges_of_many_parts(void **state)
{
	struct scene *scene = *state;
	static const char *protocols[400];
	static const struct hello_spec spec = { .protocols = protocols,
						.grease = true };
	const struct hello *hello;
	cleanup_fd int client = visit(scene, AF_INET);

	for (size_t i = 0; i < ARRAY_SIZE(protocols) - 1; i++)
		protocols[i] = i == ARRAY_SIZE(protocols) - 2 ? "acme-tls/1"
							      : "x";
	hello = build(&spec);
	send_all(client, hello->bytes, hello->length);
	expect_taken(scene, AF_INET, client, hello);
}

/* As a balancer sends it; cut anywhere. */
static void takes_behind_a_proxy_header(void **state)
{
	static const uint8_t binary[] = { '\r', '\n', '\r', '\n', 0,   '\r',
					  '\n', 'Q',  'U',  'I',  'T', '\n',
					  0x21, 0x11, 0,    12,	  203, 0,
					  113,	9,    192,  0,	  2,   1,
					  0xd4, 0x31, 1,    0xbb };
	static const char text[] =
		"PROXY TCP4 203.0.113.9 192.0.2.1 54321 443\r\n";
	static const size_t pieces[] = { 5, 20, 60, 1000 };
	struct scene *scene = *state;

	for (size_t i = 0; i < 2 * ARRAY_SIZE(pieces); i++) {
		cleanup_fd int client = visit(scene, AF_INET);
		struct hello hello = { .length = 0 };

		if (i % 2)
			hello_bytes(&hello, binary, sizeof(binary));
		else
			hello_bytes(&hello, text, sizeof(text) - 1);
		hello_bytes(&hello, challenge()->bytes, challenge()->length);
		send_in_pieces(scene, client, &hello, pieces[i / 2]);
		expect_taken(scene, AF_INET, client, &hello);
	}
}

/* What happens meanwhile, each time that a connection's packets are no longer
 * kept from the port. */
static void (*meanwhile)(void);

/* In place of libbpf's. */
int bpf_map_delete_elem(int fd, const void *key)
{
	union bpf_attr attributes = { .map_fd = (uint32_t)fd,
				      .key = (uintptr_t)key };

	if (meanwhile)
		meanwhile();
	return syscall(SYS_bpf, BPF_MAP_DELETE_ELEM, &attributes,
		       sizeof(attributes)) < 0
		       ? -errno
		       : 0;
}

static struct {
	struct scene *scene;
	int client;
	int times;
} next;

static void send_next_challenge(void)
{
	const struct hello *hello = challenge();

	if (++next.times == 1) {
		send_all(next.client, hello->bytes, hello->length);
		wait_until_counted(next.scene, HANDOFF_TAKEN, 2);
	} else if (next.times == 3) {
		/* Now it is the next one's turn. */
		send_all(next.client, "x", 1);
		assert_true(wait_for(handoff_event_fd(&next.scene->handoff),
				     POLLIN));
	}
}

/* That comes while one is finished, and gets the number of its descriptor. */
static void loses_no_byte_behind_the_next_challenge(void **state)
{
	struct scene *scene = *state;
	struct hello hello = *challenge();
	cleanup_fd int client = visit(scene, AF_INET);
	uint8_t got[sizeof(hello.bytes)];

	next.scene = scene;
	next.client = visit(scene, AF_INET);
	next.times = 0;
	send_all(client, hello.bytes, hello.length);
	wait_until_counted(scene, HANDOFF_TAKEN, 1);
	meanwhile = send_next_challenge;
	handoff_receive(&scene->handoff);
	meanwhile = NULL;
	assert_int_equal(scene->handed_count, 2);
	hello.bytes[hello.length++] = 'x';
	assert_int_equal(recv(scene->handed, got, sizeof(got), MSG_DONTWAIT),
			 hello.length);
	assert_memory_equal(got, hello.bytes, hello.length);
	close(next.client);
}

/* What the client sends right behind its hello. */
static void loses_no_byte_that_follows(void **state)
{
	struct scene *scene = *state;
	struct hello hello = *challenge();
	cleanup_fd int client = visit(scene, AF_INET);

	send_all(client, hello.bytes, hello.length);
	for (int i = 0; i < 50; i++) {
		uint8_t byte = (uint8_t)i;

		send_all(client, &byte, 1);
		hello.bytes[hello.length++] = byte;
	}
	expect_taken(scene, AF_INET, client, &hello);
}

static void expect_at_web_now(struct scene *scene)
{
	const struct hello *hello = challenge();
	cleanup_fd int client = visit(scene, AF_INET);

	send_all(client, hello->bytes, hello->length);
	expect_at_web(scene, AF_INET, client, hello);
}

static void takes_nothing_without_a_lease(void **state)
{
	struct scene *scene = *state;

	*scene->handoff.program.lease = monotonic_ns() - NS_PER_S;
	expect_at_web_now(scene);
	*scene->handoff.program.lease = UINT64_MAX;
	scene->program_switch.supervised_until_ns = monotonic_ns() - NS_PER_S;
	apply(scene);
	expect_at_web_now(scene);
	assert_int_equal(counted(scene, HANDOFF_NOT_TAKING), 2);

	scene->program_switch.supervised_until_ns = UINT64_MAX;
	scene->program_switch.enabled = 0;
	apply(scene);
	expect_at_web_now(scene);
	assert_int_equal(counted(scene, HANDOFF_SEEN), 2);
}

static void takes_the_challenges_of_listed_names_alone(void **state)
{
	struct scene *scene = *state;
	struct domain_list names = { .count = 0 };
	static const struct {
		const char *name;
		bool taken;
	} cases[] = {
		{ "example.org", true },
		{ "EXAMPLE.Org.", true },
		{ "www.example.org", false },
		{ "a.example.net", true },
		{ "A-B.example.NET", true },
		{ "a.b.example.net", false },
		{ "example.net", false },
		{ ".example.net", false },
		{ "example.or", false },
		{ "xexample.org", false },
		{ "2.2.0.192.in-addr.arpa", true },
		{ NULL, false },
	};

	domain_list_add(&names, "Example.org");
	domain_list_add(&names, "*.example.net");
	domain_list_add(&names, "192.0.2.2");
	unload(scene);
	load(scene, &names);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct hello_spec spec = { .protocols = acme,
						 .server_name = cases[i].name };
		const struct hello *hello = build(&spec);
		cleanup_fd int client = visit(scene, AF_INET);

		/* The worker's list says the same. */
		assert_int_equal(
			domain_list_takes(&names, (const void *)cases[i].name,
					  cases[i].name ? strlen(cases[i].name)
							: 0),
			cases[i].taken);
		send_all(client, hello->bytes, hello->length);
		if (cases[i].taken)
			expect_taken(scene, AF_INET, client, hello);
		else
			expect_at_web(scene, AF_INET, client, hello);
	}
}

/* Nobody makes sockets: what is taken is bounded, and then the web server's. */
static void leaves_to_the_web_server_what_it_has_no_room_for(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	int clients[300];
	uint64_t taken;

	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		clients[i] = visit(scene, AF_INET);
		send_all(clients[i], hello->bytes, hello->length);
	}
	wait_until_counted(scene, HANDOFF_SEEN, ARRAY_SIZE(clients));
	taken = counted(scene, HANDOFF_TAKEN);
	/* One network may have so many at once. */
	assert_in_range(taken, 90, 200);
	assert_int_equal(counted(scene, HANDOFF_LIMITED),
			 ARRAY_SIZE(clients) - taken);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		close(clients[i]);
}

/* From an address of the network of this @number. */
static void challenge_often(struct scene *scene, int family, int number,
			    int times)
{
	const struct hello *hello = challenge();
	struct sockaddr_storage source = { .ss_family = (sa_family_t)family };
	char address[INET6_ADDRSTRLEN];

	if (family == AF_INET)
		snprintf(address, sizeof(address), "198.18.%d.2", number);
	else
		snprintf(address, sizeof(address), "2001:db9:%d:%d::2",
			 number / 100, number % 100);
	inet_pton(family, address,
		  family == AF_INET
			  ? (void *)&((struct sockaddr_in *)&source)->sin_addr
			  : &((struct sockaddr_in6 *)&source)->sin6_addr);
	for (int i = 0; i < times; i++) {
		int client =
			visit_from(scene, family, (struct sockaddr *)&source);

		send_all(client, hello->bytes, hello->length);
		close(client);
	}
}

/* Neither those of several networks, nor who has many networks of IPv6. */
static void keeps_some_for_those_who_have_had_few(void **state)
{
	static const struct {
		int family;
		int networks;
		int challenges;
	} attackers[] = { { AF_INET, 8, 100 }, { AF_INET6, 40, 25 } };
	struct scene *scene = *state;
	uint64_t sent = 0;

	run("ip route add 198.18.0.0/15 via 192.0.2.2 && "
	    "ip route add 2001:db9::/32 via 2001:db8::2");
	enter(scene->client_ns);
	run("ip route add local 198.18.0.0/15 dev lo && "
	    "ip route add local 2001:db9::/32 dev lo && "
	    "sysctl -qw net.ipv6.ip_nonlocal_bind=1");
	enter(scene->host_ns);
	for (size_t i = 0; i < ARRAY_SIZE(attackers); i++) {
		const int times = attackers[i].challenges;
		uint64_t taken;

		for (int j = 0; j < attackers[i].networks; j++, sent += times)
			challenge_often(scene, attackers[i].family, j, times);
		wait_until_counted(scene, HANDOFF_SEEN, sent);
		taken = counted(scene, HANDOFF_TAKEN);
		/* Of the same 32 bits of IPv6, as within a cloud. */
		challenge_often(scene, attackers[i].family, 100, 1);
		wait_until_counted(scene, HANDOFF_SEEN, ++sent);
		assert_int_equal(counted(scene, HANDOFF_TAKEN), taken + 1);
		/* Until nothing of it counts any more. */
		sleep(1);
		handoff_receive(&scene->handoff);
	}
}

static void makes_many_at_a_time(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	int clients[40];

	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		clients[i] = visit(scene, families[i % 2]);
		send_all(clients[i], hello->bytes, hello->length);
	}
	receive_until(scene, &scene->handed_count, ARRAY_SIZE(clients));
	assert_int_equal(scene->handoff.failed, 0);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		close(clients[i]);
}

/* The web server comes back while a challenge is open, and in its TIME_WAIT. */
static void lets_the_web_server_restart(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	int client = visit(scene, AF_INET);
	int handed;

	send_all(client, hello->bytes, hello->length);
	receive_until(scene, &scene->handed_count, 1);
	handed = dup(scene->handed);
	for (int i = 0; i < 3; i++) {
		close(scene->web[0]);
		scene->web[0] = try_to_listen(AF_INET, SERVICE_PORT);
		assert_true(scene->web[0] >= 0);
		if (i == 0) {
			/* Ours ends first. */
			close(handed);
			close_fd_at(&scene->handed);
		} else if (i == 1) {
			close(client);
		}
	}
}

static bool is_empty(int map_fd)
{
	struct handoff_flow flow;

	return bpf_map_get_next_key(map_fd, NULL, &flow) < 0;
}

/* In one segment and in several. */
static void gives_up_where_a_firewall_drops_the_reset(void **state)
{
	static const size_t padding[] = { 0, 2000 };
	struct scene *scene = *state;

	run("nft 'table inet filter { chain input { type filter hook input "
	    "priority 0; tcp flags & rst == rst drop; }; }'");
	for (size_t i = 0; i < ARRAY_SIZE(padding); i++) {
		const struct hello *hello = build(&(struct hello_spec){
			.protocols = acme, .padding = padding[i] });
		cleanup_fd int client = visit(scene, AF_INET);
		const uint64_t before = monotonic_ns();

		send_in_pieces(scene, client, hello, 1400);
		receive_until(scene, &scene->handoff.failed, i + 1);
		assert_true(scene->handoff.failed_ns >= before);
		assert_int_equal(scene->handed_count, 0);
		assert_int_equal(scene->handoff.failed_err, -EADDRNOTAVAIL);
		/* The client sends it again, to the web server. */
		expect_at_web(scene, AF_INET, client, hello);
		assert_int_equal(counted(scene, HANDOFF_LEFT_ALONE), i + 1);
		assert_int_equal(scene->handoff.resets_lost, i + 1);
		assert_true(is_empty(scene->handoff.moves_fd));
	}
}

/* As a container engine does it: to where nobody expects it. */
static void serve_by_nat(struct scene *scene)
{
	run("nft 'table ip nat { chain pre { type nat hook prerouting priority "
	    "dstnat; tcp dport 443 redirect to :8443; }; }'");
	close_fd_at(&scene->web[0]);
	scene->web[0] = try_to_listen(AF_INET, 8443);
}

static void tells_of_challenges_without_a_socket(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	cleanup_fd int client = -1;

	serve_by_nat(scene);
	client = visit(scene, AF_INET);
	send_all(client, hello->bytes, hello->length);
	expect_at_web(scene, AF_INET, client, hello);
	assert_int_equal(scene->handoff.nobody, 1);
	assert_int_equal(counted(scene, HANDOFF_NO_SOCKET), 1);
}

static void takes_behind_nat_of_this_host(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	const struct handoff_translation to = { .port = htons(8443) };
	cleanup_fd int client = -1;

	serve_by_nat(scene);
	assert_int_equal(handoff_translate(&scene->handoff, &to, 1), 0);
	client = visit(scene, AF_INET);
	send_all(client, hello->bytes, hello->length);
	expect_taken(scene, AF_INET, client, hello);
}

/* Behind a firewall that accepts what conntrack knows, beyond the time that it
 * gives a connection that was reset. */
static void is_still_known_to_conntrack(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	const int conntrack_fd = scene->handoff.conntrack_fd;
	cleanup_fd int client = -1;

	run("nft 'table inet filter { chain input { type filter hook input "
	    "priority 0; policy drop; ct state established accept; "
	    "tcp dport 443 ct state new tcp flags syn accept; "
	    "meta l4proto icmpv6 accept; }; }'");
	run("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close=1");
	/* One that conntrack could not be told of is no reason to give up. */
	assert_int_equal(seteuid(65534), 0);
	scene->handoff.conntrack_fd = conntrack_revive_open();
	assert_int_equal(seteuid(0), 0);
	client = visit(scene, AF_INET);
	send_all(client, hello->bytes, hello->length);
	receive_until(scene, &scene->handed_count, 1);
	close_fd_at(&client);
	close_fd_at(&scene->handoff.conntrack_fd);
	scene->handoff.conntrack_fd = conntrack_fd;
	client = visit(scene, AF_INET);
	send_all(client, hello->bytes, hello->length);
	scene->holds =
		"grep -q 'ESTABLISHED.*dport=443' /proc/net/nf_conntrack";
	receive_until(scene, &scene->handed_count, 2);
	sleep(3);
	expect_bytes(scene->handed, hello->bytes, hello->length);
	exchange(client, scene->handed);
}

/* A segment that no kernel has made. */
struct forged {
	uint16_t client_port;
	uint32_t sequence;
	uint32_t acknowledged;
	uint8_t flags;
	/* 0 for none. */
	uint32_t timestamp;
	/* The sum of the names alone, as if the rest were still to be added. */
	bool bare_sum;
	bool damaged_header;
	const struct hello *hello;
	/* Of the hello that it carries. */
	size_t length;
};

#define FORGED_SYN 0x02
#define FORGED_FIN 0x01
#define FORGED_ACK 0x10
#define FORGED_URG 0x20

static uint32_t add_up(uint32_t sum, const void *bytes, size_t length)
{
	const uint8_t *byte = bytes;

	for (size_t i = 0; i < length; i++)
		sum += i % 2 ? byte[i] : (uint32_t)byte[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static void put(uint8_t *to, uint32_t value, size_t size)
{
	while (size-- > 0) {
		to[size] = (uint8_t)value;
		value >>= 8;
	}
}

/* From 192.0.2.2 to the service at 192.0.2.1. */
static size_t forge(const struct forged *forged, uint8_t *packet)
{
	static const uint8_t ip[] = { 0x45, 0, 0,   0, 0, 1, 0x40, 0, 64, 6,
				      0,    0, 192, 0, 2, 2, 192,  0, 2,  1 };
	const size_t header = forged->timestamp ? 32 : 20;
	const size_t length = header + forged->length;
	uint8_t *tcp = packet + sizeof(ip);
	uint32_t sum;

	memset(packet, 0, sizeof(ip) + header);
	memcpy(packet, ip, sizeof(ip));
	put(packet + 2, (uint32_t)(sizeof(ip) + length), 2);
	sum = add_up(0, packet, sizeof(ip));
	put(packet + 10, (~sum & 0xffff) ^ forged->damaged_header, 2);
	put(tcp, forged->client_port, 2);
	put(tcp + 2, SERVICE_PORT, 2);
	put(tcp + 4, forged->sequence, 4);
	put(tcp + 8, forged->acknowledged, 4);
	tcp[12] = (uint8_t)(header / 4 << 4);
	tcp[13] = forged->flags;
	put(tcp + 14, 500, 2);
	if (forged->timestamp) {
		put(tcp + 20, 0x0101080a, 4);
		put(tcp + 24, forged->timestamp, 4);
	}
	if (forged->length)
		memcpy(tcp + header, forged->hello->bytes, forged->length);
	sum = add_up(6 + (uint32_t)length, packet + 12, 8);
	if (!forged->bare_sum)
		sum = ~add_up(sum, tcp, length);
	put(tcp + 16, sum & 0xffff, 2);
	return sizeof(ip) + length;
}

static void send_forged(const struct scene *scene, const struct forged *forged)
{
	uint8_t packet[2048];
	size_t length = forge(forged, packet);

	assert_int_equal(sendto(scene->wire, packet, length, 0,
				(const struct sockaddr *)&scene->outside,
				sizeof(scene->outside)),
			 length);
}

/* The client's next hello, as it would send it itself. */
static struct forged next_of(int client, const struct hello *hello)
{
	struct forged forged = { .flags = FORGED_ACK,
				 .hello = hello,
				 .length = hello->length };
	struct sockaddr_in address = { 0 };
	socklen_t size = sizeof(address);
	uint32_t *const numbers[] = { &forged.acknowledged, &forged.sequence };
	int value = TCP_REPAIR_ON;

	getsockname(client, (struct sockaddr *)&address, &size);
	forged.client_port = ntohs(address.sin_port);
	assert_int_equal(setsockopt(client, IPPROTO_TCP, TCP_REPAIR, &value,
				    sizeof(value)),
			 0);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		value = i ? TCP_SEND_QUEUE : TCP_RECV_QUEUE;
		size = sizeof(*numbers[i]);
		setsockopt(client, IPPROTO_TCP, TCP_REPAIR_QUEUE, &value,
			   sizeof(value));
		getsockopt(client, IPPROTO_TCP, TCP_QUEUE_SEQ, numbers[i],
			   &size);
	}
	value = TCP_REPAIR_OFF_NO_WP;
	setsockopt(client, IPPROTO_TCP, TCP_REPAIR, &value, sizeof(value));
	return forged;
}

/* What any packet that claims to be one could bring about. */
static void heeds_no_segment_without_a_connection(void **state)
{
	struct scene *scene = *state;
	struct forged forged = { .flags = FORGED_ACK, .acknowledged = 1 };
	cleanup_fd int client = -1;

	serve_by_nat(scene);
	/* One that has been ended. */
	client = visit(scene, AF_INET);
	forged = next_of(client, challenge());
	close(accept_at_web(scene, AF_INET));
	close_fd_at(&client);
	usleep(100000);
	send_forged(scene, &forged);
	for (int i = 0; i < 700; i++) {
		forged.client_port = (uint16_t)(2000 + i);
		send_forged(scene, &forged);
	}
	wait_until_counted(scene, HANDOFF_NO_SOCKET, 701);
	assert_int_equal(counted(scene, HANDOFF_NO_SOCKET), 701);
	handoff_receive(&scene->handoff);
	assert_int_equal(scene->handoff.nobody, 0);
	close_fd_at(&scene->web[0]);
	scene->web[0] = try_to_listen(AF_INET, SERVICE_PORT);
	run("nft delete table ip nat");
	/* Nor does it use up what a challenge needs. */
	client = visit(scene, AF_INET);
	send_all(client, forged.hello->bytes, forged.hello->length);
	expect_taken(scene, AF_INET, client, forged.hello);
}

/* Else its RST would not be heeded either. */
static void takes_nothing_that_is_damaged(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	cleanup_fd int client = visit(scene, AF_INET);
	struct forged forged = next_of(client, hello);

	forged.bare_sum = true;
	send_forged(scene, &forged);
	forged.bare_sum = false;
	forged.damaged_header = true;
	send_forged(scene, &forged);
	wait_until_counted(scene, HANDOFF_DAMAGED, 2);
	assert_int_equal(counted(scene, HANDOFF_DAMAGED), 2);
	assert_int_equal(scene->handoff.failed, 0);
	/* They have left no trace. */
	send_all(client, hello->bytes, hello->length);
	expect_taken(scene, AF_INET, client, hello);
}

static void expect_forged_is_taken(struct scene *scene, int client,
				   const struct forged *forged)
{
	const uint64_t before = scene->handed_count;

	send_forged(scene, forged);
	receive_until(scene, &scene->handed_count, before + 1);
	assert_int_equal(scene->handoff.failed, 0);
	assert_true(scene->handed >= 0);
	expect_bytes(scene->handed, forged->hello->bytes,
		     forged->hello->length);
	close_fd_at(&scene->handed);
	close(client);
}

/* Behind a firewall that looks at flags. */
static void resets_whatever_flags_a_hello_has(void **state)
{
	static const uint8_t flags[] = { FORGED_FIN, FORGED_URG,
					 FORGED_FIN | FORGED_URG };
	struct scene *scene = *state;

	run("nft 'table inet filter { chain input { type filter hook input "
	    "priority 0; ct state invalid drop; }; }'");
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		const int client = visit(scene, AF_INET);
		struct forged forged = next_of(client, challenge());

		forged.flags |= flags[i];
		expect_forged_is_taken(scene, client, &forged);
	}
}

/* To a socket that is none yet, which minds it. */
static void resets_whatever_time_a_hello_tells(void **state)
{
	struct scene *scene = *state;
	const int seconds = 5;
	struct forged forged;
	int client;

	setsockopt(scene->web[0], IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds,
		   sizeof(seconds));
	client = visit(scene, AF_INET);
	forged = next_of(client, challenge());
	{
		socklen_t size = sizeof(forged.timestamp);

		getsockopt(client, IPPROTO_TCP, TCP_TIMESTAMP,
			   &forged.timestamp, &size);
	}
	forged.timestamp -= 100000;
	expect_forged_is_taken(scene, client, &forged);
}

/* As a line that duplicates and reorders has it: while there is no socket. */
static void keeps_a_late_syn_from_the_port(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	cleanup_fd int client = visit(scene, AF_INET);
	struct forged forged = next_of(client, hello);

	send_all(client, hello->bytes, hello->length);
	wait_until_counted(scene, HANDOFF_TAKEN, 1);
	forged.flags = FORGED_SYN;
	forged.length = 0;
	forged.sequence--;
	send_forged(scene, &forged);
	/* It has come when this one has. */
	close(visit(scene, AF_INET));
	handoff_receive(&scene->handoff);
	assert_int_equal(scene->handoff.failed, 0);
	expect_taken(scene, AF_INET, client, hello);
}

/* The name is taken before we get to it, time and again. */
static void is_not_kept_busy_by_names_that_are_taken(void **state)
{
	struct scene *scene = *state;
	int clients[40];
	uint64_t began;

	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		struct forged forged;

		clients[i] = visit(scene, AF_INET);
		forged = next_of(clients[i], challenge());
		send_forged(scene, &forged);
		forged.flags = FORGED_SYN;
		forged.length = 0;
		forged.sequence += 100000;
		send_forged(scene, &forged);
	}
	/* They have come when this one has. */
	close(visit(scene, AF_INET));
	began = monotonic_ns();
	handoff_receive(&scene->handoff);
	assert_in_range(monotonic_ns() - began, 0, 200 * NS_PER_MS);
	assert_int_equal(scene->handoff.failed, ARRAY_SIZE(clients));
	assert_int_equal(scene->handoff.failed_err, -EADDRNOTAVAIL);
	assert_true(is_empty(scene->handoff.moves_fd));
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		close(clients[i]);
	/* And no firewall is suspected. */
	handoff_receive(&scene->handoff);
	assert_int_equal(scene->handoff.resets_lost, 0);
}

/* Nobody makes a socket of the first one, whose client has gone. */
static void keeps_nothing_of_a_new_connection_from_the_port(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello =
		build(&(struct hello_spec){ .protocols = browser });
	const struct sockaddr_in from = { .sin_family = AF_INET,
					  .sin_port = htons(4711) };
	struct sockaddr_storage address;
	socklen_t length = host_address(AF_INET, SERVICE_PORT, &address);
	const uint64_t began = monotonic_ns();
	int client = -1;

	for (int i = 0; i < 2; i++) {
		const int repair = TCP_REPAIR_ON;
		const int on = 1;

		enter(scene->client_ns);
		client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		assert_int_equal(bind(client, (const struct sockaddr *)&from,
				      sizeof(from)),
				 0);
		assert_int_equal(
			connect(client, (struct sockaddr *)&address, length),
			0);
		enter(scene->host_ns);
		if (i)
			break;
		send_all(client, challenge()->bytes, challenge()->length);
		wait_until_counted(scene, HANDOFF_TAKEN, 1);
		/* So that nothing is sent when it is closed. */
		setsockopt(client, IPPROTO_TCP, TCP_REPAIR, &repair,
			   sizeof(repair));
		close(client);
		close(accept_at_web(scene, AF_INET));
	}
	hello = build(&(struct hello_spec){ .protocols = browser });
	send_all(client, hello->bytes, hello->length);
	{
		cleanup_fd int web = accept_at_web(scene, AF_INET);

		expect_bytes(web, hello->bytes, hello->length);
	}
	assert_in_range(monotonic_ns() - began, 0, NS_PER_S / 2);
	close(client);
}

/* What follows on a challenge does not fill the ring that the next one needs. */
static void leaves_room_for_challenges(void **state)
{
	struct scene *scene = *state;
	struct hello hello = { .length = 0 };
	cleanup_fd int first = visit(scene, AF_INET);
	cleanup_fd int second = -1;
	struct forged forged;

	send_all(first, challenge()->bytes, challenge()->length);
	forged = next_of(first, &hello);
	forged.length = 1400;
	for (int i = 0; i < 800; i++)
		send_forged(scene, &forged);
	second = visit(scene, AF_INET);
	send_all(second, challenge()->bytes, challenge()->length);
	wait_until_counted(scene, HANDOFF_TAKEN, 2);
	assert_int_equal(counted(scene, HANDOFF_NO_ROOM), 0);
	receive_until(scene, &scene->handed_count, 2);
}

/* Options of IPv4, and an extension header of IPv6, in front of TCP's. */
static void takes_behind_other_headers(void **state)
{
	static const uint8_t options[] = { 1, 1, 1, 0 };
	static const uint8_t padding[] = { 0, 0, 1, 4, 0, 0, 0, 0 };
	struct scene *scene = *state;
	const struct hello *hello = challenge();

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		cleanup_fd int client = visit(scene, families[i]);
		const bool ipv4 = families[i] == AF_INET;

		assert_int_equal(
			setsockopt(client, ipv4 ? IPPROTO_IP : IPPROTO_IPV6,
				   ipv4 ? IP_OPTIONS : IPV6_DSTOPTS,
				   ipv4 ? options : padding,
				   ipv4 ? sizeof(options) : sizeof(padding)),
			0);
		send_all(client, hello->bytes, hello->length);
		expect_taken(scene, families[i], client, hello);
	}
}

/* A device "bare" of this namespace, whose packets are the descriptor's. */
static int open_bare(const char *address, const char *peer)
{
	struct ifreq bare = { .ifr_name = "bare",
			      .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	char command[256];

	assert_int_equal(ioctl(fd, TUNSETIFF, &bare), 0);
	snprintf(command, sizeof(command),
		 "ip address add %s peer %s dev bare && ip link set bare up",
		 address, peer);
	run(command);
	return fd;
}

/* Until it is killed, or the test has failed. */
static void relay(const int fds[2])
{
	struct pollfd ready[] = { { .fd = fds[0], .events = POLLIN },
				  { .fd = fds[1], .events = POLLIN } };
	char packet[2048];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (poll(ready, 2, -1) > 0) {
		for (int i = 0; i < 2; i++) {
			ssize_t length = ready[i].revents ? read(fds[i], packet,
								 sizeof(packet))
							  : 0;

			if (length > 0 &&
			    write(fds[!i], packet, (size_t)length) < 0)
				_exit(EXIT_FAILURE);
		}
	}
}

static void takes_from_a_device_without_a_link_layer(void **state)
{
	struct scene *scene = *state;
	const struct hello *hello = challenge();
	struct tc_attachment attachment;
	int client, fds[2];
	pid_t relaying;

	run("ip address del 192.0.2.1/24 dev outside");
	fds[0] = open_bare("192.0.2.1", "192.0.2.2");
	enter(scene->client_ns);
	run("ip address del 192.0.2.2/24 dev far");
	fds[1] = open_bare("192.0.2.2", "192.0.2.1");
	enter(scene->host_ns);
	relaying = fork();
	if (relaying == 0)
		relay(fds);
	assert_int_equal(tc_attach(&attachment, tc_best_way(),
				   if_nametoindex("bare"),
				   scene->handoff.program.fd, INSTANCE),
			 0);
	client = visit(scene, AF_INET);
	send_all(client, hello->bytes, hello->length);
	expect_taken(scene, AF_INET, client, hello);
	close(client);
	tc_detach(&attachment);
	kill(relaying, SIGKILL);
	waitpid(relaying, NULL, 0);
	close(fds[0]);
	close(fds[1]);
}

#define HANDOFF_TEST(test) \
	cmocka_unit_test_setup_teardown(test, open_scene, close_scene)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HANDOFF_TEST(leaves_visitors_alone),
		HANDOFF_TEST(takes_a_challenge),
		HANDOFF_TEST(takes_challenges_in_any_pieces),
		HANDOFF_TEST(takes_long_challenges),
		HANDOFF_TEST(takes_challenges_of_many_parts),
		HANDOFF_TEST(takes_behind_a_proxy_header),
		HANDOFF_TEST(loses_no_byte_that_follows),
		HANDOFF_TEST(loses_no_byte_behind_the_next_challenge),
		HANDOFF_TEST(takes_nothing_without_a_lease),
		HANDOFF_TEST(takes_the_challenges_of_listed_names_alone),
		HANDOFF_TEST(leaves_to_the_web_server_what_it_has_no_room_for),
		HANDOFF_TEST(keeps_some_for_those_who_have_had_few),
		HANDOFF_TEST(makes_many_at_a_time),
		HANDOFF_TEST(lets_the_web_server_restart),
		HANDOFF_TEST(gives_up_where_a_firewall_drops_the_reset),
		HANDOFF_TEST(tells_of_challenges_without_a_socket),
		HANDOFF_TEST(takes_behind_nat_of_this_host),
		HANDOFF_TEST(is_still_known_to_conntrack),
		HANDOFF_TEST(heeds_no_segment_without_a_connection),
		HANDOFF_TEST(takes_nothing_that_is_damaged),
		HANDOFF_TEST(resets_whatever_flags_a_hello_has),
		HANDOFF_TEST(resets_whatever_time_a_hello_tells),
		HANDOFF_TEST(keeps_a_late_syn_from_the_port),
		HANDOFF_TEST(is_not_kept_busy_by_names_that_are_taken),
		HANDOFF_TEST(keeps_nothing_of_a_new_connection_from_the_port),
		HANDOFF_TEST(leaves_room_for_challenges),
		HANDOFF_TEST(takes_behind_other_headers),
		HANDOFF_TEST(takes_from_a_device_without_a_link_layer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
