// SPDX-License-Identifier: MIT
/*
 * The state file: whatever is in it, it is refused or means exactly what is
 * written there. The right last line is put behind the input unless that begins
 * with a zero, since its sum would never be hit on.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* For its sum. */
#include "src/instance/record.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* Reads it to its end, which is in what was read. */
static void check_text(const char *text, size_t length)
{
	if (text)
		check(strlen(text) < length);
}

static void check_parsed(const char *text, size_t length)
{
	/* Of its exact size, so that reading past it is found. */
	char *exact = malloc(length ? length : 1);
	struct record record;
	char *again = NULL;

	check(exact);
	memcpy(exact, text, length);
	if (record_parse(exact, length, &record) == 0) {
		check(record_format(&record, &again) == 0);
		check(strlen(again) == length &&
		      memcmp(again, text, length) == 0);
		for (size_t i = 0; i < REDIRECT_FAMILIES; i++)
			check_text(record.leftovers.rules[i], length);
		check_text(record.leftovers.hold, length);
		record_free(&record);
		free(again);
	}
	check(!record.text);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char last[32];
	char *text;

	if (size == 0 || data[0] == 0) {
		check_parsed((const char *)data, size);
		return 0;
	}
	snprintf(last, sizeof(last), "end %08x\n",
		 sum((const char *)data, size));
	text = malloc(size + sizeof(last));
	check(text);
	memcpy(text, data, size);
	strcpy(text + size, last);
	check_parsed(text, size + strlen(last));
	free(text);
	return 0;
}
