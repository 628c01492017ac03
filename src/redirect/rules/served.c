// SPDX-License-Identifier: MIT
#include "redirect/host.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/address.h"
#include "base/memory.h"
#include "listen/listening.h"
#include "redirect/rules/nat_rules.h"

/* For each that may be the one, and for all of them. */
#define ANSWER_NS  (200 * NS_PER_MS)
#define ANSWERS_NS NS_PER_S
/* A web server's workers may have one each. */
#define MOST_LISTENERS 64

/* One that listens everywhere is found on loopback. */
static struct endpoint name_endpoint(const struct in6_addr *address,
				     uint16_t port,
				     char text[static ENDPOINT_TEXT_SIZE])
{
	struct endpoint endpoint;

	if (IN6_IS_ADDR_UNSPECIFIED(address))
		address = &in6addr_loopback;
	else if (address_is_any(address))
		address = &ipv4_loopback;
	endpoint = endpoint_at(address, port);
	endpoint_text(&endpoint, text);
	return endpoint;
}

static bool answers(const struct endpoint *endpoint, uint64_t deadline)
{
	const uint64_t own_deadline = monotonic_ns() + ANSWER_NS;

	return dial(endpoint,
		    own_deadline < deadline ? own_deadline : deadline) == 0;
}

/* Is its address that of one of the @count in @found? */
static bool is_found(const struct listening *listening,
		     const struct listening *found, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (IN6_ARE_ADDR_EQUAL(&listening->address, &found[i].address))
			return true;
	return false;
}

/* Of several that answer, only the user can tell whose the visitors are. */
static bool find_listener(uint16_t port, struct served *served)
{
	struct listening found[MOST_LISTENERS];
	const size_t count = listening_find(port, found, MOST_LISTENERS);
	const uint64_t deadline = monotonic_ns() + ANSWERS_NS;
	char text[ENDPOINT_TEXT_SIZE];
	bool found_ipv4 = false;

	for (size_t i = 0; i < count && i < MOST_LISTENERS; i++) {
		const bool ipv4 = IN6_IS_ADDR_V4MAPPED(&found[i].address);
		const struct endpoint endpoint =
			name_endpoint(&found[i].address, port, text);

		if (!*served->fallback)
			snprintf(served->by, sizeof(served->by),
				 "by a listener (%s)", text);
		if (is_found(&found[i], found, i) ||
		    strcmp(text, served->fallback) == 0 ||
		    (*served->fallback && ipv4 != found_ipv4) ||
		    !answers(&endpoint, deadline))
			continue;
		if (*served->fallback) {
			served->fallback[0] = '\0';
			break;
		}
		found_ipv4 = ipv4;
		strcpy(served->fallback, text);
	}
	return count > 0;
}

static bool find_rule(uint16_t port, struct served *served)
{
	struct nat_targets targets;
	uint64_t deadline;

	nat_rules_find(port, 0, &targets);
	deadline = monotonic_ns() + ANSWERS_NS;
	if (!*targets.rule)
		return false;
	snprintf(served->by, sizeof(served->by), "by a NAT rule (%s)",
		 targets.rule);
	for (size_t i = 0; i < targets.count && !*served->fallback; i++) {
		const struct nat_target *target = &targets.items[i];
		const bool own = IN6_IS_ADDR_UNSPECIFIED(&target->address);
		char text[ENDPOINT_TEXT_SIZE];
		const struct endpoint endpoint = name_endpoint(
			own ? &ipv4_any : &target->address, target->port, text);

		if (answers(&endpoint, deadline))
			strcpy(served->fallback, text);
	}
	return true;
}

bool served_find(uint16_t port, struct served *served)
{
	*served = (struct served){ .by = "" };
	/* Where there is a rule, it comes before who listens. */
	return find_rule(port, served) || find_listener(port, served);
}
