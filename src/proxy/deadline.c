// SPDX-License-Identifier: MIT
#include "proxy/deadline.h"

void deadline_queue_init(struct deadline_queue *queue, uint64_t duration_ns)
{
	TAILQ_INIT(&queue->waiting);
	queue->duration_ns = duration_ns;
}

void deadline_start(struct deadline *deadline, struct deadline_queue *queue,
		    uint64_t now_ns)
{
	deadline_stop(deadline);
	deadline->queue = queue;
	deadline->expires_ns = now_ns + queue->duration_ns;
	TAILQ_INSERT_TAIL(&queue->waiting, deadline, link);
}

void deadline_stop(struct deadline *deadline)
{
	if (!deadline->queue)
		return;
	TAILQ_REMOVE(&deadline->queue->waiting, deadline, link);
	deadline->queue = NULL;
}

struct deadline *deadline_expired(struct deadline_queue *queue, uint64_t now_ns)
{
	struct deadline *first = TAILQ_FIRST(&queue->waiting);

	if (!first || first->expires_ns > now_ns)
		return NULL;
	deadline_stop(first);
	return first;
}

uint64_t deadline_next(const struct deadline_queue *queue)
{
	const struct deadline *first = TAILQ_FIRST(&queue->waiting);

	return first ? first->expires_ns : UINT64_MAX;
}
