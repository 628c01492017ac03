// SPDX-License-Identifier: MIT
/*
 * load PORT visits CONCURRENCY MILLISECONDS  short connections, one after the
 *                                            other on each of CONCURRENCY
 * load PORT down|up STREAMS BYTES            BYTES in all, over STREAMS
 * load PORT hold COUNT                       open, say "held", and keep until
 *                                            standard input ends
 * load PORT route ALPN SERVER_NAME           say which backend was reached
 * load PORT start CPU PROGRAM ARGUMENT...    milliseconds from exec to the
 *                                            first answer through PROGRAM,
 *                                            which runs on CPU
 * load PORT challenges COUNT                 one after the other, each timed
 *                                            from hello to answer
 * load PORT attack RATE MILLISECONDS NETWORKS
 *                                            challenges that nobody asked for,
 *                                            RATE a second, from so many
 *                                            networks (VISITOR_NETWORKS or 1)
 *
 * On loopback, or at what ADDRESS:PORT says in PORT's place. The result is one
 * line of JSON; a wrong byte count, a wrong backend or a connection that fails
 * counts as failed.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"

#define EVENTS 256
#define CHUNK  (1024 * 1024)
/* A page's worth: what a visit gets for an answer. */
#define VISIT_REPLY 1024
/* Without any progress for this long the proxy is stuck. */
#define STALL_MS     10000
#define START_TRY_US 100
#define START_MS     5000
#define CHALLENGE_US 25000
#define MAX_SAMPLES  4000000
/* For those that were begun last. */
#define LAST_ANSWERS_NS 300000000

struct connection {
	int fd;
	/* The hello is sent; for uploads, left has been as well. */
	bool asked;
	uint64_t left_to_send;
	uint64_t left_to_take;
	bool named;
	uint64_t started_ns;
};

/* One run: what each connection does, and what came of all. */
struct run {
	struct sockaddr_in target;
	uint8_t hello[HELLO_SIZE];
	uint64_t send_size;
	uint64_t take_size;
	/* No new connection after this. */
	uint64_t deadline_ns;
	bool repeat;
	bool hold;
	int epoll_fd;
	int payload;
	size_t open;
	uint64_t completed;
	uint64_t failed;
	uint32_t *samples_us;
	size_t sample_count;
};

static uint8_t chunk[CHUNK];
/* From one visitor's number to the next one's. */
static uint32_t stride = 1;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int open_socket(const struct sockaddr_in *target, int flags)
{
	static uint32_t next;
	struct sockaddr_in source = target_visitor(target, next);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	int one = 1;

	next += stride;
	if (fd < 0)
		err(1, "socket");
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0)
		err(1, "bind");
	return fd;
}

