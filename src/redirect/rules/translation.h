/* SPDX-License-Identifier: MIT */
/* Where a NAT rule sends connections, told from its text. Pure. */
#ifndef REDIRECT_RULES_TRANSLATION_H
#define REDIRECT_RULES_TRANSLATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"

/*
 * @rule is a line of `iptables -S` or of `nft -n list ruleset` that redirects
 * connections to @port. Writes "address:port" to @target: on loopback for one
 * that leads to another port of this host. False if the rule does not say.
 */
bool translation_target(const char *rule, uint16_t port,
			char target[static ENDPOINT_TEXT_SIZE]);

#endif
