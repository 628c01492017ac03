// SPDX-License-Identifier: MIT
/*
 * Servers and clients for the kernel tests, in one static program, because
 * their hosts have nothing else:
 *
 *   talk serve ADDRESS PORT NAME          answer each line or hello with NAME
 *   talk visit ADDRESS PORT web|acme      say who answered, or fail in 5 s
 *   talk hold ADDRESS PORT FILE           the same as a web visitor; then talk
 *                                         on until FILE exists, and say "kept"
 *   talk load ADDRESS PORT web|acme NAME  many such visits at the same time;
 *                                         say how many did not meet NAME
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a client waits: on a bad line SYNs are lost several times over. */
#define PATIENCE_S	5
#define PATIENCE_LOAD_S 30
#define LOAD_VISITORS	40

/* A ClientHello that offers nothing but ALPN acme-tls/1 (RFC 8737, 3). */
static const char acme_hello[] =
	/* record: handshake, TLS 1.0, length */
	"\x16\x03\x01\x00\x40"
	/* ClientHello, length; TLS 1.2, random */
	"\x01\x00\x00\x3c\x03\x03"
	"0123456789abcdef0123456789abcdef"
	/* no session; one cipher suite; no compression */
	"\x00\x00\x02\x13\x01\x01\x00"
	/* extensions: ALPN with one protocol */
	"\x00\x11\x00\x10\x00\x0d\x00\x0b\x0a"
	"acme-tls/1";

static const char web_request[] = "GET / HTTP/1.0\r\n\r\n";

static time_t patience_s = PATIENCE_S;

/* Returns the size of the address in @name, which it makes; 0 for none. */
static socklen_t make_address(const char *address, const char *port,
			      struct sockaddr_storage *name)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)name;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)name;
	const in_port_t number = htons((uint16_t)atoi(port));

	*name = (struct sockaddr_storage){ .ss_family = AF_UNSPEC };
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = number;
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = number;
		return sizeof(*v6);
	}
	return 0;
}

static int open_socket(const char *address, const char *port, bool passive)
{
	const struct timeval patience = { .tv_sec = patience_s };
	const int on = 1;
	struct sockaddr_storage name;
	socklen_t size = make_address(address, port, &name);
	int err;
	int fd;

	fd = socket(name.ss_family, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (passive)
		err = bind(fd, (struct sockaddr *)&name, size) ||
		      listen(fd, 512);
	else
		err = connect(fd, (struct sockaddr *)&name, size);
	if (!err)
		return fd;
	close(fd);
	return -1;
}

static void answer(int fd, const char *name)
{
	char buffer[4096];
	ssize_t length;

	while ((length = recv(fd, buffer, sizeof(buffer), 0)) > 0)
		dprintf(fd, "%s\n", name);
}

static int serve(const char *address, const char *port, const char *name)
{
	int listener = open_socket(address, port, true);
	const struct timeval no_timeout = { 0 };

	if (listener < 0)
		return EXIT_FAILURE;
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &no_timeout,
		   sizeof(no_timeout));
	signal(SIGCHLD, SIG_IGN);
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

/* Say @request and wait for a line; who answered, without the newline. */
static bool ask(int fd, const char *request, size_t size, char name[64])
{
	ssize_t length;

	if (send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size)
		return false;
	length = recv(fd, name, 63, 0);
	if (length <= 1)
		return false;
	name[length - 1] = '\0';
	return true;
}

static bool visit_once(const char *address, const char *port, bool acme,
		       char name[64])
{
	int fd = open_socket(address, port, false);
	bool answered;

	if (fd < 0)
		return false;
	answered = acme ? ask(fd, acme_hello, sizeof(acme_hello) - 1, name)
			: ask(fd, web_request, sizeof(web_request) - 1, name);
	close(fd);
	return answered;
}

static int visit(const char *address, const char *port, const char *kind)
{
	char name[64];

	if (!visit_once(address, port, strcmp(kind, "acme") == 0, name)) {
		printf("nobody: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	puts(name);
	return EXIT_SUCCESS;
}

static int hold(const char *address, const char *port, const char *path)
{
	int fd = open_socket(address, port, false);
	char name[64];

	do {
		if (!ask(fd, web_request, sizeof(web_request) - 1, name)) {
			printf("lost: %s\n", strerror(errno));
			return EXIT_FAILURE;
		}
		poll(NULL, 0, 100);
	} while (access(path, F_OK) < 0);
	puts("kept");
	return EXIT_SUCCESS;
}

/* Is it @wanted who answers? If not, say what came instead. */
static bool meet(const char *address, const char *port, const char *kind,
		 const char *wanted)
{
	char name[64] = "nobody";

	errno = 0;
	if (visit_once(address, port, strcmp(kind, "acme") == 0, name) &&
	    strcmp(name, wanted) == 0)
		return true;
	dprintf(STDOUT_FILENO, "%s: %s, ", name, strerror(errno));
	return false;
}

/* All at the same time: on a bad line each one waits for most of its time. */
static int load(const char *address, const char *port, const char *kind,
		const char *wanted)
{
	int failed = 0;
	int status;

	patience_s = PATIENCE_LOAD_S;
	for (int i = 0; i < LOAD_VISITORS; i++) {
		if (fork() == 0)
			_exit(!meet(address, port, kind, wanted));
	}
	while (wait(&status) > 0)
		failed += status != 0;
	printf("%d failed\n", failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool is_operation(char *argv[], int argc, const char *name, int words)
{
	return argc == words + 2 && strcmp(argv[1], name) == 0;
}

int main(int argc, char *argv[])
{
	if (is_operation(argv, argc, "serve", 3))
		return serve(argv[2], argv[3], argv[4]);
	if (is_operation(argv, argc, "visit", 3))
		return visit(argv[2], argv[3], argv[4]);
	if (is_operation(argv, argc, "hold", 3))
		return hold(argv[2], argv[3], argv[4]);
	if (is_operation(argv, argc, "load", 4))
		return load(argv[2], argv[3], argv[4], argv[5]);
	fputs("usage: talk serve|visit|hold|load ADDRESS PORT WHAT...\n",
	      stderr);
	return 2;
}