static void start(struct run *run, struct connection *connection)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLET,
		.data.ptr = connection,
	};

	*connection = (struct connection){
		.fd = open_socket(&run->target, SOCK_NONBLOCK),
		.left_to_send = run->send_size,
		.left_to_take = run->take_size,
		.started_ns = now_ns(),
	};
	run->open++;
	if (connect(connection->fd, (const struct sockaddr *)&run->target,
		    sizeof(run->target)) < 0 &&
	    errno != EINPROGRESS)
		err(1, "connect");
	if (epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void finish(struct run *run, struct connection *connection, bool right)
{
	uint64_t now = now_ns();

	close(connection->fd);
	connection->fd = -1;
	run->open--;
	if (right)
		run->completed++;
	else
		run->failed++;
	if (run->samples_us && run->sample_count < MAX_SAMPLES)
		run->samples_us[run->sample_count++] =
			(uint32_t)((now - connection->started_ns) / 1000);
	if (run->repeat && now < run->deadline_ns)
		start(run, connection);
}

/* Send the hello and what is to follow. False if the connection is broken. */
static bool send_some(struct run *run, struct connection *connection)
{
	if (!connection->asked) {
		if (send(connection->fd, run->hello, HELLO_SIZE,
			 MSG_NOSIGNAL) != HELLO_SIZE)
			return errno == EAGAIN || errno == ENOTCONN;
		connection->asked = true;
	}
	while (connection->left_to_send) {
		ssize_t sent = payload_send(connection->fd, run->payload,
					    connection->left_to_send);

		if (sent < 0)
			return errno == EAGAIN;
		connection->left_to_send -= (uint64_t)sent;
	}
	return true;
}

/* Returns true when the connection has come to its end. */
static bool take_some(struct run *run, struct connection *connection)
{
	for (;;) {
		/* The first byte is looked at, the others are but counted. */
		ssize_t length = recv(connection->fd, chunk,
				      connection->named ? CHUNK : 1,
				      connection->named ? MSG_TRUNC : 0);

		if (length < 0 && errno == EAGAIN)
			return false;
		if (length <= 0 ||
		    (uint64_t)length > connection->left_to_take) {
			finish(run, connection,
			       length == 0 && connection->left_to_take == 0);
			return true;
		}
		connection->left_to_take -= (uint64_t)length;
		if (!connection->named && chunk[0] != BACKEND_FALLBACK) {
			finish(run, connection, false);
			return true;
		}
		connection->named = true;
		if (run->hold && connection->left_to_take == 0) {
			run->completed++;
			return true;
		}
	}
}

/* Let all connections go on until none is open, or held ones all answered. */
static void follow(struct run *run, size_t count)
{
	struct epoll_event events[EVENTS];

	while (run->hold ? run->completed + run->failed < count
			 : run->open > 0) {
		int ready = epoll_wait(run->epoll_fd, events, EVENTS, STALL_MS);

		if (ready == 0) {
			run->failed += run->open;
			return;
		}
		for (int i = 0; i < ready; i++) {
			struct connection *connection = events[i].data.ptr;

			if (!send_some(run, connection))
				finish(run, connection, false);
			else if (events[i].events & ~(uint32_t)EPOLLOUT)
				take_some(run, connection);
		}
	}
}

static int compare_samples(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left;
	uint32_t b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

static uint32_t percentile(const struct run *run, unsigned int percent)
{
	return run->sample_count
		       ? run->samples_us[run->sample_count * percent / 100]
		       : 0;
}

/* Open @count connections and see them through; returns the seconds. */
static double perform(struct run *run, size_t count)
{
	struct connection *connections = calloc(count, sizeof(*connections));
	uint64_t started = now_ns();
	double seconds;

	run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!connections || run->epoll_fd < 0)
		err(1, "cannot start");
	for (size_t i = 0; i < count; i++)
		start(run, &connections[i]);
	follow(run, count);
	seconds = (double)(now_ns() - started) / 1e9;
	free(connections);
	return seconds;
}

static void visits(struct run *run, char *argv[])
{
	size_t concurrency = strtoul(argv[0], NULL, 10);
	double seconds;

	hello_write(run->hello, ORDER_REPLY, VISIT_REPLY, "http/1.1",
		    "web.example");
	run->take_size = VISIT_REPLY;
	run->repeat = true;
	run->deadline_ns = now_ns() + strtoul(argv[1], NULL, 10) * 1000000;
	run->samples_us = calloc(MAX_SAMPLES, sizeof(*run->samples_us));
	if (!run->samples_us)
		err(1, "calloc");
	seconds = perform(run, concurrency);
	qsort(run->samples_us, run->sample_count, sizeof(*run->samples_us),
	      compare_samples);
	printf("{\"completed\": %llu, \"failed\": %llu, \"seconds\": %.6f, "
	       "\"p50_us\": %u, \"p99_us\": %u}\n",
	       (unsigned long long)run->completed,
	       (unsigned long long)run->failed, seconds, percentile(run, 50),
	       percentile(run, 99));
}

static void transfer(struct run *run, bool up, char *argv[])
{
	size_t streams = strtoul(argv[0], NULL, 10);
	uint64_t each = strtoull(argv[1], NULL, 10) / streams;
	double seconds;

	hello_write(run->hello, up ? ORDER_TAKE : ORDER_REPLY, each, "http/1.1",
		    "web.example");
	run->payload = payload_open();
	run->send_size = up ? each : 0;
	run->take_size = up ? 1 : each;
	seconds = perform(run, streams);
	printf("{\"bytes\": %llu, \"failed\": %llu, \"seconds\": %.6f}\n",
	       (unsigned long long)(each * run->completed),
	       (unsigned long long)run->failed, seconds);
}

static void hold(struct run *run, char *argv[])
{
	char end;

	hello_write(run->hello, ORDER_HOLD, 0, "http/1.1", "web.example");
	run->take_size = 1;
	run->hold = true;
	perform(run, strtoul(argv[0], NULL, 10));
	printf("{\"held\": %llu, \"failed\": %llu}\n",
	       (unsigned long long)run->completed,
	       (unsigned long long)run->failed);
	fflush(stdout);
	if (read(STDIN_FILENO, &end, 1) < 0)
		err(1, "read");
}

/* One visit, blocking; returns the backend's name or 0. @answer_ns: from the
 * hello to that; may be NULL. */
static int ask(const struct sockaddr_in *target, const char *alpn,
	       const char *server_name, uint64_t *answer_ns)
{
	struct timeval patience = { .tv_sec = 3 };
	uint8_t hello[HELLO_SIZE];
	uint8_t name = 0;
	int fd = open_socket(target, 0);
	uint64_t asked_ns;

	hello_write(hello, ORDER_REPLY, 1, alpn, server_name);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)target, sizeof(*target)) < 0) {
		close(fd);
		return 0;
	}
	asked_ns = now_ns();
	if (send(fd, hello, HELLO_SIZE, MSG_NOSIGNAL) != HELLO_SIZE ||
	    recv(fd, &name, 1, 0) != 1)
		name = 0;
	if (answer_ns)
		*answer_ns = now_ns() - asked_ns;
	close(fd);
	return name;
}

