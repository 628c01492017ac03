// SPDX-License-Identifier: MIT
/*
 * The parser of client_hello.h on any bytes: it must give the verdict that
 * a second parser gives, at the hello's last byte, and keep to it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hello/client_hello.h"
#include "tests/fuzz/reference_client_hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* In a buffer of its exact size, so that reading past it is found. */
static enum hello_verdict judge(const uint8_t *bytes, size_t length,
				struct client_hello *hello)
{
	uint8_t *exact = malloc(length);
	enum hello_verdict verdict;

	check(exact || length == 0);
	if (length > 0)
		memcpy(exact, bytes, length);
	verdict = client_hello_judge(exact, length, hello);
	free(exact);
	return verdict;
}

/* The first byte chooses the cut, the others are the stream. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct reference reference;
	enum hello_verdict whole_verdict, cut_verdict;
	struct client_hello whole, cut;
	size_t piece;
	bool acme;

	if (size == 0)
		return 0;
	data++;
	size--;
	piece = size * data[-1] / 256;

	whole_verdict = judge(data, size, &whole);
	cut_verdict = judge(data, piece, &cut);
	check(cut_verdict == HELLO_NEED_MORE || cut_verdict == whole_verdict);
	if (cut_verdict == HELLO_NEED_MORE) {
		check(cut.length > piece);
		check(cut.length > size || whole_verdict != HELLO_ACME ||
		      whole.length >= cut.length);
		check(cut.length <= size || whole_verdict != HELLO_ACME);
	}

	acme = reference_is_acme(data, size, &reference);
	check((whole_verdict == HELLO_ACME) == acme);
	if (acme) {
		check(whole.length == reference.consumed);
		check(whole.server_name_length == reference.server_name_length);
		check(judge(data, reference.consumed - 1, &cut) ==
		      HELLO_NEED_MORE);
	}
	return 0;
}
