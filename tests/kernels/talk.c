// SPDX-License-Identifier: MIT
/*
 * Servers and clients for the kernel tests, in one static program, because
 * their hosts have nothing else:
 *
 *   talk serve ADDRESS PORT NAME [HOW]    answer each request or hello with
 * NAME talk visit ADDRESS PORT WHAT...       say who answered each of these
 * visits, or fail in 5 s talk hold ADDRESS PORT FILE           the same as a
 * web visitor; then talk on until FILE exists, and say "kept" talk load ADDRESS
 * PORT WHAT NAME      many such visits at the same time; say how many did not
 * meet NAME
 *
 * WHAT is "web", a request without TLS, or a hello: "other", "acme", or "long"
 * for one that offers acme-tls/1 behind 3000 bytes; "/N" sends it in so many
 * segments. Of what follows "mptcp" or "options" each is made by MPTCP, or has
 * IPv4 options or an IPv6 extension header. HOW is the listener's: "defer",
 * "reuseport", "fastopen", "one" for a backlog of 1, "idle" for one that
 * accepts nobody, "mptcp", "vrf0" for one that is bound to that device.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a client waits: on a bad line SYNs are lost several times over. */
#define PATIENCE_S	5
#define PATIENCE_LOAD_S 30
#define LOAD_VISITORS	40
#define BACKLOG		512
#define LONG_PADDING	3000
#define MOST_HELLO	4096

/* Not in glibc 2.36. */
#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* How a client's sockets are made. */
static int protocol;
static bool with_options;

static const char web_request[] = "GET / HTTP/1.0\r\n\r\n";

static time_t patience_s = PATIENCE_S;

/* Returns the size of the address in @name, which it makes; 0 for none. */
static socklen_t make_address(const char *address, const char *port,
			      struct sockaddr_storage *name)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)name;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)name;
	const in_port_t number = htons((uint16_t)atoi(port));
	char plain[INET6_ADDRSTRLEN] = "";
	const char *scope = strchr(address, '%');

	strncat(plain, address,
		scope ? (size_t)(scope - address) : sizeof(plain) - 1);
	*name = (struct sockaddr_storage){ .ss_family = AF_UNSPEC };
	if (inet_pton(AF_INET, plain, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = number;
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, plain, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = number;
		v6->sin6_scope_id = scope ? if_nametoindex(scope + 1) : 0;
		return sizeof(*v6);
	}
	return 0;
}

/* What routers do not mind: padding, in both families. */
static void add_options(int fd, int family)
{
	static const uint8_t nops[4] = { 1, 1, 1, 0 };
	static const uint8_t extension[8] = { 0, 0, 1, 4 };

	if (family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_OPTIONS, nops, sizeof(nops));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, extension,
			   sizeof(extension));
}

static int open_socket(const char *address, const char *port)
{
	const struct timeval patience = { .tv_sec = patience_s };
	const int on = 1;
	struct sockaddr_storage name;
	socklen_t size = make_address(address, port, &name);
	int fd;

	fd = socket(name.ss_family, SOCK_STREAM, protocol);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (with_options)
		add_options(fd, name.ss_family);
	if (connect(fd, (struct sockaddr *)&name, size) == 0)
		return fd;
	close(fd);
	return -1;
}

static int open_listener(const char *address, const char *port, const char *how)
{
	const int on = 1, waiting = 5;
	struct sockaddr_storage name;
	socklen_t size = make_address(address, port, &name);
	int fd;

	fd = socket(name.ss_family, SOCK_STREAM,
		    strcmp(how, "mptcp") == 0 ? IPPROTO_MPTCP : 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (strcmp(how, "defer") == 0)
		setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &waiting,
			   sizeof(waiting));
	if (strcmp(how, "fastopen") == 0)
		setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &waiting,
			   sizeof(waiting));
	if (strcmp(how, "vrf0") == 0)
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, how,
			   sizeof("vrf0"));
	if (strcmp(how, "reuseport") == 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&name, size) == 0 &&
	    listen(fd, strcmp(how, "one") == 0 ? 1 : BACKLOG) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A record is answered when it is there as a whole. */
static bool is_whole(const uint8_t *bytes, size_t length)
{
	return bytes[0] != 0x16 ||
	       (length >= 5 &&
		length >= 5 + (size_t)(bytes[3] << 8 | bytes[4]));
}

static void answer(int fd, const char *name)
{
	uint8_t buffer[2 * MOST_HELLO];
	size_t have = 0;
	ssize_t length;

	while ((length = recv(fd, buffer + have, sizeof(buffer) - have, 0)) >
	       0) {
		have += (size_t)length;
		if (!is_whole(buffer, have))
			continue;
		have = 0;
		dprintf(fd, "%s\n", name);
	}
}

static int serve(const char *address, const char *port, const char *name,
		 const char *how)
{
	int listener;

	signal(SIGCHLD, SIG_IGN);
	/* Two of them, of which the kernel chooses; they end together. */
	if (strcmp(how, "reuseport") == 0 && fork() == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	listener = open_listener(address, port, how);
	if (listener < 0)
		return EXIT_FAILURE;
	if (strcmp(how, "idle") == 0)
		pause();
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		if (fork() == 0) {
			close(listener);
			answer(fd, name);
			_exit(EXIT_SUCCESS);
		}
		close(fd);
	}
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t length)
{
	memcpy(at, bytes, length);
	return at + length;
}

static uint8_t *put_number(uint8_t *at, size_t number)
{
	*at++ = (uint8_t)(number >> 8);
	*at++ = (uint8_t)number;
	return at;
}

/* A ClientHello that offers one protocol by ALPN (RFC 8737, 3), which stands
 * behind so much padding. Returns its size. */
