// SPDX-License-Identifier: MIT
/*
 * backend FALLBACK_PORT ALPN_PORT
 *
 * Both backends of the proxy that is measured, in one process: does what the
 * hello says, as cheaply as it can be done. Ends with its standard input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "exchange.h"

#define EVENTS	     256
#define CHUNK	     (256 * 1024)
#define ACCEPT_BATCH 64
/* Up to this an answer goes by one send(), as a web server's page does. */
#define PAGE_SIZE (16 * 1024)

/* What an epoll event belongs to: a listener or a connection. */
struct endpoint {
	int fd;
	bool listener;
	enum backend_name name;
	/* Bytes of the hello that came; then the order is known. */
	size_t hello_length;
	enum order order;
	/* Still to be sent or taken. */
	uint64_t left;
	bool named;
	uint8_t hello[HELLO_SIZE];
};

static uint8_t chunk[CHUNK];
static int epoll_fd;
static int payload;

static void watch(struct endpoint *endpoint, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = endpoint };

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, endpoint->fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void end(struct endpoint *endpoint)
{
	close(endpoint->fd);
	free(endpoint);
}

static void listen_on(const char *port, enum backend_name name)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_ANY),
	};
	struct endpoint *listener = calloc(1, sizeof(*listener));
	int one = 1;

	if (!listener)
		err(1, "calloc");
	listener->listener = true;
	listener->name = name;
	listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	/* Accepted sockets inherit it. */
	setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener->fd, (struct sockaddr *)&address, sizeof(address)) <
		    0 ||
	    listen(listener->fd, 65535) < 0)
		err(1, "port %s", port);
	watch(listener, EPOLLIN);
}

static void accept_some(const struct endpoint *listener)
{
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
		struct endpoint *endpoint;

		if (fd < 0)
			return;
		endpoint = calloc(1, sizeof(*endpoint));
		if (!endpoint)
			err(1, "calloc");
		endpoint->fd = fd;
		endpoint->name = listener->name;
		watch(endpoint, EPOLLIN | EPOLLOUT | EPOLLET);
	}
}

/* True once the order is known. */
static bool read_hello(struct endpoint *endpoint)
{
	while (endpoint->hello_length < HELLO_SIZE) {
		ssize_t length = read(endpoint->fd,
				      endpoint->hello + endpoint->hello_length,
				      HELLO_SIZE - endpoint->hello_length);

		if (length < 0 && errno == EAGAIN)
			return false;
		if (length <= 0) {
			end(endpoint);
			return false;
		}
		endpoint->hello_length += (size_t)length;
		if (endpoint->hello_length == HELLO_SIZE &&
		    !hello_read(endpoint->hello, &endpoint->order,
				&endpoint->left)) {
			end(endpoint);
			return false;
		}
	}
	return true;
}

/* Send what is left, beginning with the name. True once all is sent. */
static bool send_rest(struct endpoint *endpoint)
{
	while (endpoint->left) {
		size_t length = endpoint->left < PAGE_SIZE ? endpoint->left
							   : PAGE_SIZE;
		ssize_t sent;

		chunk[0] = (uint8_t)endpoint->name;
		if (endpoint->named)
			sent = payload_send(endpoint->fd, payload,
					    endpoint->left);
		else
			sent = send(endpoint->fd, chunk, length, MSG_NOSIGNAL);
		if (sent < 0)
			return false;
		endpoint->named = true;
		endpoint->left -= (uint64_t)sent;
	}
	return true;
}

/*
 * Take what has come, without looking at it (MSG_TRUNC, tcp(7)). True once
 * there is no more to take, be it that the client gave up.
 */
static bool take_rest(struct endpoint *endpoint)
{
	while (endpoint->left) {
		ssize_t length = recv(endpoint->fd, chunk, CHUNK, MSG_TRUNC);

		if (length < 0 && errno == EAGAIN)
			return false;
		if (length <= 0)
			return true;
		endpoint->left -= (uint64_t)length < endpoint->left
					  ? (uint64_t)length
					  : endpoint->left;
	}
	return true;
}

static void serve(struct endpoint *endpoint)
{
	uint8_t name = (uint8_t)endpoint->name;

	if (!read_hello(endpoint))
		return;
	switch (endpoint->order) {
	case ORDER_REPLY:
		if (send_rest(endpoint) || errno != EAGAIN)
			end(endpoint);
		break;
	case ORDER_TAKE:
		if (!take_rest(endpoint))
			break;
		if (!endpoint->left)
			send(endpoint->fd, &name, 1, MSG_NOSIGNAL);
		end(endpoint);
		break;
	case ORDER_HOLD:
		if (!endpoint->named)
			send(endpoint->fd, &name, 1, MSG_NOSIGNAL);
		endpoint->named = true;
		if (recv(endpoint->fd, chunk, 1, 0) == 0)
			end(endpoint);
		break;
	default:
		end(endpoint);
	}
}

int main(int argc, char *argv[])
{
	struct epoll_event events[EVENTS];
	struct endpoint input = { .fd = STDIN_FILENO };

	if (argc != 3)
		errx(2, "usage: backend FALLBACK_PORT ALPN_PORT");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	memset(chunk, 'x', sizeof(chunk));
	payload = payload_open();
	watch(&input, EPOLLIN);
	listen_on(argv[1], BACKEND_FALLBACK);
	listen_on(argv[2], BACKEND_ALPN);
	puts("ready");
	fflush(stdout);

	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			struct endpoint *endpoint = events[i].data.ptr;

			if (endpoint == &input)
				return 0;
			if (endpoint->listener)
				accept_some(endpoint);
			else
				serve(endpoint);
		}
	}
}
