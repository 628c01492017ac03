/* SPDX-License-Identifier: MIT */
/*
 * Is the service port published to somewhere else by NAT on this host, as
 * container engines do it? Such a rule carries a steered packet away, unless
 * its flow is pinned in conntrack, and comes before a rule of ours.
 */
#ifndef REDIRECT_RULES_PUBLISHED_H
#define REDIRECT_RULES_PUBLISHED_H

#include <stdint.h>
#include <sys/socket.h>

#include "redirect/host.h"

/*
 * As published_find() of @rules, the dump of @family's nat table, where a
 * REDIRECT to @listen_port is our own and does not count. Returns 1 with the
 * rule in @rule, 0 if there is none, or -ENOMEM.
 */
int published_in_dump(sa_family_t family, const char *rules,
		      uint16_t service_port, uint16_t listen_port,
		      char rule[static RULE_TEXT_SIZE]);

#endif
