// SPDX-License-Identifier: MIT
#include "redirect/bpf/stand_in.h"

#include <errno.h>

#include "base/clock.h"

#define HOUR_NS (3600 * NS_PER_S)

/* Handshakes that steering has begun have this long to end. */
#define GRACE_NS (3 * NS_PER_S)
/* A container that restarts, or is replaced, is waited for. */
#define VACANT_NS (10 * NS_PER_S)
/*
 * What a challenge has shown may be over, and only the next one can tell, which
 * is lost if it is not. The client whose order has failed by that comes again
 * within a day or so, and finds steering; once it has its certificate, there is
 * time for a trial before the next one.
 */
#define AGAIN_NS (48 * HOUR_NS)
/* What steering needs may be there later. */
#define REFUSED_NS HOUR_NS

const char *stand_in_text(enum stand_in_reason reason)
{
	switch (reason) {
	case STAND_IN_NOBODY_LISTENS:
		return "nobody listens on the port";
	case STAND_IN_ELSEWHERE:
		return "a challenge found no socket in this network namespace";
	case STAND_IN_FAILED:
		return "a challenge could not be moved, as its socket could "
		       "not be made";
	case STAND_IN_RESET_LOST:
		return "a challenge could not be moved, as a firewall drops "
		       "inbound RST";
	default:
		return "";
	}
}

/* Is it a matter of this moment, and not of the host? */
static bool passes_by(int err)
{
	switch (err) {
	case 0:
	/* Its name was taken; by whom is seen when the client sends again. */
	case -EADDRNOTAVAIL:
	case -EAGAIN:
	case -ECHILD:
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM:
		return true;
	default:
		return false;
	}
}

/* A web server that is started anew is away for a moment. */
static bool is_vacant(const struct stand_in *self,
		      const struct stand_in_signs *signs, uint64_t now)
{
	return signs->looked && !signs->serves && !self->served &&
	       (!self->contained_ns || now - self->contained_ns >= VACANT_NS);
}

static enum stand_in_reason find_reason(const struct stand_in *self,
					const struct stand_in_signs *signs,
					uint64_t now)
{
	if (!passes_by(signs->err))
		return STAND_IN_FAILED;
	if (signs->reset_lost)
		return STAND_IN_RESET_LOST;
	if (signs->elsewhere)
		return STAND_IN_ELSEWHERE;
	return is_vacant(self, signs, now) ? STAND_IN_NOBODY_LISTENS
					   : STAND_IN_NONE;
}

/* Somebody listens: is that enough? */
static bool is_over(const struct stand_in *self,
		    const struct stand_in_signs *signs, uint64_t now)
{
	return self->reason == STAND_IN_NOBODY_LISTENS ||
	       (self->reason == STAND_IN_ELSEWHERE && signs->moved) ||
	       now >= self->until_ns;
}

enum stand_in_step stand_in_look(struct stand_in *self,
				 const struct stand_in_signs *signs,
				 uint64_t now)
{
	const bool serves = signs->looked && signs->serves;

	if (serves && signs->in_containers)
		self->contained_ns = now;
	self->wanted = find_reason(self, signs, now);
	if (signs->looked)
		self->served = signs->serves;
	if (self->reason)
		return serves && is_over(self, signs, now) ? STAND_IN_PAUSE
							   : STAND_IN_STAY;
	if (self->wanted && now >= self->refused_until_ns)
		return STAND_IN_BEGIN;
	if (!serves || !self->grace_until_ns || now < self->grace_until_ns)
		return STAND_IN_STAY;
	self->grace_until_ns = 0;
	return STAND_IN_END;
}

void stand_in_begun(struct stand_in *self, uint64_t now)
{
	self->reason = self->wanted;
	self->until_ns = now + AGAIN_NS;
	self->grace_until_ns = 0;
}

void stand_in_refused(struct stand_in *self, uint64_t now)
{
	self->refused_until_ns = now + REFUSED_NS;
	self->grace_until_ns = 0;
}

void stand_in_paused(struct stand_in *self, uint64_t now)
{
	self->reason = STAND_IN_NONE;
	self->grace_until_ns = now + GRACE_NS;
}
