// SPDX-License-Identifier: MIT
/*
 * proxy_preamble_length() on a stream that comes byte by byte: the verdict is
 * final, the header has come whole, and whatever a backend takes for a header
 * is one.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hello/proxy_preamble.h"
#include "tests/fuzz/reference_proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int verdict = PROXY_PREAMBLE_NEED_MORE;

	for (size_t length = 0; length <= size; length++) {
		uint8_t *bytes = malloc(length);
		struct reference_header header;
		int now;

		check(bytes || length == 0);
		if (length > 0)
			memcpy(bytes, data, length);
		now = proxy_preamble_length(bytes, length);
		check(verdict == PROXY_PREAMBLE_NEED_MORE || now == verdict);
		check(now <= (int)length && now <= PROXY_PREAMBLE_MAX_LENGTH);
		if (now > 0 && verdict < 0)
			check(now == (int)length);
		if (reference_header_read(bytes, length, &header))
			check(now == (int)length);
		verdict = now;
		free(bytes);
	}
	return 0;
}
