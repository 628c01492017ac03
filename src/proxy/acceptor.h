/* SPDX-License-Identifier: MIT */
/*
 * The accepting side: takes new connections while there is room for them, and
 * leaves them in the kernel's backlog while there is not.
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
	/* Close the listeners as soon as nothing is left in their backlog, and
	 * at this time whatever is. */
	bool closing;
	uint64_t close_ns;
};

/* @listeners are watched from now on; they are closed by the acceptor. */
void acceptor_open(struct engine *engine, struct listeners *listeners,
		   size_t connection_limit);
bool acceptor_is_open(const struct acceptor *acceptor);

/* Is @fd one of the listeners? */
bool acceptor_owns(const struct acceptor *acceptor, int fd);
/* The listener @fd has connections waiting. */
void acceptor_ready(struct engine *engine, int fd);
/* A connection was closed. */
void acceptor_room_made(struct engine *engine);
/* Take what the backlog holds and close the listeners; acceptor_is_open()
 * says when that is done. */
void acceptor_finish(struct engine *engine);
/* Time passed: end a pause that is over. */
void acceptor_tick(struct engine *engine);
/* When acceptor_tick() has something to do; UINT64_MAX if never. */
uint64_t acceptor_deadline(const struct acceptor *acceptor);

#endif
