// SPDX-License-Identifier: MIT
#include "proxy/pipe_pool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Asked for each pipe. A refusal leaves the default, which is two page slots
 * for a user who has many (pipe-user-pages-soft, pipe(7)). A pipe holds one
 * piece of a segment in each of its slots, so what fits in is many times more
 * or a little less than this.
 */
#define PIPE_SIZE (512 * 1024)

void pipe_pool_init(struct pipe_pool *pool, size_t maximum)
{
	*pool = (struct pipe_pool){ .unopened = maximum };
}

void pipe_pool_close(struct pipe_pool *pool)
{
	while (pool->idle)
		pipe_pool_discard(pool, pipe_pool_take(pool));
}

static struct pipe *open_pipe(void)
{
	struct pipe *pipe = malloc(sizeof(*pipe));
	int ends[2];

	if (!pipe)
		return NULL;
	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) {
		free(pipe);
		return NULL;
	}
	fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE);
	*pipe = (struct pipe){ .read_fd = ends[0], .write_fd = ends[1] };
	return pipe;
}

struct pipe *pipe_pool_take(struct pipe_pool *pool)
{
	struct pipe *pipe = pool->idle;

	if (pipe) {
		pool->idle = pipe->next;
		return pipe;
	}
	if (pool->unopened == 0)
		return NULL;
	pipe = open_pipe();
	if (pipe)
		pool->unopened--;
	return pipe;
}

void pipe_pool_give(struct pipe_pool *pool, struct pipe *pipe)
{
	pipe->next = pool->idle;
	pool->idle = pipe;
}

void pipe_pool_discard(struct pipe_pool *pool, struct pipe *pipe)
{
	close(pipe->read_fd);
	close(pipe->write_fd);
	free(pipe);
	pool->unopened++;
}
