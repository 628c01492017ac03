/* SPDX-License-Identifier: MIT */
/*
 * Pipes for splice(), lent to a connection only while bulk data is in them.
 *
 * They take a fixed share of the descriptors and then no more, so that readers
 * who stall with a pipe full of data keep nobody else out.
 */
#ifndef PROXY_PIPE_POOL_H
#define PROXY_PIPE_POOL_H

#include <stddef.h>

/* Descriptors that each pipe takes. */
#define PIPE_DESCRIPTORS 2

struct pipe {
	struct pipe *next;
	int read_fd;
	int write_fd;
};

struct pipe_pool {
	/* Empty pipes, the last used first. */
	struct pipe *idle;
	/* Pipes that may still be opened. */
	size_t unopened;
};

void pipe_pool_init(struct pipe_pool *pool, size_t maximum);
/* Close the idle pipes; all must have been given back. */
void pipe_pool_close(struct pipe_pool *pool);

/* Lend an empty pipe; NULL if all are lent or none can be opened. */
struct pipe *pipe_pool_take(struct pipe_pool *pool);
/* Take back an empty pipe. */
void pipe_pool_give(struct pipe_pool *pool, struct pipe *pipe);
/* Take back a pipe that may still hold data; it is closed. */
void pipe_pool_discard(struct pipe_pool *pool, struct pipe *pipe);

#endif
