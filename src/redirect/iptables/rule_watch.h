/* SPDX-License-Identifier: MIT */
/*
 * When do others change the host's packet filter rules? The kernel tells of
 * what iptables-nft and nft do; iptables-legacy replaces tables without a word.
 */
#ifndef REDIRECT_IPTABLES_RULE_WATCH_H
#define REDIRECT_IPTABLES_RULE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct rule_watch {
	/* Readable when rules have changed; -1 if the kernel does not tell. */
	int fd;
	bool changed;
	uint64_t next_look_ns;
};

#define RULE_WATCH_NONE ((struct rule_watch){ .fd = -1 })

void rule_watch_open(struct rule_watch *watch);
void rule_watch_close(struct rule_watch *watch);

/*
 * Is it time to look at the rules again? Once a second at most, as there are
 * hosts whose rules never rest; to be called as often at least.
 */
bool rule_watch_due(struct rule_watch *watch);

#endif
