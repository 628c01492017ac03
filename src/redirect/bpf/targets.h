/* SPDX-License-Identifier: MIT */
/*
 * Who gets what is sent to the service port of this host: NAT may lead it to
 * another port, or to another address, such as a container's. The rules tell
 * it, and conntrack does of connections that have come already, whatever the
 * rules look like.
 */
#ifndef REDIRECT_BPF_TARGETS_H
#define REDIRECT_BPF_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>
#include "bpf/shared.h"
#include "redirect/rules/nat_targets.h"
#include "redirect/rules/rule_watch.h"

struct targets {
	struct rule_watch rules;
	/* What conntrack said when it was asked last. */
	struct nat_targets known;
	/* Sockets of this host, and those of other addresses: the first
	 * ->published of them are named by rules. */
	struct nat_targets own;
	struct nat_targets others;
	size_t published;
	/* Where the service's sockets of this host may be instead, as the
	 * program wants to know it. */
	struct handoff_translation translations[HANDOFF_TRANSLATIONS];
	size_t translation_count;
};

/*
 * Look for targets of @service_port if there is reason to (@changed: see
 * rule_watch_is_due()). An own redirect to @own_port is none. Conntrack is
 * asked as well if @ask_conntrack, which is the longer the more connections
 * there are.
 *
 * True if there are others than before.
 */
bool targets_look(struct targets *self, uint16_t service_port,
		  uint16_t own_port, bool changed, bool ask_conntrack);

#endif
