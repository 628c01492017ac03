/* SPDX-License-Identifier: MIT */
/*
 * What an instance that was killed has left in a nat table: its redirect, and
 * the hold (conntrack_hold.h) that its workers may still need.
 */
#ifndef REDIRECT_IPTABLES_LEFTOVERS_H
#define REDIRECT_IPTABLES_LEFTOVERS_H

#include <stdint.h>
#include <sys/socket.h>

#include "redirect/rules/rulespec.h"

/*
 * Remove @rule, and all holds that no process needs, from the nat table of
 * @family. A hold that workers of a killed supervisor still need is removed
 * when they have ended, by a process started for it; if that cannot be started,
 * the hold, which does nothing, stays until the next start or stop. Returns 0
 * or negative errno; failures are logged.
 */
int leftovers_remove(sa_family_t family, const struct rulespec *rule,
		     uint16_t listen_port);

#endif
