/* SPDX-License-Identifier: MIT */
/*
 * The workers that share the listeners: started together, replaced one by one.
 *
 * Each has a page of counters that no other worker can see. Whoever of them is
 * idle takes the next connection, so that the death or the hang of one costs
 * its own connections and no others.
 *
 * They share one listener for each family: one of its own for each worker
 * (SO_REUSEPORT) is refused by bpf_sk_assign() before kernel 6.6, and would
 * strand what waits in the queue of one that hangs. The price: a connection
 * wakes all who are idle, since a waiter in select() is never exclusive, not
 * even through an epoll instance with EPOLLEXCLUSIVE. With no more workers than
 * cores, few wake in vain.
 */
#ifndef SUPERVISOR_POOL_H
#define SUPERVISOR_POOL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/challenges.h"
#include "supervisor/worker.h"

#define WORKER_POOL_MAXIMUM 64
/* A worker that makes no turn for this long hangs, and is killed. */
#define WORKER_POOL_HUNG_MS 10000

struct pool_member {
	struct worker worker;
	/* A page that goes on with the member's next worker. */
	struct proxy_counters *counters;
	uint64_t started_ns;
	/* It has not said yet that it is ready. */
	bool starting;
	unsigned int young_deaths;
	/* Died too often: not replaced any more. */
	bool given_up;
	/* What its last proof came to: 0, negative errno, -EINPROGRESS, or 1
	 * if it was not asked for any. */
	int proof;
	/* A visitor was turned away by the fallback, or waits for it. */
	bool doubts;
	/* Of PROXY_DRAIN and PROXY_CLOSE the last one that it was told, or 0;
	 * it listens no more, or is to end. */
	unsigned char told;
	bool closed;
};

struct worker_pool {
	/* For each of them, but for the counters; the connections are those of
	 * all together. */
	const struct worker_settings *settings;
	struct pool_member *members;
	unsigned int count;
	/* Set where visitors have nowhere else to go: never give up. */
	bool must_serve;
	/* When the watchdog looked last; since when it does so in time. */
	uint64_t watched_ns;
	uint64_t watching_since_ns;
	/* The fallback takes no visitor from a source of its own. */
	bool plain_sources;
	/* When a worker that could not be started is tried again. */
	uint64_t retry_ns;
	/* Whose turn it is to be handed a socket, modulo @count. */
	unsigned int next;
};

/* How many of @total connections fall to member @index of @count. */
unsigned int worker_pool_share(unsigned int total, unsigned int count,
			       unsigned int index);

/*
 * Memory for @count workers, from 1 to WORKER_POOL_MAXIMUM. @settings must
 * outlive the pool. 0 or negative errno (logged).
 */
int worker_pool_open(struct worker_pool *pool, unsigned int count,
		     const struct worker_settings *settings);
/* Kill what is left; safe when not open. */
void worker_pool_close(struct worker_pool *pool);

/* Start all; 0 when the loop of each runs, or negative errno (logged). */
int worker_pool_start(struct worker_pool *pool);

/* Workers that run, or begin to; those that are ready; and of these, those that
 * turned of late. */
unsigned int worker_pool_running(const struct worker_pool *pool);
unsigned int worker_pool_ready(const struct worker_pool *pool);
unsigned int worker_pool_well(const struct worker_pool *pool);

/* What becomes readable when there is something for worker_pool_receive():
 * fills in @pool->count entries. */
void worker_pool_watch_fds(const struct worker_pool *pool, struct pollfd *fds);

/*
 * Wait for news of the workers, at most @timeout_ms, and take in one of each:
 * who is ready, who listens no more, and who died. Returns how many died; they
 * are reaped, and what they died of is logged.
 */
unsigned int worker_pool_receive(struct worker_pool *pool, int timeout_ms);

/*
 * Kill those that are alive but do not turn, or do not get ready. But whoever
 * stopped them (Ctrl-Z, a frozen cgroup) may have stopped us as well: then they
 * get their time anew.
 */
void worker_pool_kill_hung(struct worker_pool *pool);

/*
 * Start a worker for each that died, unless that happened too often; that it is
 * ready is heard by worker_pool_receive(). One that does not get ready has died
 * as well, and is tried again a little later. 0, or -ECHILD (logged) if none
 * runs and all are given up.
 */
int worker_pool_replace(struct worker_pool *pool);

/* Tell all to drain, or to @close their listeners as well; once more if one did
 * not hear it. Returns how many of them still listen. */
unsigned int worker_pool_drain(struct worker_pool *pool, bool close);

/* Let all log where this process does now. */
void worker_pool_send_log_file(const struct worker_pool *pool);

/*
 * Give a connected socket to one that is well, to each in turn, but to those
 * that have hardly any room left only where nobody has more. @fd stays the
 * caller's. 0, or negative errno: -ECHILD if none is well or lives, or what the
 * last one said, as -EAGAIN if it has no room for more.
 */
int worker_pool_hand_over(struct worker_pool *pool, int fd);

/*
 * Let all that are well prove that the fallback takes visitors. What becomes of
 * it is told by worker_pool_proof(), while worker_pool_receive() is called:
 * -EINPROGRESS, 0, or the negative errno of one that was turned away; -ECHILD
 * if none is there to prove it.
 */
void worker_pool_ask_proof(struct worker_pool *pool);
int worker_pool_proof(const struct worker_pool *pool);
/* Both, and wait in between, so long at most: then -ETIMEDOUT. */
int worker_pool_prove(struct worker_pool *pool, unsigned int patience_ms);

/* Has any of them doubts of the fallback? They are forgotten by this. */
bool worker_pool_doubts(struct worker_pool *pool);

/* Tell all to close what is left and end. */
void worker_pool_terminate(struct worker_pool *pool);

/* What they and those before them counted, all together. */
struct proxy_totals worker_pool_totals(const struct worker_pool *pool);

/* Put the last challenges that they took into @newest (challenges.h). */
void worker_pool_challenges(const struct worker_pool *pool,
			    struct challenge newest[static CHALLENGES_KEPT]);

/* Bits of enum confinement that are in force in all that run. */
unsigned int worker_pool_confinement(const struct worker_pool *pool);

#endif
