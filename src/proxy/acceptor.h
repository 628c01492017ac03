/* SPDX-License-Identifier: MIT */
/*
 * Where connections come from: from the listeners while there is room, left in
 * the kernel's backlog while there is not; or handed over one by one.
 */
#ifndef PROXY_ACCEPTOR_H
#define PROXY_ACCEPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "listen/listener.h"

struct engine;

enum acceptor_pause {
	ACCEPTOR_RUNS,
	/* As many connections as there may be: until one closes. */
	ACCEPTOR_FULL,
	/* The system is out of descriptors or memory: for a short time. */
	ACCEPTOR_SHORTAGE,
};

struct acceptor {
	struct engine *engine;
	struct listeners *listeners;
	enum acceptor_pause pause;
	/* With ACCEPTOR_SHORTAGE: when to try again. */
	uint64_t retry_ns;
	/* Connections at one time that descriptors and configuration allow. */
	size_t connection_limit;
	/* Tries in one turn; grows while the backlog does not get empty. */
	unsigned int batch;
	/* The last turn that filled its batch. */
	uint32_t filled_turn;
	/* Close the listeners as soon as their backlog is empty, or at this
	 * time even if it is not. */
	bool closing;
	uint64_t close_ns;
};

/* Watch @listeners from now on; the acceptor closes them. */
void acceptor_open(struct acceptor *acceptor, struct engine *engine,
		   struct listeners *listeners, size_t connection_limit);
bool acceptor_is_open(const struct acceptor *acceptor);

/* Is there room for no more than those who may be in the middle of a handshake
 * with us? */
bool acceptor_is_nearly_full(const struct acceptor *acceptor);

/* Is @fd one of the listeners? */
bool acceptor_owns(const struct acceptor *acceptor, int fd);
/* The listener @fd has connections waiting. */
void acceptor_ready(struct acceptor *acceptor, int fd);
/* Serve @fd, a connected socket that no listener accepted, or close it if there
 * is no room; -1 if it was lost on its way. It is the acceptor's now. */
void acceptor_take(struct acceptor *acceptor, int fd);
/* Take what the backlog holds and close the listeners; acceptor_is_open()
 * says when that is done. */
void acceptor_finish(struct acceptor *acceptor);
/* A turn is over: end a pause that there is no reason for any more. */
void acceptor_tick(struct acceptor *acceptor);
/* When acceptor_tick() has something to do even if nothing happens; UINT64_MAX
 * if never. */
uint64_t acceptor_deadline(const struct acceptor *acceptor);

#endif
