// SPDX-License-Identifier: MIT
#include "redirect/iptables/rule_watch.h"

#include <linux/netfilter/nfnetlink.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/netlink.h"

void rule_watch_open(struct rule_watch *watch)
{
	static const unsigned int group = NFNLGRP_NFTABLES;
	int fd = netlink_subscribe(NETLINK_NETFILTER, &group, 1);

	*watch = RULE_WATCH_NONE;
	if (fd < 0)
		log_debug("the kernel does not tell of changed rules: %s",
			  error_text(fd));
	else
		watch->fd = fd;
}

void rule_watch_close(struct rule_watch *watch)
{
	close_fd_at(&watch->fd);
}

bool rule_watch_due(struct rule_watch *watch)
{
	const uint64_t now = monotonic_ns();

	if (watch->fd >= 0 && netlink_drain(watch->fd) > 0)
		watch->changed = true;
	if (!watch->changed || now < watch->next_look_ns)
		return false;
	watch->changed = false;
	watch->next_look_ns = now + NS_PER_S;
	return true;
}
