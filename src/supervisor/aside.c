// SPDX-License-Identifier: MIT
#include "supervisor/aside.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

/* A worker takes less for its answer. */
#define PROOF_NS ((PROXY_PROOF_MS + 300) * NS_PER_MS)
/* How often visitors are looked for that do not arrive. */
#define LOOK_NS (400 * NS_PER_MS)
/* So many that were led here, and none of them, nor of others, arrived for so
 * long: the slowest handshakes take a second. */
#define MISSING_COUNT 3
#define MISSING_NS    (750 * NS_PER_MS)
/* The fallback takes a proof, and still turns so many visitors away, at least
 * half of those that came in this time. */
#define FAILED_COUNT 5
#define COUNTING_NS  (10 * NS_PER_S)
/* A pause ends when a proof works; where that was no help, it lasts longer each
 * time. */
#define PAUSE_NS	 (100 * NS_PER_MS)
#define PAUSE_UNKNOWN_NS (5 * NS_PER_S)
#define PAUSE_MOST_NS	 (60 * NS_PER_S)
#define RELAPSE_NS	 (10 * NS_PER_S)

static enum aside_step pause_for(struct aside *aside, uint64_t shortest_ns)
{
	const uint64_t now = monotonic_ns();

	if (aside->resumed_ns && now - aside->resumed_ns < RELAPSE_NS)
		aside->pause_ns *= 2;
	else
		aside->pause_ns = 0;
	if (aside->pause_ns < shortest_ns)
		aside->pause_ns = shortest_ns;
	if (aside->pause_ns > PAUSE_MOST_NS)
		aside->pause_ns = PAUSE_MOST_NS;
	aside->retry_ns = now + aside->pause_ns;
	aside->proof_until_ns = 0;
	return ASIDE_PAUSE;
}

static void ask_proof(struct aside *aside, struct worker_pool *pool)
{
	aside->proof_until_ns = monotonic_ns() + PROOF_NS;
	worker_pool_ask_proof(pool);
}

/* 0, -EINPROGRESS, or why it failed. */
static int take_proof(struct aside *aside, const struct worker_pool *pool)
{
	int err = worker_pool_proof(pool);

	if (err == -EINPROGRESS && monotonic_ns() < aside->proof_until_ns)
		return err;
	aside->proof_until_ns = 0;
	if (!err)
		aside->proved = true;
	return err;
}

/* One who refuses today may have done so before we came. */
static enum aside_step follow_doubts(struct aside *aside,
				     struct worker_pool *pool)
{
	int err;

	if (worker_pool_doubts(pool) && !aside->proof_until_ns)
		ask_proof(aside, pool);
	if (!aside->proof_until_ns)
		return ASIDE_STAY;
	err = take_proof(aside, pool);
	if (!err || err == -EINPROGRESS || !aside->proved)
		return ASIDE_STAY;
	snprintf(aside->why, sizeof(aside->why),
		 "the fallback takes no visitors any more (%s)",
		 error_text(err));
	return pause_for(aside, PAUSE_NS);
}

static enum aside_step count_failures(struct aside *aside,
				      const struct proxy_totals *totals)
{
	const uint64_t now = monotonic_ns();
	const uint64_t all_failed =
		totals->fallback_unreachable + totals->fallback_resets;
	const uint64_t failed = all_failed - aside->failed_before;
	const uint64_t tried = totals->to_fallback - aside->tried_before;

	if (!aside->counting_since_ns ||
	    now - aside->counting_since_ns > COUNTING_NS) {
		aside->counting_since_ns = now;
		aside->failed_before = all_failed;
		aside->tried_before = totals->to_fallback;
		return ASIDE_STAY;
	}
	if (!aside->proved || failed < FAILED_COUNT || 2 * failed < tried)
		return ASIDE_STAY;
	aside->counting_since_ns = 0;
	snprintf(aside->why, sizeof(aside->why),
		 "the fallback turned %llu of %llu visitors away",
		 (unsigned long long)failed, (unsigned long long)tried);
	return pause_for(aside, PAUSE_UNKNOWN_NS);
}

/* No worker may have had the time, or the room, to take them: one that has will
 * soon answer a proof. */
static enum aside_step pause_for_missing(struct aside *aside,
					 const struct listeners *listeners)
{
	const bool waiting = listeners_have_waiting(listeners);

	snprintf(aside->why, sizeof(aside->why), "%s",
		 waiting ? "connections wait for us, and none is taken"
			 : "connections are led to us and never arrive, as if "
			   "a firewall dropped them");
	return pause_for(aside, waiting ? PAUSE_NS : PAUSE_UNKNOWN_NS);
}

static enum aside_step look_for_missing(struct aside *aside,
					const struct proxy_totals *totals,
					const struct listeners *listeners,
					struct redirect *redirect)
{
	const uint64_t now = monotonic_ns();
	uint64_t led;

	if (!redirect->ops->led || now < aside->look_ns)
		return ASIDE_STAY;
	aside->look_ns = now + LOOK_NS;
	if (totals->accepted != aside->accepted) {
		aside->accepted = totals->accepted;
		aside->led_known = false;
		return ASIDE_STAY;
	}
	led = redirect->ops->led(redirect);
	/* A rule that was made anew counts from 0. */
	if (!aside->led_known || led < aside->led) {
		aside->led = led;
		aside->led_known = true;
		aside->missing_since_ns = 0;
	}
	if (led == aside->led)
		return ASIDE_STAY;
	if (!aside->missing_since_ns)
		aside->missing_since_ns = now;
	if (led - aside->led < MISSING_COUNT ||
	    now - aside->missing_since_ns < MISSING_NS)
		return ASIDE_STAY;
	aside->led_known = false;
	return pause_for_missing(aside, listeners);
}

static enum aside_step wait_for_better(struct aside *aside,
				       struct worker_pool *pool)
{
	const uint64_t now = monotonic_ns();
	int err;

	worker_pool_doubts(pool);
	if (!aside->proof_until_ns && now >= aside->retry_ns)
		ask_proof(aside, pool);
	if (!aside->proof_until_ns)
		return ASIDE_STAY;
	err = take_proof(aside, pool);
	if (err == -EINPROGRESS)
		return ASIDE_STAY;
	if (err) {
		aside->retry_ns = now + PAUSE_NS;
		return ASIDE_STAY;
	}
	aside->resumed_ns = now;
	aside->led_known = false;
	aside->counting_since_ns = 0;
	return ASIDE_RESUME;
}

enum aside_step aside_look(struct aside *aside, struct worker_pool *pool,
			   const struct listeners *listeners,
			   struct redirect *redirect, bool attached)
{
	const struct proxy_totals totals = worker_pool_totals(pool);
	enum aside_step step;

	if (!attached) {
		aside->look_ns = 0;
		return *aside->why ? wait_for_better(aside, pool) : ASIDE_STAY;
	}
	step = follow_doubts(aside, pool);
	if (step == ASIDE_STAY)
		step = count_failures(aside, &totals);
	if (step == ASIDE_STAY)
		step = look_for_missing(aside, &totals, listeners, redirect);
	return step;
}

uint64_t aside_due(const struct aside *aside)
{
	uint64_t due = *aside->why ? aside->retry_ns : aside->look_ns;

	if (aside->proof_until_ns)
		due = aside->proof_until_ns;
	return due ? due : UINT64_MAX;
}
