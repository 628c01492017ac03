// SPDX-License-Identifier: MIT
/*
 * rulespec_split() on any text: its words, quoted and joined, must be the same
 * words again.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "redirect/rules/rulespec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* Each word in double quotes, and a space between; the caller frees. */
static char *join(const struct rulespec *rulespec, size_t size)
{
	/* Every byte may need a backslash, every word has three bytes more. */
	char *text = malloc(2 * size + 3 * rulespec->count + 1);
	char *next = text;

	check(text);
	for (size_t i = 0; i < rulespec->count; i++) {
		*next++ = '"';
		for (const char *byte = rulespec->words[i]; *byte; byte++) {
			if (*byte == '"' || *byte == '\\')
				*next++ = '\\';
			*next++ = *byte;
		}
		*next++ = '"';
		*next++ = ' ';
	}
	*next = '\0';
	return text;
}

/* Words are strings: the text ends with the first zero byte. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const size_t length = strnlen((const char *)data, size);
	struct rulespec first, second;
	/* Of its exact size, so that reading past it is found. */
	char *text = malloc(length);
	char *joined;
	int err;

	check(text || length == 0);
	if (length)
		memcpy(text, data, length);
	err = rulespec_split(text, length, &first);
	free(text);
	check(err == 0 || err == -EINVAL);
	if (err)
		return 0;

	joined = join(&first, length);
	check(rulespec_split(joined, strlen(joined), &second) == 0);
	check(first.count == second.count);
	for (size_t i = 0; i < first.count; i++)
		check(strcmp(first.words[i], second.words[i]) == 0);
	check(first.words[first.count] == NULL);
	free(joined);
	rulespec_free(&first);
	rulespec_free(&second);
	return 0;
}
