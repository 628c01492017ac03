// SPDX-License-Identifier: MIT
#include "proxy/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The most that one turn moves for one flow by splice(). */
#define SPLICE_SIZE ((size_t)1024 * 1024)
/* A source that has sent more than this is not one whose end follows at once. */
#define SHORT_ANSWER FLOW_COPY_SIZE
/* The smallest block of held memory; it grows by doubling. */
#define HELD_MINIMUM 512

static bool would_block(ssize_t result)
{
	return result < 0 && (errno == EAGAIN || errno == EINTR);
}

static size_t held_capacity(size_t length)
{
	size_t capacity = HELD_MINIMUM;

	while (capacity < length)
		capacity *= 2;
	return capacity;
}

int flow_hold(struct flow *flow, const uint8_t *bytes, size_t length)
{
	size_t used = flow->held_offset + flow->held_length;
	size_t needed = held_capacity(used + length);

	if (length == 0)
		return 0;
	if (used == 0 || needed > held_capacity(used)) {
		uint8_t *memory = realloc(flow->held.memory, needed);

		if (!memory)
			return -ENOMEM;
		flow->held.memory = memory;
	}
	memcpy(flow->held.memory + used, bytes, length);
	flow->held_length += (uint32_t)length;
	return 0;
}

int flow_hold_before(struct flow *flow, const uint8_t *bytes, size_t length)
{
	const size_t held = flow->held_length;
	int err = flow_hold(flow, bytes, length);

	if (err || held == 0)
		return err;
	memmove(flow->held.memory + length, flow->held.memory, held);
	memcpy(flow->held.memory, bytes, length);
	return 0;
}

void flow_skip(struct flow *flow, size_t length)
{
	flow->held_offset += (uint32_t)length;
	flow->held_length -= (uint32_t)length;
}

static void release_held(struct flow *flow, struct flow_tools *tools)
{
	if (!flow->held_in_pipe)
		free(flow->held.memory);
	else if (flow->held_length == 0)
		pipe_pool_give(&tools->pipes, flow->held.pipe);
	else
		pipe_pool_discard(&tools->pipes, flow->held.pipe);
	flow->held.memory = NULL;
	flow->held_in_pipe = false;
	flow->held_length = 0;
	flow->held_offset = 0;
}

void flow_drop(struct flow *flow, struct flow_tools *tools)
{
	release_held(flow, tools);
	flow->state = FLOW_FINISHED;
}

