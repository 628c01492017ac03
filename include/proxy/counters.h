/* SPDX-License-Identifier: MIT */
/*
 * One page shared by the supervisor and one worker. The worker alone writes;
 * the supervisor reads, and sums up. So the root process learns of the traffic
 * without reading a byte that a stranger sent.
 */
#ifndef PROXY_COUNTERS_H
#define PROXY_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

struct proxy_counters {
	/* CLOCK_MONOTONIC in ns of the worker's last turn; at most 1 s old in
	 * a worker that is well. */
	atomic_uint_least64_t heartbeat_ns;
	/* Bits of enum confinement (confinement.h) in force in the worker. */
	atomic_uint confinement;
	/* Accepted and not yet closed, in whatever state. */
	atomic_uint_least64_t open_connections;
	atomic_uint_least64_t accepted;
	/* By PROXY_TAKE: those among the accepted, and those that were not
	 * taken. */
	atomic_uint_least64_t handed_over;
	atomic_uint_least64_t handed_over_refused;
	/* By verdict. */
	atomic_uint_least64_t to_alpn;
	atomic_uint_least64_t to_fallback;
	/* Sent to the fallback because the hello did not come in time. */
	atomic_uint_least64_t hello_timeouts;
	/* Challenges sent to the fallback because of their domain. */
	atomic_uint_least64_t other_domains;
	/* Closed because no address of the backend took the connection. */
	atomic_uint_least64_t alpn_unreachable;
	atomic_uint_least64_t fallback_unreachable;
	/* Ended by a reset from either side, which was passed on. */
	atomic_uint_least64_t resets;
	atomic_uint_least64_t bytes_from_clients;
	atomic_uint_least64_t bytes_to_clients;
	/* Times that accept() paused: too few descriptors, or the cap. */
	atomic_uint_least64_t accept_pauses;
};

#endif