static size_t make_hello(uint8_t *hello, const char *offered, size_t padding)
{
	const size_t alpn = 2 + 1 + strlen(offered);
	const size_t extensions = 4 + padding + 4 + alpn;
	const size_t body = 2 + 32 + 1 + 4 + 2 + 2 + extensions;
	uint8_t *at = put(hello, "\x16\x03\x01", 3);

	at = put_number(at, 4 + body);
	at = put(at, "\x01\0", 2);
	at = put_number(at, body);
	at = put(at,
		 "\x03\x03"
		 "0123456789abcdef0123456789abcdef",
		 34);
	/* No session; one cipher suite; no compression. */
	at = put(at, "\0\0\x02\x13\x01\x01\0", 7);
	at = put_number(at, extensions);
	at = put(at, "\0\x15", 2);
	at = put_number(at, padding);
	memset(at, 0, padding);
	at = put(at + padding, "\0\x10", 2);
	at = put_number(at, alpn);
	at = put_number(at, alpn - 2);
	*at++ = (uint8_t)strlen(offered);
	at = put(at, offered, strlen(offered));
	return (size_t)(at - hello);
}

/* In so many segments, each of which is acknowledged before the next. */
static bool send_in(int fd, const void *bytes, size_t size, size_t segments)
{
	const uint8_t *at = bytes;
	int unsent = 1;

	for (size_t left = segments; left > 0; left--) {
		const size_t length = size / left;

		if (send(fd, at, length, MSG_NOSIGNAL) != (ssize_t)length)
			return false;
		at += length;
		size -= length;
		while (left > 1 && ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent)
			poll(NULL, 0, 1);
	}
	return true;
}

static bool say(int fd, const char *what)
{
	const char *slash = strchr(what, '/');
	const size_t segments = slash ? strtoul(slash + 1, NULL, 10) : 1;
	const bool is_long = strncmp(what, "long", 4) == 0;
	uint8_t hello[MOST_HELLO];
	size_t size;

	if (strcmp(what, "web") == 0)
		return send_in(fd, web_request, sizeof(web_request) - 1, 1);
	size = make_hello(hello,
			  strncmp(what, "other", 5) == 0 ? "http/1.1"
							 : "acme-tls/1",
			  is_long ? LONG_PADDING : 0);
	return send_in(fd, hello, size, segments);
}

/* Say it and wait for a line: who answered. */
static bool ask(int fd, const char *what, char name[64])
{
	ssize_t length;

	if (!say(fd, what))
		return false;
	length = recv(fd, name, 63, 0);
	if (length <= 1)
		return false;
	name[length] = '\0';
	name[strcspn(name, "\n")] = '\0';
	return true;
}

static bool visit_once(const char *address, const char *port, const char *what,
		       char name[64])
{
	int fd = open_socket(address, port);
	bool answered;

	if (fd < 0)
		return false;
	answered = ask(fd, what, name);
	close(fd);
	return answered;
}

static int visit(const char *address, const char *port, char *visits[])
{
	const char *separator = "";
	char name[64];

	for (; *visits; visits++) {
		if (strcmp(*visits, "mptcp") == 0) {
			protocol = IPPROTO_MPTCP;
			continue;
		}
		if (strcmp(*visits, "options") == 0) {
			with_options = true;
			continue;
		}
		if (!visit_once(address, port, *visits, name)) {
			printf("%snobody: %s\n", separator, strerror(errno));
			return EXIT_FAILURE;
		}
		printf("%s%s", separator, name);
		separator = " ";
	}
	puts("");
	return EXIT_SUCCESS;
}

static int hold(const char *address, const char *port, const char *path)
{
	int fd = open_socket(address, port);
	char name[64];

	do {
		if (!ask(fd, "web", name)) {
			printf("lost: %s\n", strerror(errno));
			return EXIT_FAILURE;
		}
		poll(NULL, 0, 100);
	} while (access(path, F_OK) < 0);
	puts("kept");
	return EXIT_SUCCESS;
}

/* Is it @wanted who answers? If not, say what came instead. */
static bool meet(const char *address, const char *port, const char *what,
		 const char *wanted)
{
	char name[64] = "nobody";

	errno = 0;
	if (visit_once(address, port, what, name) && strcmp(name, wanted) == 0)
		return true;
	dprintf(STDOUT_FILENO, "%s: %s, ", name, strerror(errno));
	return false;
}

/* All at the same time: on a bad line each one waits for most of its time. */
static int load(const char *address, const char *port, const char *what,
		const char *wanted)
{
	int failed = 0;
	int status;

	patience_s = PATIENCE_LOAD_S;
	/* The program comes first, or its lease runs out. */
	nice(10);
	for (int i = 0; i < LOAD_VISITORS; i++) {
		if (fork() == 0)
			_exit(!meet(address, port, what, wanted));
	}
	while (wait(&status) > 0)
		failed += status != 0;
	printf("%d failed\n", failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool is_operation(char *argv[], int argc, const char *name, int words)
{
	return argc >= words + 2 && strcmp(argv[1], name) == 0;
}

int main(int argc, char *argv[])
{
	if (is_operation(argv, argc, "serve", 3))
		return serve(argv[2], argv[3], argv[4],
			     argc > 5 ? argv[5] : "");
	if (is_operation(argv, argc, "visit", 3))
		return visit(argv[2], argv[3], argv + 4);
	if (is_operation(argv, argc, "hold", 3))
		return hold(argv[2], argv[3], argv[4]);
	if (is_operation(argv, argc, "load", 4))
		return load(argv[2], argv[3], argv[4], argv[5]);
	fputs("usage: talk serve|visit|hold|load ADDRESS PORT WHAT...\n",
	      stderr);
	return 2;
}
