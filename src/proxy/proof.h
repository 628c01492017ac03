/* SPDX-License-Identifier: MIT */
/*
 * Can a visitor be served? A connection to the fallback as it is made for
 * visitors, to one address after the other, until one is accepted and kept: a
 * forwarder may accept at once, and turn away when its own way on fails.
 */
#ifndef PROXY_PROOF_H
#define PROXY_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/messages.h"

struct engine;

struct proof {
	/* -1 while none is under way. */
	int fd;
	/* Of all tries, the next; the address and the kind of source follow. */
	size_t next_try;
	/* This try is over then: failed, or kept if it was accepted. */
	uint64_t due_ns;
	bool accepted;
	/* What the first try said that failed, but for shortages of ours. */
	int err;
	/* What it came to, once over. */
	enum proxy_message answer;
};

#define PROOF_NONE ((struct proof){ .fd = -1, .due_ns = UINT64_MAX })

/* Begin, or go on with the one under way. Returns whether it is over. */
bool proof_begin(struct proof *proof, struct engine *engine);

/* Its descriptor is ready, or proof->due_ns has come. Returns whether it is
 * over: then ->answer tells, the engine keeps to the source that worked, and
 * the page has the error. */
bool proof_go_on(struct proof *proof, struct engine *engine);

/* Safe at any time. */
void proof_drop(struct proof *proof, struct engine *engine);

#endif
