/* SPDX-License-Identifier: MIT */
/*
 * What becomes of steering where NAT publishes the port to somewhere else, as
 * container engines do it: without the conntrack pin it has to stop, and with
 * it the firewall may still be in the way.
 */
#ifndef REDIRECT_BPF_PUBLISHED_WATCH_H
#define REDIRECT_BPF_PUBLISHED_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "redirect/bpf/steering.h"
#include "redirect/redirect.h"

struct published_watch {
	/* A NAT rule publishes the port, found at that time. */
	bool published;
	uint64_t looked_ns;
	/* Interfaces have changed since, or a moment before. */
	bool look;
};

/*
 * Is what is asked for possible with this @steering? 0, or -EOPNOTSUPP, which
 * is logged: without the pin a published port is not (new visitors would
 * hang), nor is --past-firewall.
 */
int published_watch_check(const struct steering *steering,
			  const struct redirect_config *config);

/* Say so if the firewall drops what is steered in front of a container. */
void published_watch_warn(const struct redirect_config *config);

/*
 * Look again where the pin cannot be had, if it is time to; @changed: the
 * host's interfaces have. True if ->published is another now, which is logged.
 */
bool published_watch_look(struct published_watch *watch,
			  const struct steering *steering,
			  const struct redirect_config *config, bool changed);

#endif
