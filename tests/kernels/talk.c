// SPDX-License-Identifier: MIT
/*
 * Servers and clients for the kernel tests, in one static program, because
 * their hosts have nothing else:
 *
 *   talk serve ADDRESS PORT NAME          answer each line or hello with NAME
 *   talk visit ADDRESS PORT web|acme      say who answered, or fail in 5 s
 *   talk hold ADDRESS PORT FILE           the same as a web visitor; then talk
 *                                         on until FILE exists, and say "kept"
 *   talk load ADDRESS PORT COUNT          that many web visits one after the
 *                                         other; say how many failed
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* How long a client waits: on a bad line SYNs are lost several times over. */
#define PATIENCE_S	5
#define PATIENCE_LOAD_S 30

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

static int open_socket(const char *address, const char *port, bool passive)
{
	const struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
	};
	const struct timeval patience = { .tv_sec = patience_s };
	const int on = 1;
	struct addrinfo *found;
	int err;
	int fd;

	if (getaddrinfo(address, port, &hints, &found) != 0)
		return -1;
	fd = socket(found->ai_family, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (passive)
		err = bind(fd, found->ai_addr, found->ai_addrlen) ||
		      listen(fd, 512);
	else
		err = connect(fd, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
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

static int load(const char *address, const char *port, int count)
{
	int failed = 0;
	char name[64];

	patience_s = PATIENCE_LOAD_S;
	for (int i = 0; i < count; i++)
		failed += !visit_once(address, port, false, name);
	printf("%d failed\n", failed);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	if (argc != 5) {
		fputs("usage: talk serve|visit|hold|load ADDRESS PORT WHAT\n",
		      stderr);
		return 2;
	}
	if (strcmp(argv[1], "serve") == 0)
		return serve(argv[2], argv[3], argv[4]);
	if (strcmp(argv[1], "visit") == 0)
		return visit(argv[2], argv[3], argv[4]);
	if (strcmp(argv[1], "hold") == 0)
		return hold(argv[2], argv[3], argv[4]);
	return load(argv[2], argv[3], atoi(argv[4]));
}
