// SPDX-License-Identifier: MIT
#include "redirect/rules/nat_targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"

bool nat_target_is(const struct nat_target *one, const struct nat_target *other)
{
	return one->port == other->port &&
	       IN6_ARE_ADDR_EQUAL(&one->address, &other->address);
}

void nat_targets_add(struct nat_targets *targets,
		     const struct nat_target *target)
{
	for (size_t i = 0; i < targets->count; i++) {
		if (nat_target_is(&targets->items[i], target))
			return;
	}
	if (targets->count < NAT_TARGETS_MOST)
		targets->items[targets->count++] = *target;
}

void nat_targets_note(struct nat_targets *targets, const char *line)
{
	line += strspn(line, " \t");
	if (!*targets->rule)
		snprintf(targets->rule, sizeof(targets->rule), "%.*s",
			 (int)strcspn(line, "\n"), line);
}

bool nat_target_parse(const char *text, uint16_t port,
		      struct nat_target *target)
{
	char address[INET6_ADDRSTRLEN];
	const bool bracketed = *text == '[';
	size_t length = strcspn(text += bracketed, "]-");
	const char *rest;
	unsigned long named = port;

	/* One colon parts a port from an IPv4 address. */
	if (!bracketed && strchr(text, ':') == strrchr(text, ':'))
		length = strcspn(text, ":-");
	if (length >= sizeof(address))
		return false;
	snprintf(address, sizeof(address), "%.*s", (int)length, text);
	rest = text + length;
	if (*rest == '-' || *rest == ']')
		rest += strcspn(rest, bracketed ? "]" : ":");
	rest += *rest == ']';
	if (*rest == ':')
		named = strtoul(rest + 1, NULL, 10);
	if (named == 0 || named > UINT16_MAX)
		return false;
	*target = (struct nat_target){ .port = (uint16_t)named };
	return length == 0 ? *rest == ':'
			   : address_parse(address, &target->address);
}
