/* SPDX-License-Identifier: MIT */
/*
 * The last challenges that were taken, for people to read. Each worker writes
 * its own into the page that it shares with the supervisor (counters.h), which
 * passes them on to whoever asks for the status, and judges nothing in them.
 */
#ifndef PROXY_CHALLENGES_H
#define PROXY_CHALLENGES_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>

#include "hello/domain_list.h"

#define CHALLENGES_KEPT 8

struct challenge {
	/* CLOCK_REALTIME; 0 where there is none. */
	uint64_t taken_ns;
	/* Who sent it: an address. */
	char client[INET6_ADDRSTRLEN];
	/* What it asks for, or "" where that is no name. */
	char server_name[DOMAIN_NAME_MAX + 1];
};

/* One as it is shared: while it is written, the first word is 0. */
struct challenge_slot {
	atomic_uint_least64_t words[sizeof(struct challenge) / sizeof(uint64_t)];
};

/* Write @challenge, as taken now. */
void challenge_write(struct challenge_slot *slot, struct challenge *challenge);

/*
 * Put those of a worker that are whole where they belong in @newest: the last
 * ones of all workers, the newest first. Their texts are terminated.
 */
void challenges_collect(
	const struct challenge_slot slots[static CHALLENGES_KEPT],
	struct challenge newest[static CHALLENGES_KEPT]);

#endif
