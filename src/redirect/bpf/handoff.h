/* SPDX-License-Identifier: MIT */
/*
 * The handoff program (bpf/handoff.bpf.c) in the kernel, and what follows in
 * user space from the challenges that it takes: for each a socket, which is
 * given to a worker.
 */
#ifndef REDIRECT_BPF_HANDOFF_H
#define REDIRECT_BPF_HANDOFF_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redirect/bpf/program.h"
#include "redirect/bpf/repair.h"

struct domain_list;

/* The connection that has no socket but one under repair; fd is -1 if none. */
struct handoff_moving {
	int fd;
	/* What the client has sent, up to this sequence number. */
	uint32_t next_sequence;
	/* Our own next one. */
	uint32_t send_next;
	uint64_t seen_ns;
	struct handoff_flow flow;
	uint32_t ifindex;
};

struct handoff {
	struct program program;
	struct ring_buffer *events;
	int moves_fd;
	int given_up_fd;
	/* Where the sockets are made, or -1 for our own network namespace; the
	 * owner's. */
	int netns_fd;
	/* Of conntrack_revive_open(). */
	int conntrack_fd;
	struct handoff_moving moving;
	/* Whom a finished socket is given to, see struct redirect_config. */
	int (*hand_over)(void *context, int fd);
	void *hand_over_context;
	/* No line of log for each. */
	bool quiet;

	/* Sockets given to a worker; when the last one was, and how long it
	 * took, from the segment on; the longest. */
	uint64_t moved;
	uint64_t moved_ns;
	uint64_t last_ns;
	uint64_t worst_ns;
	/* Those that could not be made or given; when the last one was, and
	 * why. */
	uint64_t failed;
	uint64_t failed_ns;
	int failed_err;
	/* Of these, whose socket has been seen at the web server again: what
	 * drops an RST is in the way. */
	uint64_t resets_lost;
	/* Challenges for this host without a socket in this namespace, to which
	 * NAT leads elsewhere. */
	uint64_t nobody;
};

#define HANDOFF_NONE                                                   \
	{                                                              \
		.program = { .object = NULL }, .moves_fd = -1,         \
		.given_up_fd = -1, .netns_fd = -1, .conntrack_fd = -1, \
		.moving = {                                            \
			.fd = -1                                       \
		}                                                      \
	}

/*
 * Load the program, switched off; the switch says whether it takes the
 * challenges for the @names (or NULL) alone. 0 or negative errno, nothing stays
 * then.
 */
int handoff_load(struct handoff *handoff, const struct domain_list *names);
/*
 * The same for connections of the namespace @netns_fd, which the process is in
 * at the time, under the lease @lease_fd of another program, and with less
 * memory.
 */
int handoff_load_there(struct handoff *handoff, const struct domain_list *names,
		       int netns_fd, int lease_fd);
/* Safe on HANDOFF_NONE, and twice. */
void handoff_unload(struct handoff *handoff);

/* Where NAT within this host leads the service to; replaces what was there.
 * 0 or negative errno. */
int handoff_translate(const struct handoff *handoff,
		      const struct handoff_translation *translations,
		      size_t count);

/* Readable when handoff_receive() has something to do. */
int handoff_event_fd(const struct handoff *handoff);

/* Make sockets for all challenges that were taken, and hand them over. What
 * became of them is in the counts. */
void handoff_receive(struct handoff *handoff);

#endif
