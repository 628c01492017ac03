// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/address.h"
#include "base/memory.h"

static void splits_every_form(void **state)
{
	static const struct {
		const char *text;
		const char *host;
		const char *port;
	} good[] = {
		{ "127.0.0.1:443", "127.0.0.1", "443" },
		{ "[::1]:31443", "::1", "31443" },
		{ "[fe80::1%eth0]:443", "fe80::1%eth0", "443" },
		{ "localhost:65535", "localhost", "65535" },
		{ "web.example.org:1", "web.example.org", "1" },
		{ "unix:443", "unix", "443" },
	};
	struct address_parts parts;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(address_split(good[i].text, &parts), 0);
		assert_string_equal(parts.host, good[i].host);
		assert_string_equal(parts.port, good[i].port);
		assert_null(parts.path);
	}
}

static void splits_sockets_of_this_host(void **state)
{
	static const char *const good[] = { "/run/nginx/tls.sock", "/a",
					    "/run/a b:443", "@t", "@tls" };
	char text[BACKEND_TEXT_SIZE];
	struct address_parts parts;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), "unix:%s", good[i]);
		assert_int_equal(address_split(text, &parts), 0);
		assert_string_equal(parts.path, good[i]);
		assert_null(parts.host);
		assert_null(parts.port);
	}
}

static void refuses_what_is_malformed(void **state)
{
	static const char *const bad[] = {
		"",	     "443",	    ":443",	  "127.0.0.1",
		"host:",     "host:0",	    "host:65536", "host:4 4",
		"host:+443", "::1:443",	    "[]:443",	  "[::1:443",
		"::1]:443",  "[::1]443",    "ho st:443",  "host:443/",
		"a/b:443",   "host:000443", "unix:",	  "unix:/",
		"unix:@",    "unix:run/x",  "unix",
	};
	struct address_parts parts;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(address_split(bad[i], &parts), -EINVAL);
}

static void refuses_what_is_too_long(void **state)
{
	char text[BACKEND_TEXT_SIZE + 10];
	struct address_parts parts;

	(void)state;
	memset(text, 'a', sizeof(text));
	strcpy(text + sizeof(text) - 5, ":443");
	assert_int_equal(address_split(text, &parts), -E2BIG);
}

static void resolves_numbers_without_asking_anybody(void **state)
{
	char text[ENDPOINT_TEXT_SIZE];
	struct backend backend;

	(void)state;
	assert_int_equal(backend_resolve("127.0.0.1:31443", &backend), 0);
	assert_int_equal(backend.count, 1);
	assert_string_equal(endpoint_text(&backend.addresses[0], text),
			    "127.0.0.1:31443");
	assert_int_equal(backend_resolve("[2001:db8::1]:443", &backend), 0);
	assert_string_equal(endpoint_text(&backend.addresses[0], text),
			    "[2001:db8::1]:443");
	assert_string_equal(backend.text, "[2001:db8::1]:443");
}

/* What bind() takes, and so what connect() needs. */
static void makes_addresses_of_sockets_of_this_host(void **state)
{
	struct sockaddr_un *address;
	struct backend backend;

	(void)state;
	address = (struct sockaddr_un *)&backend.addresses[0].address;
	assert_int_equal(backend_resolve("unix:/run/tls.sock", &backend), 0);
	assert_int_equal(backend.count, 1);
	assert_string_equal(backend.text, "unix:/run/tls.sock");
	assert_int_equal(address->sun_family, AF_UNIX);
	assert_string_equal(address->sun_path, "/run/tls.sock");
	assert_int_equal(backend.addresses[0].length,
			 offsetof(struct sockaddr_un, sun_path) + 14);
	assert_true(backend_is_unix(&backend) && backend_has_path(&backend));

	assert_int_equal(backend_resolve("unix:@tls", &backend), 0);
	assert_memory_equal(address->sun_path, "\0tls", 4);
	assert_int_equal(backend.addresses[0].length,
			 offsetof(struct sockaddr_un, sun_path) + 4);
	assert_true(backend_is_unix(&backend) && !backend_has_path(&backend));

	assert_int_equal(backend_resolve("127.0.0.1:443", &backend), 0);
	assert_false(backend_is_unix(&backend) || backend_has_path(&backend));
}

static void refuses_paths_that_no_socket_has(void **state)
{
	struct address_parts parts;
	char text[BACKEND_TEXT_SIZE] = "unix:/";

	(void)state;
	memset(text + 6, 'x', 106);
	assert_int_equal(address_split(text, &parts), 0);
	text[6 + 106] = 'x';
	assert_int_equal(address_split(text, &parts), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_every_form),
		cmocka_unit_test(splits_sockets_of_this_host),
		cmocka_unit_test(makes_addresses_of_sockets_of_this_host),
		cmocka_unit_test(refuses_paths_that_no_socket_has),
		cmocka_unit_test(refuses_what_is_malformed),
		cmocka_unit_test(refuses_what_is_too_long),
		cmocka_unit_test(resolves_numbers_without_asking_anybody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
