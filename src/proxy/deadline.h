/* SPDX-License-Identifier: MIT */
/*
 * Timers that all run for the same time: a queue in order of arrival is then
 * in order of expiry, and starting, stopping and finding the next one cost
 * nothing.
 */
#ifndef PROXY_DEADLINE_H
#define PROXY_DEADLINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* Part of the object that waits; zero-initialised: not running. */
struct deadline {
	TAILQ_ENTRY(deadline) link;
	struct deadline_queue *queue;
	uint64_t expires_ns;
};

struct deadline_queue {
	TAILQ_HEAD(, deadline) waiting;
	uint64_t duration_ns;
};

/* The object of type @type that @pointer, its member @member, is part of. */
#define deadline_owner(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

void deadline_queue_init(struct deadline_queue *queue, uint64_t duration_ns);

/* Run from @now_ns; one that already runs, in this or in another queue, is
 * started anew. */
void deadline_start(struct deadline *deadline, struct deadline_queue *queue,
		    uint64_t now_ns);

/* Nothing if it does not run. */
void deadline_stop(struct deadline *deadline);

/* Stop and return the first one that had run out by @now_ns, or NULL. */
struct deadline *deadline_expired(struct deadline_queue *queue,
				  uint64_t now_ns);

/* When the first one runs out; UINT64_MAX if none runs. */
uint64_t deadline_next(const struct deadline_queue *queue);

#endif
