/* SPDX-License-Identifier: MIT */
/* Where NAT leads what is sent to the service port. Pure. */
#ifndef REDIRECT_RULES_NAT_TARGETS_H
#define REDIRECT_RULES_NAT_TARGETS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redirect/host.h"

/* Whatever is beyond is not followed. */
#define NAT_TARGETS_MOST 64

struct nat_target {
	/* IPv4 as ::ffff:a.b.c.d; all zeros: an address of the host's own, as
	 * REDIRECT has it. */
	struct in6_addr address;
	/* Host byte order. */
	uint16_t port;
};

struct nat_targets {
	struct nat_target items[NAT_TARGETS_MOST];
	size_t count;
	/* The first rule that leads elsewhere, be it known where to or not; ""
	 * if none does. */
	char rule[RULE_TEXT_SIZE];
	/* Of iptables' rules: one of them leads some visitors alone elsewhere,
	 * or some are kept from it, by more than an interface left out. */
	bool for_some;
};

/* Each is there once. */
void nat_targets_add(struct nat_targets *targets,
		     const struct nat_target *target);
/* @line is a rule that leads elsewhere. */
void nat_targets_note(struct nat_targets *targets, const char *line);
bool nat_target_is(const struct nat_target *one,
		   const struct nat_target *other);

/*
 * "10.0.0.2", "10.0.0.2:8443", "fd00::2", "[fd00::2]:8443", ":8443", as rules
 * have it; of ranges the first. The port is @port where none is named. False if
 * it is nothing of that kind.
 */
bool nat_target_parse(const char *text, uint16_t port,
		      struct nat_target *target);

#endif
