/* SPDX-License-Identifier: MIT */
/*
 * One direction of a connection: bytes from a source socket to a sink socket.
 *
 * A flow waits for one thing at a time: for its source to be readable, or, if
 * the sink did not take all, for the sink to be writable. It reads nothing
 * while it holds bytes; so a slow reader is held back by TCP itself and costs
 * no memory but what its last read left over.
 */
#ifndef PROXY_FLOW_H
#define PROXY_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/pipe_pool.h"

/* Read at once by copying. More than this waiting at the source is bulk and
 * goes through a pipe. */
#define FLOW_COPY_SIZE ((size_t)16 * 1024)

enum flow_state {
	/* Waits for its source; the initial state. */
	FLOW_READING,
	/* Holds bytes and waits for its sink. */
	FLOW_WRITING,
	/* The source's end was read and all bytes are delivered, or the sink
	 * failed. */
	FLOW_FINISHED,
};

enum flow_result {
	FLOW_OK,
	/* Reset or otherwise gone; what the sink took of it was delivered
	 * before. */
	FLOW_SOURCE_FAILED,
	FLOW_SINK_FAILED,
	/* Bytes are lost by an error that is neither's, such as no memory. */
	FLOW_BROKEN,
};

/* Zero-initialised: reading. */
struct flow {
	/* Delivered to the sink. */
	uint64_t bytes;
	/* Bytes held, in memory of the flow's own or in a borrowed pipe. */
	union {
		uint8_t *memory;
		struct pipe *pipe;
	} held;
	uint32_t held_length;
	uint32_t held_offset;
	uint8_t state;
	bool held_in_pipe;
	bool bulk;
	/* The source has sent its FIN. */
	bool source_ended;
	/* The sink must get TCP_NODELAY before a second write: a first one is
	 * never delayed (RFC 896), so short connections go without. */
	bool sink_delays;
	/* The sink will be reset after the last bytes: they must not wait for
	 * its FIN. */
	bool ends_in_reset;
};

/* What flows of one process share. */
struct flow_tools {
	struct pipe_pool pipes;
	uint8_t buffer[FLOW_COPY_SIZE];
};

/* Keep a copy of @length bytes behind those held; 0 or -ENOMEM. Only for a
 * flow that holds none in a pipe. */
int flow_hold(struct flow *flow, const uint8_t *bytes, size_t length);

/* The same before those held; only for a flow that has delivered none. */
int flow_hold_before(struct flow *flow, const uint8_t *bytes, size_t length);

/* Let go of the first @length bytes of those held in memory. */
void flow_skip(struct flow *flow, size_t length);

/*
 * Deliver what is held, if anything. Where this finishes the flow, the last
 * bytes may not leave before the sink is shut down or closed, which is to be
 * done now.
 */
enum flow_result flow_deliver(struct flow *flow, struct flow_tools *tools,
			      int sink);

/* Do what the flow waits for, which is now possible: read and deliver, or
 * deliver what is held. */
enum flow_result flow_run(struct flow *flow, struct flow_tools *tools,
			  int source, int sink);

/* Let go of what is held and finish; safe at any time. */
void flow_drop(struct flow *flow, struct flow_tools *tools);

#endif
