// SPDX-License-Identifier: MIT
#include "redirect/rules/translation.h"

#include <stdio.h>
#include <string.h>

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

static size_t count_colons(const char *word)
{
	size_t count = 0;

	while ((word = strchr(word, ':'))) {
		count++;
		word++;
	}
	return count;
}

/* "10.0.0.2", "10.0.0.2:443", "fd17::2", "[fd17::2]:443", ":8443" */
static bool name_target(const char *word, uint16_t port,
			char target[static ENDPOINT_TEXT_SIZE])
{
	const char *closing = strchr(word, ']');

	if (word[strspn(word, "0123456789abcdefABCDEF.:[]")] || !*word)
		return false;
	if (*word == ':')
		snprintf(target, ENDPOINT_TEXT_SIZE, "127.0.0.1%.64s", word);
	else if (closing ? closing[1] == ':' : count_colons(word) == 1)
		snprintf(target, ENDPOINT_TEXT_SIZE, "%.64s", word);
	else if (closing || !strchr(word, ':'))
		snprintf(target, ENDPOINT_TEXT_SIZE, "%.64s:%u", word, port);
	else
		snprintf(target, ENDPOINT_TEXT_SIZE, "[%.64s]:%u", word, port);
	return true;
}

bool translation_target(const char *rule, uint16_t port,
			char target[static ENDPOINT_TEXT_SIZE])
{
	static const char *const keywords[] = { "--to-destination", "to" };
	char word[ENDPOINT_TEXT_SIZE];

	word_behind(rule, "--to-ports", word, sizeof(word));
	if (*word) {
		snprintf(target, ENDPOINT_TEXT_SIZE, "127.0.0.1:%.*s",
			 (int)strspn(word, "0123456789"), word);
		return true;
	}
	for (size_t i = 0; i < 2; i++) {
		word_behind(rule, keywords[i], word, sizeof(word));
		if (name_target(word, port, target))
			return true;
	}
	return false;
}
