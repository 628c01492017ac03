/* SPDX-License-Identifier: MIT */
/*
 * Whether steering stands in for handing off, decided by what challenges and
 * listeners have shown. It does so where there is nothing to take challenges
 * from, or where one has shown that it cannot be moved.
 */
#ifndef REDIRECT_BPF_STAND_IN_H
#define REDIRECT_BPF_STAND_IN_H

#include <stdbool.h>
#include <stdint.h>

enum stand_in_reason {
	STAND_IN_NONE,
	STAND_IN_NOBODY_LISTENS,
	STAND_IN_ELSEWHERE,
	STAND_IN_FAILED,
	STAND_IN_RESET_LOST,
};

/* What has been seen since the last time. */
struct stand_in_signs {
	/* What became of a challenge that could not be moved, or 0. */
	int err;
	/* One could not be, since the RST does not get to the web server's
	 * socket; or since that is somewhere else. */
	bool reset_lost;
	bool elsewhere;
	/* The service is somewhere else than before. */
	bool moved;
	/* It has been looked who listens: whether anybody does, and whether
	 * containers are known to serve. */
	bool looked;
	bool serves;
	bool in_containers;
};

/* Begins with zeros: handing off. All times are CLOCK_MONOTONIC. */
struct stand_in {
	/* Why steering stands in, and why it should. */
	enum stand_in_reason reason;
	enum stand_in_reason wanted;
	/* When handing off is tried again. */
	uint64_t until_ns;
	/* Handshakes that steering has begun may end until then; 0: none. */
	uint64_t grace_until_ns;
	/* It could not stand in, and is not asked to before then. */
	uint64_t refused_until_ns;
	/* Did anybody listen when it was last looked? And when did containers
	 * last? */
	bool served;
	uint64_t contained_ns;
};

enum stand_in_step {
	STAND_IN_STAY,
	/* Steer, for the reason that is wanted: stand_in_begun() or _refused()
	 * is next. */
	STAND_IN_BEGIN,
	/* Steer nobody new: stand_in_paused() is next. */
	STAND_IN_PAUSE,
	/* Hand off. */
	STAND_IN_END,
};

enum stand_in_step stand_in_look(struct stand_in *self,
				 const struct stand_in_signs *signs,
				 uint64_t now);

void stand_in_begun(struct stand_in *self, uint64_t now);
void stand_in_refused(struct stand_in *self, uint64_t now);
void stand_in_paused(struct stand_in *self, uint64_t now);

/* For people to read. */
const char *stand_in_text(enum stand_in_reason reason);

#endif
