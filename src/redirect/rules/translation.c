// SPDX-License-Identifier: MIT
#include "redirect/rules/translation.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "redirect/rules/nat_targets.h"

/* The word of @text that follows @keyword, cut to @size; "" if there is none. */
static void word_behind(const char *text, const char *keyword, char *word,
			size_t size)
{
	const size_t length = strlen(keyword);

	*word = '\0';
	for (const char *at = text; (at = strstr(at, keyword)); at += length) {
		if ((at > text && at[-1] != ' ') || at[length] != ' ')
			continue;
		at += length + strspn(at + length, " ");
		snprintf(word, size, "%.*s", (int)strcspn(at, " \t\n"), at);
		return;
	}
}

static void write_target(const struct nat_target *target,
			 char text[static ENDPOINT_TEXT_SIZE])
{
	const struct in6_addr *address = &target->address;
	char host[INET6_ADDRSTRLEN];

	if (IN6_IS_ADDR_UNSPECIFIED(address))
		strcpy(host, "127.0.0.1");
	else if (IN6_IS_ADDR_V4MAPPED(address))
		inet_ntop(AF_INET, &address->s6_addr[12], host, sizeof(host));
	else
		inet_ntop(AF_INET6, address, host, sizeof(host));
	snprintf(text, ENDPOINT_TEXT_SIZE,
		 strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, target->port);
}

bool translation_target(const char *rule, uint16_t port,
			char target[static ENDPOINT_TEXT_SIZE])
{
	static const char *const keywords[] = { "--to-ports",
						"--to-destination", "to" };
	char text[ENDPOINT_TEXT_SIZE];
	struct nat_target found;

	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
		/* A port alone is one of this host's own. */
		const bool own = i == 0;

		text[0] = ':';
		word_behind(rule, keywords[i], text + own, sizeof(text) - own);
		if (!text[own] || !nat_target_parse(text, port, &found))
			continue;
		write_target(&found, target);
		return true;
	}
	return false;
}
