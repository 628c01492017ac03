/* SPDX-License-Identifier: MIT */
/*
 * The proxy: accept -> peek -> connect -> relay, in one unprivileged process.
 *
 * It knows nothing of how connections come to its listeners.
 */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/clock.h"
#include "hello/domain_list.h"
#include "listen/listener.h"
#include "proxy/counters.h"
#include "proxy/messages.h"

struct proxy_config {
	/* Takes the connections that offer ALPN acme-tls/1. */
	struct backend alpn;
	/* The web server; it takes all others. */
	struct backend fallback;
	/* The names whose challenges are for the responder. */
	struct domain_list domains;
	/* A client that is silent for this long goes to the fallback, or for
	 * three times as long if it has begun a hello. */
	unsigned int hello_timeout_ms;
	/* How long at least the listeners stay open after the redirect is
	 * gone, for handshakes that began before it went. */
	unsigned int grace_ms;
	/* How long the connections of an orphan have once it drains. */
	unsigned int drain_timeout_ms;
	/* Connect to a fallback of IPv4, which is this host's, from an address
	 * of 127.0.0.0/8 that is made of the visitor's, so that what counts or
	 * bans by source does not take all visitors for one. */
	bool own_sources;
	/* Web servers have addresses of their own: a visitor's fallback is at
	 * the one that it came to, if the port is the same. */
	bool at_visited_address;
	/* Connections at one time; beyond it, new ones wait in the backlog or
	 * go to another worker. */
	unsigned int max_connections;
	/* Pipes at one time; bulk data of more connections is copied. */
	unsigned int max_pipes;
};

/* Sockets that are handed over and taken beyond max_connections, if there are
 * descriptors: their clients have nobody else any more. */
#define PROXY_RESERVE 64

/* What the loop is given; nothing here is changed but the listeners. */
struct proxy_environment {
	const struct proxy_config *config;
	struct listeners listeners;
	/* To the supervisor. End of file means that it died. */
	int control_fd;
	struct proxy_counters *counters;
	/*
	 * NULL, or the steering program's lease (see redirect.h): while the
	 * loop is well it writes monotonic_ns() + PROXY_LEASE_NS here, twice a
	 * second and before PROXY_READY; 0 once it drains,
	 * or has hardly any room left.
	 */
	volatile uint64_t *lease;
	/*
	 * When the supervisor dies: drain, because without the lease new flows
	 * go to the web server by themselves; or (iptables) serve on until
	 * SIGTERM, because the rule still sends visitors here.
	 */
	bool drain_when_orphaned;
};

#define PROXY_LEASE_NS (2 * NS_PER_S)

/*
 * Serve until drained or told to terminate. Only an orphan heeds SIGTERM;
 * SIGPIPE is ignored from now on. There may be max_connections at one time, or
 * fewer if RLIMIT_NOFILE leaves fewer descriptors beside those that are open
 * now. Closes the listeners. Returns 0, or negative errno if the loop could not
 * be set up or select() failed.
 */
int proxy_run(struct proxy_environment *environment);

#endif
