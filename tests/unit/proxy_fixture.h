/* SPDX-License-Identifier: MIT */
/*
 * A proxy in a process of its own, between sockets that the test holds all
 * ends of: its clients, its backends and its supervisor are the test. Whatever
 * goes wrong fails the test.
 */
#ifndef PROXY_FIXTURE_H
#define PROXY_FIXTURE_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include "proxy/proxy.h"
#include "tests/unit/hello_builder.h"

/* For what must happen; what must not is waited for much shorter. */
#define PATIENCE_MS 10000

struct fixture {
	pid_t pid;
	int control_fd;
	struct proxy_config config;
	struct listeners listeners;
	in_port_t port4;
	in_port_t port6;
	/* Backends of the test. */
	int alpn;
	int fallback;
	struct {
		struct proxy_counters counters;
		volatile uint64_t lease;
	} * shared;
	bool drain_when_orphaned;
	/* 0 leaves the limit as it is. */
	rlim_t descriptors;
};

/* Loopback of a namespace that goes with the process, if we may. */
void fixture_enter_namespace(void);

/* The port that @fd is bound to, in network byte order as all ports here. */
in_port_t fixture_port(int fd);

/* A listener on a free port of the loopback address, perhaps SOCK_NONBLOCK. */
int fixture_listen(int family, int flags, int backlog);

/* 127.0.0.1:@port, behind the backend's others. */
void fixture_add_address(struct backend *backend, in_port_t port);

/* Make a socket of this host, with a name that the kernel chooses, the
 * fallback. */
void fixture_use_unix_fallback(struct fixture *fixture, int backlog);

/* A port of 127.0.0.1 that refuses. */
in_port_t fixture_refusing_port(void);

/* A listener whose backlog is full: the kernel drops SYNs to it. */
void fill_backlog(in_port_t port, int fillers[2]);

/* For cmocka; the second with a socket of this host for a fallback. */
int fixture_setup(void **state);
int fixture_setup_unix(void **state);
int fixture_teardown(void **state);

/* Let this process have so many, if it may. */
void raise_own_limit(rlim_t descriptors);

/* Start the proxy; it is ready. It inherits all descriptors of the test. */
void fixture_start(struct fixture *fixture);

/* An enum proxy_message, from it or to it. */
char fixture_message(const struct fixture *fixture);
void fixture_tell(const struct fixture *fixture, enum proxy_message message);

/* As if its supervisor had died. */
void fixture_orphan(struct fixture *fixture);

/* The proxy ends by itself, without an error. */
void fixture_expect_exit(struct fixture *fixture);

#define fixture_counter(fixture, name) \
	((size_t)atomic_load(&(fixture)->shared->counters.name))

/* Wait for a counter that the proxy is about to change. */
#define fixture_expect_counter(fixture, name, value)                     \
	do {                                                             \
		for (int waited_ = 0;                                    \
		     waited_ < PATIENCE_MS &&                            \
		     fixture_counter(fixture, name) != (size_t)(value);  \
		     waited_++)                                          \
			usleep(1000);                                    \
		assert_int_equal(fixture_counter(fixture, name), value); \
	} while (0)

/* Descriptors that are open in the proxy. */
size_t fixture_descriptors(const struct fixture *fixture);

/* User and system time of the proxy, in ms. */
unsigned long fixture_cpu_ms(const struct fixture *fixture);

/* Sockets */

/* No call on @fd takes longer than PATIENCE_MS. */
void set_patience(int fd);

/* A client that is connected to the proxy, or -1; the second, by IPv4, is. */
int try_to_visit(const struct fixture *fixture, int family);
int visit(const struct fixture *fixture);

bool is_waiting(int listener, int timeout_ms);

/* Accept. */
int take_visitor(int listener);

void say(int fd, const void *bytes, size_t length);
void expect(int fd, const void *bytes, size_t length);
void expect_end(int fd);
void expect_reset(int fd);

/* The same where the other's end was read before: recv() stays with that. */
void expect_failure(int fd);

/* Close with a reset. */
void reset(int fd);

/* A listener that takes no SYN until those who wait for it are gone. */
struct deaf {
	int listener;
	int fillers[2];
};

/* It is the fallback's first address, and the one that there was the second.
 * It is filled by the test alone: the proxy must not hold on to the fillers. */
struct deaf start_with_deaf_address(struct fixture *fixture);

void send_fillers_away(struct deaf deaf);

/* Visitors */

const struct hello *acme_hello(void);
const struct hello *browser_hello(void);

/* @client says @hello, which comes to @listener: the end that it has there. */
int greet(int listener, int client, const struct hello *hello);

/* A connection through the proxy to the fallback, with both ends in hand. */
struct relayed {
	int client;
	int server;
};

struct relayed relay(const struct fixture *fixture);
void close_both(struct relayed relayed);

/* Enough traffic that everything silent is parked. */
void let_turns_pass(const struct fixture *fixture);

#endif
