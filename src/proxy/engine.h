/* SPDX-License-Identifier: MIT */
/*
 * What the engine's one thread owns: the state that its parts share.
 */
#ifndef PROXY_ENGINE_H
#define PROXY_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/log_limit.h"
#include "proxy/acceptor.h"
#include "proxy/connection.h"
#include "proxy/deadline.h"
#include "proxy/flow.h"
#include "proxy/proxy.h"
#include "proxy/readiness.h"

struct engine {
	const struct proxy_config *config;
	struct proxy_counters *counters;
	/* CLOCK_MONOTONIC, read in this turn. */
	uint64_t now_ns;

	struct readiness readiness;
	/* By descriptor, for both ends; readiness.capacity entries. */
	struct connection **connections;
	size_t connection_count;

	struct acceptor acceptor;
	struct flow_tools tools;

	/* Connections in CONNECTION_PEEK, from accept on. */
	struct deadline_queue hello_deadlines;
	/* Those whose backend has another address to try. */
	struct deadline_queue connect_deadlines;
	/* Those that want of descriptors or ports keeps from connecting. */
	struct deadline_queue retry_deadlines;
	/* Those with one end reset, while the other takes what is left. */
	struct deadline_queue reset_deadlines;
	/* Those whose backend has ended, while their client is silent. */
	struct deadline_queue silence_deadlines;
	struct log_limit alpn_unreachable;
	struct log_limit fallback_unreachable;
};

/*
 * What begins to wait gets all of its time, however long this turn may have
 * taken so far: we may have been stopped in it.
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
