/* SPDX-License-Identifier: MIT */
/* The state that the parts of the proxy share, all in one thread. */
#ifndef PROXY_ENGINE_H
#define PROXY_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/log_limit.h"
#include "proxy/counters.h"
#include "proxy/deadline.h"
#include "proxy/flow.h"
#include "proxy/proxy.h"
#include "proxy/readiness.h"

struct connection;

/* What a connection may be waiting for; the loop has a handler for each. */
enum engine_timer {
	/* The hello; the rest of a begun one. */
	TIMER_HELLO,
	TIMER_BEGUN_HELLO,
	/* An address of the backend, while there is another to try. */
	TIMER_CONNECT,
	/* The backend's last address, which has all the time that the kernel
	 * gives it; it is told of that it takes some. */
	TIMER_DOUBT,
	/* Descriptors or ports to connect with. */
	TIMER_RETRY,
	/* One end to take what is left, after the other was reset. */
	TIMER_RESET,
	/* A silent client to end too, after its backend has. */
	TIMER_SILENCE,
	TIMER_COUNT,
};

struct engine {
	const struct proxy_config *config;
	struct proxy_counters *counters;
	/* CLOCK_MONOTONIC, read in this turn. */
	uint64_t now_ns;

	struct readiness readiness;
	/* By descriptor, for both ends; readiness.capacity entries. */
	struct connection **connections;
	size_t connection_count;
	/* See proxy_config; off where only the kernel's own source gets
	 * through. */
	bool own_sources;
	/* A visitor was turned away by the fallback, or waits for it. */
	bool doubtful;
	/* Whether clients that have vanished are looked for. */
	bool probing;

	struct flow_tools tools;
	struct deadline_queue timers[TIMER_COUNT];
	struct log_limit alpn_unreachable;
	struct log_limit fallback_unreachable;
};

/*
 * A wait begins now, not when this turn began: the process may have been
 * stopped in between.
 */
static inline uint64_t engine_read_clock(struct engine *engine)
{
	engine->now_ns = monotonic_ns();
	return engine->now_ns;
}

/* The worker is the only writer: no locked instruction is needed. */
static inline void counter_add(atomic_uint_least64_t *counter, uint64_t amount)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

static inline void counter_set(atomic_uint_least64_t *counter, uint64_t value)
{
	atomic_store_explicit(counter, value, memory_order_relaxed);
}

#endif
