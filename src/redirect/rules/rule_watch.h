/* SPDX-License-Identifier: MIT */
/* When it is time to read the host's rules once more. */
#ifndef REDIRECT_RULES_RULE_WATCH_H
#define REDIRECT_RULES_RULE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct rule_watch {
	/* Notifications of nft's rules, or -1 where there are none. */
	int fd;
	/* Something has changed since the last look. */
	bool stale;
	uint64_t looked_ns;
	uint64_t rest_until_ns;
	/* When it was last seen whether changes are told of at all. */
	uint64_t checked_ns;
};

/* Begin to watch; a look is due. */
void rule_watch_open(struct rule_watch *self);
/* Safe on zeros with ->fd -1, and twice. */
void rule_watch_close(struct rule_watch *self);

/* Read what ->fd tells, for the next look. */
void rule_watch_heed(struct rule_watch *self);

/*
 * Is there reason to look: the rules have changed, or @changed says that
 * something else has that they follow? Whole rulesets are read, so that there
 * is some rest between looks. If true, rule_watch_looked() follows the look.
 */
bool rule_watch_is_due(struct rule_watch *self, bool changed);
void rule_watch_looked(struct rule_watch *self);

#endif
