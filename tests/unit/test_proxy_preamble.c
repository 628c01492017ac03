// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "hello/proxy_preamble.h"

/* In memory of its own, so that a sanitizer sees a read behind it. */
static int length_of(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(length);
	int result;

	if (length > 0)
		memcpy(copy, bytes, length);
	result = proxy_preamble_length(copy, length);
	free(copy);
	return result;
}

/* The first @length bytes are a header, whatever is behind them, and each part
 * of them may become one. */
static void expect_header(const uint8_t *bytes, size_t length)
{
	static uint8_t more[PROXY_PREAMBLE_MAX_LENGTH + 4];

	memcpy(more, bytes, length);
	memcpy(more + length, "\x16\x03\r\n", 4);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(length_of(bytes, i), PROXY_PREAMBLE_NEED_MORE);
	for (size_t i = 0; i <= 4; i++)
		assert_int_equal(length_of(more, length + i), length);
}

/* They are none from the first @length bytes on, and not before. */
static void expect_none(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		assert_int_equal(length_of(bytes, i), PROXY_PREAMBLE_NEED_MORE);
	assert_int_equal(length_of(bytes, length), 0);
}

static void knows_version_1(void **state)
{
	static const char *const headers[] = {
		"PROXY UNKNOWN\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n",
		"PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n",
	};
	uint8_t longest[108] = "PROXY UNKNOWN";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		expect_header((const uint8_t *)headers[i], strlen(headers[i]));
	memset(longest + 13, ' ', sizeof(longest) - 13);
	memcpy(longest + 105, "\r\n", 2);
	expect_header(longest, 107);
	memcpy(longest + 105, " \r\n", 3);
	expect_none(longest, 107);
}

static void takes_no_other_text_for_version_1(void **state)
{
	static const struct {
		const char *text;
		size_t length;
	} others[] = {
		{ "POST / HTTP/1.1\r\n", 2 }, { "PROPFIND / HTTP/1.1\r\n", 4 },
		{ "PROXYING\r\n", 6 },	      { "proxy UNKNOWN\r\n", 1 },
		{ "PROXY UNKNOWN\n", 14 },    { "GET / HTTP/1.0\r\n", 1 },
		{ "\x16\x03\x01", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		expect_none((const uint8_t *)others[i].text, others[i].length);
}

/* Of a header of version 2, with so many bytes behind the first 16. */
static const uint8_t *binary(uint8_t version_and_command, size_t length)
{
	static uint8_t header[PROXY_PREAMBLE_MAX_LENGTH + 1];

	memset(header, '\n', sizeof(header));
	memcpy(header, "\r\n\r\n\0\r\nQUIT\n", 12);
	header[12] = version_and_command;
	header[13] = 0x11;
	header[14] = (uint8_t)(length >> 8);
	header[15] = (uint8_t)length;
	return header;
}

static void knows_version_2(void **state)
{
	static const size_t lengths[] = { 0,   12,
					  36,  216,
					  300, PROXY_PREAMBLE_MAX_LENGTH - 16 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		expect_header(binary(0x21, lengths[i]), 16 + lengths[i]);
	/* The balancer's own connection. */
	expect_header(binary(0x20, 0), 16);
}

static void takes_nothing_else_for_version_2(void **state)
{
	(void)state;
	expect_none(binary(0x11, 12), 13);
	expect_none(binary(0x31, 12), 13);
	expect_none(binary(0x21, PROXY_PREAMBLE_MAX_LENGTH - 15), 16);
	expect_none(binary(0x21, 0xffff), 16);
	for (size_t i = 0; i < 12; i++) {
		uint8_t bytes[16];

		memcpy(bytes, binary(0x21, 0), sizeof(bytes));
		bytes[i] ^= 0x80;
		expect_none(bytes, i + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows_version_1),
		cmocka_unit_test(takes_no_other_text_for_version_1),
		cmocka_unit_test(knows_version_2),
		cmocka_unit_test(takes_nothing_else_for_version_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
