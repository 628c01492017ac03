/* SPDX-License-Identifier: MIT */
/*
 * The proxy half: accept -> peek -> relay, in one unprivileged process.
 *
 * It knows nothing of how connections came to its listeners.
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

struct proxy_config {
	/* Takes the connections that offer ALPN acme-tls/1. */
	struct backend alpn;
	/* The web server: takes all others. */
	struct backend fallback;
	/* Whose challenges are for the responder; the others' are not. */
	struct domain_list domains;
	/* A client silent for this long goes to the fallback with what came. */
	unsigned int hello_timeout_ms;
	/* How long the listeners stay open after the redirect is gone, for
	 * handshakes that began before. */
	unsigned int grace_ms;
	/* How long an orphan's connections have when it drains. */
	unsigned int drain_timeout_ms;
	/* Connections at one time; beyond it, new ones wait in the backlog or
	 * go to another worker. UINT_MAX: as many as descriptors allow. */
	unsigned int max_connections;
};

/* Between supervisor and worker, see control.h. */
enum proxy_message {
	/* supervisor -> worker: the redirect is gone; accept for grace_ms
	 * more, then close the listeners and end with the last connection. */
	PROXY_DRAIN = 'D',
	/* supervisor -> worker: close what is left and exit. */
	PROXY_TERMINATE = 'T',
	/* supervisor -> worker: the descriptor with it is the log's from now
	 * on. */
	PROXY_LOG_FILE = 'L',
	/* supervisor -> worker: the descriptor with it is a connected socket
	 * that was handed over: take it as if it had been accepted. */
	PROXY_TAKE = 'K',
	/* worker -> supervisor: the loop runs, attach the redirect. */
	PROXY_READY = 'R',
	/* worker -> supervisor: no listener is open any more. */
	PROXY_LISTENERS_CLOSED = 'C',
};

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
	 * second and before PROXY_READY; 0 once it drains.
	 */
	volatile uint64_t *lease;
	/*
	 * What to do when the supervisor dies. True: drain, because new flows
	 * go to the web server by themselves once the lease is gone. False
	 * (iptables): go on serving, because the rule still sends visitors
	 * here; SIGTERM then drains.
	 */
	bool drain_when_orphaned;
};

#define PROXY_LEASE_NS (2 * NS_PER_S)

/*
 * Serve until drained or told to terminate. SIGTERM is looked at only by an
 * orphan; SIGPIPE is ignored from now on. How many connections there may be at
 * one time is settled here, by max_connections or by what RLIMIT_NOFILE leaves
 * beside the descriptors that are open by then. Closes the listeners. Returns
 * 0, or negative errno if the loop could not be set up or select() failed.
 */
int proxy_run(struct proxy_environment *environment);

#endif
