// SPDX-License-Identifier: MIT
/*
 * address_split() on any text: what it takes apart must be its parts, put
 * together again, and a port is a number that a socket can have.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct address_parts parts;
	char again[BACKEND_TEXT_SIZE + 2];
	char *text = malloc(size + 1);
	bool bracketed;
	int err;

	check(text);
	memcpy(text, data, size);
	text[size] = '\0';

	err = address_split(text, &parts);
	check(err <= 0);
	if (!err && parts.path) {
		check(!parts.host && !parts.port);
		check(strncmp(text, "unix:", 5) == 0);
		check(strcmp(text + 5, parts.path) == 0);
		check(*parts.path == '/' || *parts.path == '@');
		check(parts.path[1] && strlen(parts.path) < 108);
	} else if (!err) {
		int port = atoi(parts.port);

		bracketed = text[0] == '[';
		snprintf(again, sizeof(again), "%s%s%s:%s",
			 bracketed ? "[" : "", parts.host, bracketed ? "]" : "",
			 parts.port);
		check(strcmp(again, text) == 0);
		check(*parts.host && !strpbrk(parts.host, "[] \t/"));
		check(bracketed || !strchr(parts.host, ':'));
		check(strspn(parts.port, "0123456789") == strlen(parts.port));
		check(port >= 1 && port <= 65535);
	}
	free(text);
	return 0;
}
