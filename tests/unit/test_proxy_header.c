// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/memory.h"
#include "proxy/proxy_header.h"
#include "tests/fuzz/reference_proxy_header.h"

union address {
	struct sockaddr any;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
};

static union address address_of(const char *text, uint16_t port)
{
	union address address = { .any.sa_family = AF_UNIX };

	if (inet_pton(AF_INET, text, &address.ipv4.sin_addr) == 1) {
		address.any.sa_family = AF_INET;
		address.ipv4.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, text, &address.ipv6.sin6_addr) == 1) {
		address.any.sa_family = AF_INET6;
		address.ipv6.sin6_port = htons(port);
	}
	return address;
}

/* The bytes between two addresses with the ports 50000 and 443 are these. */
static void expect_header(enum proxy_protocol version, const char *source,
			  const char *destination, const void *bytes,
			  size_t length)
{
	const union address from = address_of(source, 50000);
	const union address to = address_of(destination, 443);
	uint8_t header[PROXY_HEADER_SIZE];

	assert_int_equal(
		proxy_header_write(version, &from.any, &to.any, header),
		length);
	assert_memory_equal(header, bytes, length);
}

#define expect_text(source, destination, text)                      \
	expect_header(PROXY_PROTOCOL_V1, source, destination, text, \
		      sizeof(text) - 1)

#define expect_binary(source, destination, bytes)                    \
	expect_header(PROXY_PROTOCOL_V2, source, destination, bytes, \
		      sizeof(bytes) - 1)

static void writes_version_1(void **state)
{
	(void)state;
	expect_text("192.0.2.7", "198.51.100.1",
		    "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n");
	expect_text("2001:db8::7", "::1",
		    "PROXY TCP6 2001:db8::7 ::1 50000 443\r\n");
	expect_text("::ffff:192.0.2.7", "2001:db8::1",
		    "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 50000 443\r\n");
}

#define SIGNATURE "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"

static void writes_version_2(void **state)
{
	(void)state;
	expect_binary("192.0.2.7", "198.51.100.1",
		      SIGNATURE "\x21\x11\x00\x0c"
				"\xc0\x00\x02\x07\xc6\x33\x64\x01"
				"\xc3\x50\x01\xbb");
	expect_binary("2001:db8::7", "2001:db8:1::1",
		      SIGNATURE "\x21\x21\x00\x24"
				"\x20\x01\x0d\xb8\x00\x00\x00\x00"
				"\x00\x00\x00\x00\x00\x00\x00\x07"
				"\x20\x01\x0d\xb8\x00\x01\x00\x00"
				"\x00\x00\x00\x00\x00\x00\x00\x01"
				"\xc3\x50\x01\xbb");
}

static void says_so_if_addresses_are_not_known(void **state)
{
	static const char *const pairs[][2] = {
		{ "192.0.2.7", "2001:db8::1" },
		{ "2001:db8::7", "192.0.2.1" },
		{ "192.0.2.7", "" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		expect_text(pairs[i][0], pairs[i][1], "PROXY UNKNOWN\r\n");
		expect_binary(pairs[i][0], pairs[i][1],
			      SIGNATURE "\x21\x00\x00\x00");
	}
}

static void has_room_for_the_longest(void **state)
{
	const char *longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
	const union address end = address_of(longest, 65535);
	uint8_t header[PROXY_HEADER_SIZE];
	struct reference_header read;
	size_t length = proxy_header_write(PROXY_PROTOCOL_V1, &end.any,
					   &end.any, header);

	(void)state;
	assert_in_range(length, 100, PROXY_HEADER_SIZE - 1);
	assert_true(reference_header_read(header, length, &read));
	assert_int_equal(read.destination_port, 65535);
}

static void writes_nothing_where_none_is_wanted(void **state)
{
	(void)state;
	expect_header(PROXY_PROTOCOL_NONE, "192.0.2.7", "192.0.2.1", "", 0);
}

/* The reader in the test tree, which others rely on, is no yes-man. */
static void is_read_by_a_strict_backend(void **state)
{
	static const char *const bad[] = {
		"",
		"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443",
		"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\nx",
		"PROXY TCP4 192.0.2.7 198.51.100.1 50000 0443\r\n",
		"PROXY TCP4 192.0.2.7 198.51.100.1 50000 65536\r\n",
		"PROXY TCP4 192.0.2.7  198.51.100.1 50000 443\r\n",
		"PROXY TCP4 ::1 198.51.100.1 50000 443\r\n",
		"PROXY TCP6 192.0.2.7 198.51.100.1 50000 443\r\n",
		"PROXY UNKNOWN\n",
	};
	struct reference_header read;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(reference_header_read((const uint8_t *)bad[i],
						   strlen(bad[i]), &read));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_version_1),
		cmocka_unit_test(writes_version_2),
		cmocka_unit_test(says_so_if_addresses_are_not_known),
		cmocka_unit_test(has_room_for_the_longest),
		cmocka_unit_test(writes_nothing_where_none_is_wanted),
		cmocka_unit_test(is_read_by_a_strict_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
