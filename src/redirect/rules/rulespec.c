// SPDX-License-Identifier: MIT
#include "redirect/rules/rulespec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_space(char character)
{
	return character && strchr(" \t\n\r\f\v", character);
}

/* Copy the word at *@text to *@written, terminate it, and step behind both. */
static int copy_word(const char **text, const char *end, char **written)
{
	char quote = '\0';

	for (; *text < end && (quote || !is_space(**text)); ++*text) {
		const char character = **text;

		if (character == '\\' && quote != '\'') {
			if (++*text == end)
				return -EINVAL;
			*(*written)++ = **text;
		} else if (quote ? character == quote
				 : character == '"' || character == '\'') {
			quote = quote ? '\0' : character;
		} else {
			*(*written)++ = character;
		}
	}
	*(*written)++ = '\0';
	return quote ? -EINVAL : 0;
}

int rulespec_split(const char *text, size_t length, struct rulespec *rulespec)
{
	/* Each word but the last has at least one separator behind it. */
	const size_t array_size = ((length + 1) / 2 + 1) * sizeof(char *);
	const char *const end = text + length;
	char **words = malloc(array_size + length + 1);
	char *written;
	size_t count = 0;
	int err = 0;

	if (!words)
		return -ENOMEM;
	written = (char *)words + array_size;
	while (!err) {
		while (text < end && is_space(*text))
			text++;
		if (text == end)
			break;
		words[count++] = written;
		err = copy_word(&text, end, &written);
	}
	if (err) {
		free(words);
		return err;
	}
	words[count] = NULL;
	*rulespec = (struct rulespec){ .words = words, .count = count };
	return 0;
}

void rulespec_default(uint16_t service_port, uint16_t listen_port,
		      char text[static RULESPEC_DEFAULT_SIZE])
{
	/*
	 * --syn: where nothing tracked connections before, this rule is what
	 * starts it, and connections that are running already look new to it;
	 * redirected in mid-stream they would be reset.
	 * --dst-type LOCAL: containers' own outbound connections to this port
	 * pass through here as well and are none of our business.
	 */
	snprintf(text, RULESPEC_DEFAULT_SIZE,
		 "-p tcp --dport %u --syn "
		 "-m addrtype --dst-type LOCAL "
		 "-m comment --comment " RULESPEC_COMMENT " "
		 "-j REDIRECT --to-ports %u",
		 service_port, listen_port);
}

void rulespec_free(struct rulespec *rulespec)
{
	free(rulespec->words);
	*rulespec = (struct rulespec){ 0 };
}
