// SPDX-License-Identifier: MIT
#include "redirect/rules/rulespec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where rulespec_split() is in its text, and where it writes to. */
struct splitter {
	const char *next;
	const char *end;
	char *written;
};

static bool is_space(char character)
{
	return character && strchr(" \t\n\r\f\v", character);
}

/* Copy up to @quote, and step behind it. */
static int copy_quoted(struct splitter *splitter, char quote)
{
	while (splitter->next < splitter->end) {
		char character = *splitter->next++;

		if (character == quote)
			return 0;
		if (character == '\\' && quote == '"') {
			if (splitter->next == splitter->end)
				return -EINVAL;
			character = *splitter->next++;
		}
		*splitter->written++ = character;
	}
	return -EINVAL;
}

/* Copy one word, which begins here, and terminate it. */
static int copy_word(struct splitter *splitter)
{
	while (splitter->next < splitter->end && !is_space(*splitter->next)) {
		char character = *splitter->next++;
		int err = 0;

		if (character == '"' || character == '\'')
			err = copy_quoted(splitter, character);
		else if (character != '\\')
			*splitter->written++ = character;
		else if (splitter->next < splitter->end)
			*splitter->written++ = *splitter->next++;
		else
			err = -EINVAL;
		if (err)
			return err;
	}
	*splitter->written++ = '\0';
	return 0;
}

int rulespec_split(const char *text, size_t length, struct rulespec *rulespec)
{
	/* Each word but the last has at least one separator behind it. */
	size_t most_words = (length + 1) / 2;
	size_t array_size = (most_words + 1) * sizeof(char *);
	struct splitter splitter = { .next = text, .end = text + length };
	char **words = malloc(array_size + length + 1);
	size_t count = 0;

	if (!words)
		return -ENOMEM;
	splitter.written = (char *)words + array_size;

	for (;;) {
		int err;

		while (splitter.next < splitter.end && is_space(*splitter.next))
			splitter.next++;
		if (splitter.next == splitter.end)
			break;
		words[count++] = splitter.written;
		err = copy_word(&splitter);
		if (err) {
			free(words);
			return err;
		}
	}
	words[count] = NULL;
	*rulespec = (struct rulespec){ .words = words, .count = count };
	return 0;
}

int rulespec_default(uint16_t service_port, uint16_t listen_port,
		     struct rulespec *rulespec)
{
	char text[256];
	int length;

	/*
	 * --syn: where nothing tracked connections before, this rule is what
	 * starts it, and connections that are running already look new to it;
	 * redirected in mid-stream they would be reset.
	 * --dst-type LOCAL: containers' own outbound connections to this port
	 * pass through here as well and are none of our business.
	 */
	length = snprintf(text, sizeof(text),
			  "-p tcp --dport %u --syn "
			  "-m addrtype --dst-type LOCAL "
			  "-m comment --comment " RULESPEC_COMMENT " "
			  "-j REDIRECT --to-ports %u",
			  service_port, listen_port);
	return rulespec_split(text, (size_t)length, rulespec);
}

void rulespec_free(struct rulespec *rulespec)
{
	free(rulespec->words);
	*rulespec = (struct rulespec){ 0 };
}