static void challenges(struct run *run, char *argv[])
{
	const size_t count = strtoul(argv[0], NULL, 10);
	uint64_t answer_ns;

	run->samples_us = calloc(count, sizeof(*run->samples_us));
	if (!run->samples_us)
		err(1, "calloc");
	for (size_t i = 0; i < count; i++) {
		if (ask(&run->target, "acme-tls/1", "acme.example",
			&answer_ns) == BACKEND_ALPN)
			run->samples_us[run->sample_count++] =
				(uint32_t)(answer_ns / 1000);
		usleep(CHALLENGE_US);
	}
	qsort(run->samples_us, run->sample_count, sizeof(*run->samples_us),
	      compare_samples);
	printf("{\"completed\": %zu, \"failed\": %zu, \"p50_us\": %u, "
	       "\"p99_us\": %u}\n",
	       run->sample_count, count - run->sample_count,
	       percentile(run, 50), percentile(run, 99));
}

/* Whoever answers, and whatever. */
static void take_answer(struct run *run, struct connection *connection)
{
	uint8_t answer;
	const ssize_t length = recv(connection->fd, &answer, 1, 0);

	if (length >= 0 || errno != EAGAIN)
		finish(run, connection, length == 1);
}

/* Handle what is ready, or will be until @until_ns. */
static void follow_until(struct run *run, uint64_t until_ns)
{
	struct epoll_event events[EVENTS];
	uint64_t now;

	do {
		struct timespec patience = { 0 };
		int ready;

		now = now_ns();
		if (now < until_ns)
			patience.tv_nsec = (long)(until_ns - now);
		ready = epoll_pwait2(run->epoll_fd, events, EVENTS, &patience,
				     NULL);
		for (int i = 0; i < ready; i++) {
			struct connection *connection = events[i].data.ptr;

			if (!send_some(run, connection))
				finish(run, connection, false);
			else if (events[i].events & ~(uint32_t)EPOLLOUT)
				take_answer(run, connection);
		}
	} while (now < until_ns);
}

