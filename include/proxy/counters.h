/* SPDX-License-Identifier: MIT */
/*
 * One page shared by the supervisor and one worker. The worker alone writes;
 * the supervisor reads, and sums up. So the root process learns of the traffic
 * without judging a byte that a stranger sent.
 */
#ifndef PROXY_COUNTERS_H
#define PROXY_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "proxy/challenges.h"

/*
 * What is counted: X(name, kind, unit, help). All that tells of it is made from
 * this: the page, the sum, and `status` in each form. The kind is Prometheus':
 * a gauge can go down. The first two are told of each worker as well. The
 * manual has the same list.
 */
#define PROXY_COUNTERS(X)                                              \
	X(open_connections, gauge, "connections", "open now")          \
	X(accepted, counter, "connections", "accepted")                \
	X(handed_over, counter, "connections", "of these handed over") \
	X(handed_over_refused, counter, "connections",                 \
	  "handed over, and not taken")                                \
	X(to_alpn, counter, "connections", "to the ACME responder")    \
	X(to_fallback, counter, "connections", "to the web server")    \
	X(hello_timeouts, counter, "connections",                      \
	  "of these after the hello timeout")                          \
	X(other_domains, counter, "connections",                       \
	  "of these challenges for other domains")                     \
	X(alpn_unreachable, counter, "connections",                    \
	  "closed, the ACME responder unreachable")                    \
	X(fallback_unreachable, counter, "connections",                \
	  "closed, the web server unreachable")                        \
	X(fallback_resets, counter, "connections",                     \
	  "reset by the web server before it said anything")           \
	X(resets, counter, "connections",                              \
	  "reset by one side, and so for the other")                   \
	X(bytes_from_clients, counter, "bytes", "bytes from clients")  \
	X(bytes_to_clients, counter, "bytes", "bytes to clients")      \
	X(accept_pauses, counter, "times",                             \
	  "times paused: out of descriptors, or at the limit of connections")

#define PROXY_COUNTERS_OF_EACH_WORKER 2

struct proxy_counters {
	/* CLOCK_MONOTONIC in ns of the worker's last turn; at most 1 s old in
	 * a worker that is well. */
	atomic_uint_least64_t heartbeat_ns;
	/* It has hardly any room left. */
	atomic_bool full;
	/* Bits of enum confinement (confinement.h) in force in the worker. */
	atomic_uint confinement;
	/* Negative errno: why the last proof failed (PROXY_NOT_PROVED). */
	atomic_int proof_err;
#define PROXY_COUNTER(name, ...) atomic_uint_least64_t name;
	PROXY_COUNTERS(PROXY_COUNTER)
#undef PROXY_COUNTER
	/* The last of to_alpn; the next one's place is that counter's. */
	struct challenge_slot challenges[CHALLENGES_KEPT];
};

/* What was counted: by one worker, or by all together. */
struct proxy_totals {
#define PROXY_TOTAL(name, ...) uint64_t name;
	PROXY_COUNTERS(PROXY_TOTAL)
#undef PROXY_TOTAL
};

/* Add what is in @page. */
static inline void proxy_totals_add(struct proxy_totals *totals,
				    const struct proxy_counters *page)
{
#define PROXY_ADD(name, ...) totals->name += atomic_load(&page->name);
	PROXY_COUNTERS(PROXY_ADD)
#undef PROXY_ADD
}

#endif
