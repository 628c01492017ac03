/* SPDX-License-Identifier: MIT */
/*
 * While a redirect proxies visitors: is each of them served? No list of
 * firewalls is ever complete, so what happens to visitors is what counts. Where
 * they are turned away or do not arrive, the redirect is to be paused, and
 * tried again when there is reason to.
 */
#ifndef SUPERVISOR_ASIDE_H
#define SUPERVISOR_ASIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "listen/listener.h"
#include "redirect/redirect.h"
#include "supervisor/pool.h"

struct aside {
	/* The fallback has taken a proof: what it turns away now, it would not
	 * have turned away from us before. */
	bool proved;
	/* Why the redirect is paused, for the log and status; "" if it is not. */
	char why[160];
	/* A proof is under way until then at the latest, or 0. */
	uint64_t proof_until_ns;
	/* While paused: when to try again. */
	uint64_t retry_ns;
	/* How long the last pause was to last, and when it ended. */
	uint64_t pause_ns;
	uint64_t resumed_ns;
	/* When to look for visitors that do not arrive. */
	uint64_t look_ns;
	/* At the last look; and at the first after which none arrived, although
	 * some were led here since then. */
	uint64_t accepted;
	uint64_t led;
	bool led_known;
	uint64_t missing_since_ns;
	/* At the beginning of the time in which failures are counted. */
	uint64_t counting_since_ns;
	uint64_t failed_before;
	uint64_t tried_before;
};

enum aside_step {
	ASIDE_STAY,
	/* Take new visitors off the proxy; aside->why says why. */
	ASIDE_PAUSE,
	ASIDE_RESUME,
};

/* What is to be done now, with a redirect to @listeners that is @attached or
 * was paused. */
enum aside_step aside_look(struct aside *aside, struct worker_pool *pool,
			   const struct listeners *listeners,
			   struct redirect *redirect, bool attached);

/* When there is something to look at even if nothing happens. */
uint64_t aside_due(const struct aside *aside);

#endif