static void attack(struct run *run, char *argv[])
{
	const uint64_t rate = strtoul(argv[0], NULL, 10);
	const uint64_t count = rate * strtoul(argv[1], NULL, 10) / 1000;
	struct connection *connections = calloc(count, sizeof(*connections));
	const uint64_t started = now_ns();

	hello_write(run->hello, ORDER_REPLY, 1, "acme-tls/1", "acme.example");
	run->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!connections || run->epoll_fd < 0)
		err(1, "cannot start");
	if (atoi(argv[2]) == 1)
		stride = VISITOR_NETWORKS;
	for (uint64_t i = 0; i < count; i++) {
		start(run, &connections[i]);
		follow_until(run, started + (i + 1) * 1000000000 / rate);
	}
	follow_until(run, now_ns() + LAST_ANSWERS_NS);
	printf("{\"completed\": %llu, \"failed\": %llu}\n",
	       (unsigned long long)run->completed,
	       (unsigned long long)(run->failed + run->open));
	free(connections);
}

static void route(const struct run *run, char *argv[])
{
	printf("{\"backend\": \"%c\"}\n",
	       ask(&run->target, argv[0], argv[1], NULL));
}

/* Kill and reap all our children; those of killed ones become ours. */
static void kill_children(void)
{
	while (waitpid(-1, NULL, WNOHANG) >= 0) {
		FILE *children = fopen("/proc/thread-self/children", "re");
		int pid;

		if (!children)
			err(1, "children");
		while (fscanf(children, "%d", &pid) == 1)
			kill(pid, SIGKILL);
		fclose(children);
		usleep(START_TRY_US);
	}
}

static void start_program(const struct run *run, char *argv[])
{
	uint64_t started = now_ns();
	uint64_t answered = 0;
	pid_t child;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (child == 0) {
		cpu_set_t cpus;

		CPU_ZERO(&cpus);
		CPU_SET((size_t)atoi(argv[0]), &cpus);
		sched_setaffinity(0, sizeof(cpus), &cpus);
		execv(argv[1], argv + 1);
		err(127, "%s", argv[1]);
	}
	while (!answered && now_ns() - started < START_MS * 1000000ull) {
		if (ask(&run->target, "http/1.1", "web.example", NULL) ==
		    BACKEND_FALLBACK)
			answered = now_ns();
		else
			usleep(START_TRY_US);
	}
	kill_children();
	printf("{\"ms\": %.3f, \"failed\": %d}\n",
	       answered ? (double)(answered - started) / 1e6 : 0.0, !answered);
}

int main(int argc, char *argv[])
{
	struct run run = { 0 };
	const char *what = argc > 3 ? argv[2] : "";

	if (argc > 3)
		run.target = target_read(argv[1]);
	if (strcmp(what, "visits") == 0 && argc == 5)
		visits(&run, argv + 3);
	else if (strcmp(what, "down") == 0 && argc == 5)
		transfer(&run, false, argv + 3);
	else if (strcmp(what, "up") == 0 && argc == 5)
		transfer(&run, true, argv + 3);
	else if (strcmp(what, "hold") == 0)
		hold(&run, argv + 3);
	else if (strcmp(what, "route") == 0 && argc == 5)
		route(&run, argv + 3);
	else if (strcmp(what, "challenges") == 0 && argc == 4)
		challenges(&run, argv + 3);
	else if (strcmp(what, "attack") == 0 && argc == 6)
		attack(&run, argv + 3);
	else if (strcmp(what, "start") == 0 && argc > 4)
		start_program(&run, argv + 3);
	else
		errx(2, "see the comment at the top of load.c");
	return 0;
}
