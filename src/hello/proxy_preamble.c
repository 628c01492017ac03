// SPDX-License-Identifier: MIT
#include "hello/proxy_preamble.h"

/* Section 2.1: a line, which ends within so many bytes. */
#define TEXT_MAX_LENGTH	  107
#define TEXT_BEGIN_LENGTH 6

/* Section 2.2: signature, version and command, family, length of the rest. */
#define SIGNATURE_LENGTH 12
#define BINARY_LENGTH	 16
#define VERSION_2	 2

static const uint8_t text_begin[TEXT_BEGIN_LENGTH] = "PROXY ";
static const uint8_t signature[SIGNATURE_LENGTH] = "\r\n\r\n\0\r\nQUIT\n";

static int text_length(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < TEXT_MAX_LENGTH; i++) {
		if (i >= length)
			return PROXY_PREAMBLE_NEED_MORE;
		if (i < TEXT_BEGIN_LENGTH && bytes[i] != text_begin[i])
			return 0;
		if (bytes[i] == '\n')
			return bytes[i - 1] == '\r' ? (int)i + 1 : 0;
	}
	return 0;
}

static int binary_length(const uint8_t *bytes, size_t length)
{
	size_t whole;

	for (size_t i = 0; i < SIGNATURE_LENGTH && i < length; i++)
		if (bytes[i] != signature[i])
			return 0;
	if (length > SIGNATURE_LENGTH &&
	    bytes[SIGNATURE_LENGTH] >> 4 != VERSION_2)
		return 0;
	if (length < BINARY_LENGTH)
		return PROXY_PREAMBLE_NEED_MORE;
	whole = BINARY_LENGTH + (size_t)(bytes[14] << 8 | bytes[15]);
	if (whole > PROXY_PREAMBLE_MAX_LENGTH)
		return 0;
	return whole > length ? PROXY_PREAMBLE_NEED_MORE : (int)whole;
}

int proxy_preamble_length(const uint8_t *bytes, size_t length)
{
	if (length > 0 && bytes[0] == text_begin[0])
		return text_length(bytes, length);
	return binary_length(bytes, length);
}
