// SPDX-License-Identifier: MIT
/*
 * bare PORT BACKEND_PORT
 *
 * A relay with nothing in it: it judges no hello, has no timeouts, no limits
 * and no confinement, logs and counts nothing, and gives up what cannot be sent
 * at once. What it costs is the kernel's: no proxy that makes two connections
 * of one is much cheaper.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS	    256
#define BUFFER_SIZE (64 * 1024)

/* By descriptor. */
static struct end {
	/* 0 until there is one: that is standard input's number. */
	int other;
	bool ended;
} * ends;

static uint8_t buffer[BUFFER_SIZE];
static int epoll_fd;
static struct sockaddr_in backend;

static struct sockaddr_in local(const char *port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static void watch(int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		err(1, "epoll_ctl");
}

static int listen_on(const char *port)
{
	const struct sockaddr_in address = local(port);
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 65535) < 0)
		err(1, "port %s", port);
	watch(fd);
	return fd;
}

static void end(int fd)
{
	const int other = ends[fd].other;

	ends[fd] = (struct end){ 0 };
	close(fd);
	if (other > 0) {
		ends[other] = (struct end){ 0 };
		close(other);
	}
}

static bool reach_backend(int client)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	ends[client].other = fd;
	ends[fd] = (struct end){ .other = client };
	/* On loopback the handshake is over when this returns. */
	if (connect(fd, (struct sockaddr *)&backend, sizeof(backend)) < 0 &&
	    errno != EINPROGRESS)
		return false;
	watch(fd);
	return true;
}

static void relay(int fd)
{
	ssize_t length = recv(fd, buffer, sizeof(buffer), 0);

	if (length < 0 && errno == EAGAIN)
		return;
	if (length > 0 && (ends[fd].other || reach_backend(fd)) &&
	    send(ends[fd].other, buffer, (size_t)length, MSG_NOSIGNAL) ==
		    length)
		return;
	if (length != 0 || !ends[fd].other || ends[ends[fd].other].ended) {
		end(fd);
		return;
	}
	ends[fd].ended = true;
	shutdown(ends[fd].other, SHUT_WR);
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void accept_all(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		watch(fd);
		relay(fd);
	}
}

static void serve(int listener)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				accept_all(listener);
			else
				relay(events[i].data.fd);
		}
	}
}

int main(int argc, char *argv[])
{
	struct rlimit limit;

	if (argc != 3)
		errx(2, "usage: bare PORT BACKEND_PORT");
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(1, "getrlimit");
	ends = calloc(limit.rlim_cur, sizeof(*ends));
	epoll_fd = epoll_create1(0);
	if (!ends || epoll_fd < 0)
		err(1, "start");
	backend = local(argv[2]);
	serve(listen_on(argv[1]));
}
