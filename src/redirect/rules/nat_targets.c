// SPDX-License-Identifier: MIT
#include "redirect/rules/nat_targets.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

bool nat_address_parse(const char *text, struct in6_addr *address)
{
	struct in_addr ipv4;

	if (inet_pton(AF_INET6, text, address) == 1)
		return true;
	if (inet_pton(AF_INET, text, &ipv4) != 1)
		return false;
	*address = (struct in6_addr){ .s6_addr = { [10] = 0xff, [11] = 0xff } };
	memcpy(&address->s6_addr[12], &ipv4, sizeof(ipv4));
	return true;
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
			   : nat_address_parse(address, &target->address);
}