/* Nagle's algorithm only delays a small write behind another one. */
static void before_write(struct flow *flow, int sink)
{
	const int on = 1;

	if (!flow->sink_delays || flow->bytes == 0)
		return;
	setsockopt(sink, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	flow->sink_delays = false;
}

/*
 * Bytes taken by the sink, 0 if it takes none now, -1 if it failed. The last
 * ones wait for the end that is about to be passed on, so that both leave in
 * one segment.
 */
static ssize_t write_to_sink(struct flow *flow, int sink, const uint8_t *bytes,
			     size_t length)
{
	const bool last = flow->source_ended && !flow->ends_in_reset;
	ssize_t written;

	before_write(flow, sink);
	written =
		send(sink, bytes, length, MSG_NOSIGNAL | (last ? MSG_MORE : 0));
	if (would_block(written))
		return 0;
	if (written > 0)
		flow->bytes += (uint64_t)written;
	return written;
}

/* The same from the pipe. The length is exact and SPLICE_F_MORE is not set:
 * either would let the kernel hold back the last segment. */
static ssize_t splice_to_sink(struct flow *flow, int sink)
{
	ssize_t written;

	before_write(flow, sink);
	written = splice(flow->held.pipe->read_fd, NULL, sink, NULL,
			 flow->held_length, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (would_block(written))
		return 0;
	if (written > 0)
		flow->bytes += (uint64_t)written;
	return written;
}

/* send(2): but for these, the other end is gone or cannot be reached. */
static enum flow_result sink_failure(void)
{
	return errno == ENOMEM || errno == ENOBUFS ? FLOW_BROKEN
						   : FLOW_SINK_FAILED;
}

static enum flow_result deliver_held(struct flow *flow,
				     struct flow_tools *tools, int sink)
{
	ssize_t written;

	if (flow->held_in_pipe)
		written = splice_to_sink(flow, sink);
	else
		written = write_to_sink(flow, sink,
					flow->held.memory + flow->held_offset,
					flow->held_length);
	if (written < 0)
		return sink_failure();
	flow->held_length -= (uint32_t)written;
	if (!flow->held_in_pipe)
		flow->held_offset += (uint32_t)written;
	if (flow->held_length == 0)
		release_held(flow, tools);
	return FLOW_OK;
}

static void settle(struct flow *flow)
{
	if (flow->held_length > 0)
		flow->state = FLOW_WRITING;
	else if (flow->source_ended)
		flow->state = FLOW_FINISHED;
	else
		flow->state = FLOW_READING;
}

enum flow_result flow_deliver(struct flow *flow, struct flow_tools *tools,
			      int sink)
{
	enum flow_result result = FLOW_OK;

	if (flow->held_length > 0)
		result = deliver_held(flow, tools, sink);
	if (result == FLOW_OK)
		settle(flow);
	return result;
}

/* The same with bytes that are not held, but for those that the sink does not
 * take. */
static enum flow_result deliver_fresh(struct flow *flow, int sink,
				      const uint8_t *bytes, size_t length)
{
	ssize_t written = length > 0 ? write_to_sink(flow, sink, bytes, length)
				     : 0;

	if (written < 0)
		return sink_failure();
	if (flow_hold(flow, bytes + written, length - (size_t)written) != 0)
		return FLOW_BROKEN;
	settle(flow);
	return FLOW_OK;
}

/* Read behind the @length bytes in the buffer. As run_copy() but for the end,
 * and what it returns is the length of all. */
static ssize_t read_behind(struct flow *flow, struct flow_tools *tools,
			   int source, size_t length)
{
	ssize_t more = recv(source, tools->buffer + length,
			    sizeof(tools->buffer) - length, 0);

	flow->source_ended = more == 0;
	if (more < 0 && !would_block(more))
		return more;
	return (ssize_t)length + (more > 0 ? more : 0);
}

/*
 * Most visits are short: an answer, and behind it the end. A second look finds
 * the end while it can still go with the answer, which saves a turn and a
 * segment with its acknowledgement, a tenth of what a short connection costs.
 */
static enum flow_result run_copy(struct flow *flow, struct flow_tools *tools,
				 int source, int sink)
{
	ssize_t length = recv(source, tools->buffer, sizeof(tools->buffer), 0);
	enum flow_result result;
	ssize_t all = length;

	if (would_block(length))
		return FLOW_OK;
	if (length < 0)
		return FLOW_SOURCE_FAILED;
	flow->source_ended = length == 0;
	if (length > 0 && length < (ssize_t)sizeof(tools->buffer) &&
	    flow->bytes < SHORT_ANSWER)
		all = read_behind(flow, tools, source, (size_t)length);
	flow->bulk = all == sizeof(tools->buffer);
	result = deliver_fresh(flow, sink, tools->buffer,
			       (size_t)(all < 0 ? length : all));
	/* What the sink has no room for goes with the source, as it does when
	 * the reset comes while it is held already. */
	return result == FLOW_OK && all < 0 ? FLOW_SOURCE_FAILED : result;
}

/* An error of the call, not of the connection: copying will do. The other
 * kind must not be asked for again, because it is reported only once. */
static bool splice_refused(void)
{
	return errno == EINVAL || errno == ENOMEM || errno == EPERM ||
	       errno == ENOSYS;
}

/*
 * Fill a pipe and empty it again. It is only filled when it is empty, so that
 * EAGAIN can only mean that nothing is there to read, never a full pipe.
 */
static enum flow_result run_splice(struct flow *flow, struct flow_tools *tools,
				   int source, int sink)
{
	struct pipe *pipe = pipe_pool_take(&tools->pipes);
	ssize_t length;

	if (!pipe)
		return run_copy(flow, tools, source, sink);

	length = splice(source, NULL, pipe->write_fd, NULL, SPLICE_SIZE,
			SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (length <= 0) {
		pipe_pool_give(&tools->pipes, pipe);
		if (would_block(length))
			return FLOW_OK;
		if (length < 0 && !splice_refused())
			return FLOW_SOURCE_FAILED;
		/* Zero is the end of the stream, or urgent data in the way
		 * (tcp_splice_read() does not say which): recv() knows. */
		return run_copy(flow, tools, source, sink);
	}
	flow->bulk = (size_t)length >= FLOW_COPY_SIZE;
	flow->held.pipe = pipe;
	flow->held_in_pipe = true;
	flow->held_length = (uint32_t)length;
	return flow_deliver(flow, tools, sink);
}

enum flow_result flow_run(struct flow *flow, struct flow_tools *tools,
			  int source, int sink)
{
	if (flow->state == FLOW_WRITING) {
		enum flow_result result = flow_deliver(flow, tools, sink);

		/* A bulk source has surely more by now. */
		if (result != FLOW_OK || flow->state != FLOW_READING ||
		    !flow->bulk)
			return result;
	}
	if (flow->bulk)
		return run_splice(flow, tools, source, sink);
	return run_copy(flow, tools, source, sink);
}
