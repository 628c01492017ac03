// SPDX-License-Identifier: MIT
#include "redirect/rules/nft_text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_WORD 64

/* The next word of @text, and behind it; commas and brackets part words. */
static const char *next_word(const char *text, char word[static LONGEST_WORD])
{
	static const char separators[] = " \t,{}\"";
	size_t length;

	text += strspn(text, separators);
	length = strcspn(text, separators);
	snprintf(word, LONGEST_WORD, "%.*s", (int)length, text);
	return text + length;
}

/* "443", or a range: "400:500" (iptables), "400-500" (nft). */
static bool word_covers(const char *word, uint16_t port)
{
	char *end;
	unsigned long first = strtoul(word, &end, 10);
	unsigned long last = first;

	if (end == word)
		return false;
	if (*end == ':' || *end == '-')
		last = strtoul(end + 1, &end, 10);
	return *end == '\0' && first <= port && port <= last;
}

bool nft_text_publishes(const char *line, uint16_t port)
{
	bool changes_destination = false;
	bool covers_port = false;
	bool in_ports = false;
	bool negated = false;
	char word[LONGEST_WORD];

	while (line = next_word(line, word), *word) {
		if (strcmp(word, "acme-alpn-proxy") == 0)
			return false;
		if (strcasecmp(word, "dnat") == 0 ||
		    strcasecmp(word, "redirect") == 0)
			changes_destination = true;
		/* What follows is ports, until a word that is none. */
		if (strcmp(word, "dport") == 0 ||
		    strcmp(word, "--dport") == 0 ||
		    strcmp(word, "--dports") == 0) {
			in_ports = true;
			negated = false;
		} else if (in_ports && strcmp(word, "!=") == 0) {
			negated = true;
		} else if (in_ports && (strcmp(word, "map") == 0 ||
					strcmp(word, "vmap") == 0)) {
			/* "map { 443 : 10.0.0.2, 444 : 10.0.0.3 }" */
			continue;
		} else if (in_ports && strcmp(word, ":") == 0) {
			line = next_word(line, word);
		} else if (in_ports && word[0] == '@') {
			/* What is in it is told elsewhere: perhaps ours. */
			covers_port = true;
		} else if (in_ports && isdigit((unsigned char)word[0])) {
			covers_port |= word_covers(word, port) != negated;
		} else {
			in_ports = false;
		}
	}
	return changes_destination && covers_port;
}

bool nft_text_find_publishing(char *ruleset, uint16_t port,
			      char rule[static RULE_TEXT_SIZE])
{
	char *rest = ruleset;
	char *line;

	while ((line = strsep(&rest, "\n"))) {
		if (nft_text_publishes(line, port)) {
			line += strspn(line, " \t");
			snprintf(rule, RULE_TEXT_SIZE, "%s", line);
			return true;
		}
	}
	return false;
}
