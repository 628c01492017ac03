// SPDX-License-Identifier: MIT
/*
 * The parser of client_hello.h on any bytes: it must give the same verdict
 * however they are cut, the one that a second parser gives, and no later than
 * at the hello's last byte.
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
static void feed_piece(struct client_hello *hello, const uint8_t *bytes,
		       size_t length)
{
	uint8_t *piece = malloc(length);

	check(piece || length == 0);
	if (length > 0)
		memcpy(piece, bytes, length);
	client_hello_feed(hello, piece, length);
	free(piece);
}

/* The first byte chooses the cuts, the others are the stream. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct reference reference;
	struct client_hello whole = { 0 };
	struct client_hello cut = { 0 };
	size_t fed = 0;
	size_t piece;
	bool acme;

	if (size == 0)
		return 0;
	piece = data[0];
	data++;
	size--;

	feed_piece(&whole, data, size);
	do {
		size_t length = piece % 61 + 1;

		if (length > size - fed)
			length = size - fed;
		feed_piece(&cut, data + fed, length);
		fed += length;
		piece = piece * 5 + 3;
	} while (fed < size);
	check(whole.verdict == cut.verdict);
	/* What is left behind when it gives up is of no use to anybody. */
	check(whole.verdict == CLIENT_HELLO_OTHER ||
	      memcmp(&whole, &cut, sizeof(whole)) == 0);

	acme = reference_is_acme(data, size, &reference);
	check((whole.verdict == CLIENT_HELLO_ACME) == acme);
	if (acme) {
		struct client_hello before = { 0 };

		check(whole.stream_length == reference.consumed);
		check(whole.server_name_length == reference.server_name_length);
		check(client_hello_feed(&before, data,
					reference.consumed - 1) ==
		      CLIENT_HELLO_NEED_MORE);
	}
	return 0;
}
