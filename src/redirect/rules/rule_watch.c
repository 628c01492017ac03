// SPDX-License-Identifier: MIT
#include "redirect/rules/rule_watch.h"

#include <linux/netfilter/nfnetlink.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/memory.h"
#include "base/netlink.h"
#include "redirect/rules/nat_rules.h"

/* After a look comes a rest of so many times what it took, but for a busy
 * machine's sake no more than this, or what it took. */
#define REST	     10
#define REST_MOST_NS (NS_PER_S / 2)
/* Also where nothing tells of a change; where only looking tells. */
#define LOOK_INTERVAL_NS   (10 * NS_PER_S)
#define LEGACY_INTERVAL_NS (NS_PER_S - NS_PER_S / 10)

void rule_watch_open(struct rule_watch *self)
{
	static const unsigned int groups[] = { NFNLGRP_NFTABLES };
	const int fd = netlink_subscribe(NETLINK_NETFILTER, groups,
					 ARRAY_SIZE(groups));

	*self = (struct rule_watch){ .fd = fd < 0 ? -1 : fd, .stale = true };
}

void rule_watch_close(struct rule_watch *self)
{
	close_fd_at(&self->fd);
}

void rule_watch_heed(struct rule_watch *self)
{
	if (self->fd >= 0)
		self->stale |= netlink_drain(self->fd) != 0;
}

bool rule_watch_is_due(struct rule_watch *self, bool changed)
{
	const uint64_t now = monotonic_ns();

	self->stale |= changed || now - self->looked_ns >= LOOK_INTERVAL_NS;
	rule_watch_heed(self);
	if (now - self->checked_ns >= LEGACY_INTERVAL_NS) {
		self->checked_ns = now;
		self->stale |= self->fd < 0 || nat_has_legacy_table();
	}
	if (!self->stale || now < self->rest_until_ns)
		return false;
	self->stale = false;
	self->looked_ns = now;
	return true;
}

static uint64_t rest_of(uint64_t took_ns)
{
	const uint64_t most = took_ns > REST_MOST_NS ? took_ns : REST_MOST_NS;

	return REST * took_ns < most ? REST * took_ns : most;
}

void rule_watch_looked(struct rule_watch *self)
{
	const uint64_t now = monotonic_ns();

	self->rest_until_ns = now + rest_of(now - self->looked_ns);
}
