// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "hello/domain_list.h"

#define LABEL_62 \
	"aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"
#define NINES "9.9.9.9.9.9.9.9.9.9.9.9.9.9.9.9."

static struct domain_list list_of(const char *domain)
{
	struct domain_list list = { 0 };

	assert_int_equal(domain_list_add(&list, domain), 0);
	assert_int_equal(list.count, 1);
	return list;
}

static bool takes_bytes(const struct domain_list *list, const char *name,
			size_t length)
{
	return domain_list_takes(list, (const uint8_t *)name, length);
}

static bool takes(const char *domain, const char *name)
{
	const struct domain_list list = list_of(domain);

	return takes_bytes(&list, name, strlen(name));
}

static void takes_all_when_nothing_is_asked_for(void **state)
{
	const struct domain_list list = { 0 };

	(void)state;
	assert_true(takes_bytes(&list, "a.example", 9));
	assert_true(takes_bytes(&list, "", 0));
	assert_true(takes_bytes(&list, "\0\xff", 2));
}

static void takes_a_name_and_no_other(void **state)
{
	(void)state;
	assert_true(takes("www.example.org", "www.example.org"));
	assert_false(takes("www.example.org", "example.org"));
	assert_false(takes("www.example.org", "a.www.example.org"));
	assert_false(takes("www.example.org", "www.example.orgs"));
	assert_false(takes("www.example.org", "wwwwexample.org"));
	assert_false(takes("www.example.org", "www.example.or"));
	assert_false(takes("www.example.org", ""));
	assert_true(takes("localhost", "localhost"));
	assert_true(
		takes("_a.xn--bcher-kva.example", "_a.xn--bcher-kva.example"));
}

static void heeds_neither_case_nor_the_last_period(void **state)
{
	(void)state;
	assert_true(takes("WWW.example.org", "www.EXAMPLE.org"));
	assert_true(takes("www.example.org.", "www.example.org"));
	assert_true(takes("www.example.org", "www.example.org."));
	assert_true(takes("*.example.org.", "A.example.org."));
	assert_false(takes("www.example.org", "www.example.org.."));
	assert_false(takes("www.example.org", "."));
	/* A period but for the bit of case. */
	assert_false(takes("www.example.org", "www\x0e"
					      "example.org"));
}

static void takes_one_label_for_a_wildcard(void **state)
{
	(void)state;
	assert_true(takes("*.example.org", "a.example.org"));
	assert_true(takes("*.example.org", "x-1_y.example.org"));
	assert_false(takes("*.example.org", "example.org"));
	assert_false(takes("*.example.org", ".example.org"));
	assert_false(takes("*.example.org", "a.b.example.org"));
	assert_false(takes("*.example.org", "a.example.com"));
	assert_false(takes("*.example.org", "*.example.org"));
	assert_false(takes("*.example.org", "a"));
	assert_false(takes("*.example.org", "a."));
	assert_false(takes("*.example.org", "-a.example.org"));
	assert_false(takes("*.example.org", LABEL_62 "ab.example.org"));
	assert_true(takes("*.org", "example.org"));
}

static void takes_addresses_by_their_reverse_names(void **state)
{
	(void)state;
	assert_true(takes("192.0.2.7", "7.2.0.192.in-addr.arpa"));
	assert_true(takes("192.0.2.7", "7.2.0.192.IN-ADDR.ARPA"));
	assert_true(takes("7.2.0.192.in-addr.arpa", "7.2.0.192.in-addr.arpa"));
	assert_false(takes("192.0.2.7", "192.0.2.7"));
	assert_false(takes("192.0.2.7", "192.0.2.7.in-addr.arpa"));
	assert_false(takes("192.0.2.70", "7.2.0.192.in-addr.arpa"));
	assert_true(takes("255.255.255.255", "255.255.255.255.in-addr.arpa"));
	/* The example of RFC 3596 2.5. */
	assert_true(takes("4321:0:1:2:3:4:567:89ab",
			  "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0."
			  "0.0.0.0.1.2.3.4.ip6.arpa"));
	assert_true(takes("2001:db8::7",
			  "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
			  "8.B.D.0.1.0.0.2.ip6.arpa"));
	assert_true(takes("9999:9999:9999:9999:9999:9999:9999:9999",
			  NINES NINES "ip6.arpa"));
	assert_false(takes("2001:db8::7", "2001:db8::7"));
}

static void is_not_misled_by_odd_bytes(void **state)
{
	const struct domain_list plain = list_of("a.example");
	const struct domain_list wildcard = list_of("*.example");
	char label[] = "?.example";

	(void)state;
	assert_false(takes_bytes(&plain, "a.example\0", 10));
	assert_false(takes_bytes(&plain, "a.example\0.b", 12));
	assert_false(takes_bytes(&plain, "a\0example", 9));
	assert_false(takes_bytes(&wildcard, "a.example\0", 10));
	assert_false(takes_bytes(&wildcard, "a\0b.example", 11));
	for (int byte = 0; byte < 256; byte++) {
		bool good = (byte >= '0' && byte <= '9') || byte == '_' ||
			    (byte >= 'A' && byte <= 'Z') ||
			    (byte >= 'a' && byte <= 'z');

		label[0] = (char)byte;
		assert_int_equal(takes_bytes(&wildcard, label, 9), good);
	}
}

/* What a hello holds of a name that is longer is cut. */
static void takes_no_name_that_is_too_long(void **state)
{
	const struct domain_list list = list_of("*.example");
	char name[300];

	(void)state;
	memset(name, 'a', sizeof(name));
	for (size_t length = 1; length <= sizeof(name); length++)
		assert_false(takes_bytes(&list, name, length));
	assert_false(takes_bytes(&list, name, 65535));
}

static void takes_the_longest_name(void **state)
{
	char name[DOMAIN_NAME_MAX + 3];
	struct domain_list list = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 ? '.' : 'a';
	name[DOMAIN_NAME_MAX] = '\0';
	assert_int_equal(domain_list_add(&list, name), 0);
	assert_true(takes_bytes(&list, name, DOMAIN_NAME_MAX));
	assert_false(takes_bytes(&list, name, DOMAIN_NAME_MAX - 2));
	/* With its period. */
	name[DOMAIN_NAME_MAX] = '.';
	name[DOMAIN_NAME_MAX + 1] = '\0';
	assert_int_equal(domain_list_add(&list, name), 0);
	assert_true(takes_bytes(&list, name, DOMAIN_NAME_MAX + 1));
	name[DOMAIN_NAME_MAX + 1] = 'a';
	name[DOMAIN_NAME_MAX + 2] = '\0';
	assert_int_equal(domain_list_add(&list, name), -EINVAL);
}

/* Of @length bytes, the text that is shown. */
static void assert_shown(const char *bytes, size_t length, const char *expected)
{
	char name[DOMAIN_NAME_MAX + 1];

	memset(name, '?', sizeof(name));
	domain_name_copy((const uint8_t *)bytes, length, name);
	assert_string_equal(name, expected);
}

static void shows_a_server_name_only_if_it_is_one(void **state)
{
	char longest[DOMAIN_NAME_MAX + 3];
	static const char *const names[] = {
		"a.example",
		"A-1_b.xn--bcher-kva.example",
		"localhost",
		"7.2.0.192.in-addr.arpa",
	};
	static const char *const others[] = {
		"",	      ".",
		"a..example", "*.example",
		"a b",	      "a\x1b[2J.example",
		"a\"b",	      "a\\b",
		"a\nb",	      "a\xff.example",
		"192.0.2.7",  "-a",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_shown(names[i], strlen(names[i]), names[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_shown(others[i], strlen(others[i]), "");
	assert_shown("a.example.", 10, "a.example");
	assert_shown("a.example\0b", 11, "");
	assert_shown("a.example\0", 10, "");
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? '.' : 'a';
	assert_shown(longest, DOMAIN_NAME_MAX + 2, "");
	/* What is behind is not even there. */
	assert_shown(longest, 65535, "");
	longest[DOMAIN_NAME_MAX + 1] = '\0';
	longest[DOMAIN_NAME_MAX] = '\0';
	assert_shown(longest, DOMAIN_NAME_MAX, longest);
}

static void refuses_what_is_no_name(void **state)
{
	static const char *const wrong[] = {
		"",
		".",
		"..",
		"*",
		"*.",
		"*.*.example",
		"a*.example",
		"*a.example",
		"a.*.example",
		".example",
		"a..example",
		"a.example..",
		"--bpf",
		"-a.example",
		"a-.example",
		"a b",
		"a/b",
		"http://a.example",
		"a.example:443",
		"192.0.2",
		"192.0.2.256",
		"1",
		"*.192.0.2.7",
		"192.0.2.7.",
		"[2001:db8::7]",
		"2001:db8::7/64",
		"fe80::1%eth0",
		"b\xc3\xbc"
		"cher.example",
		"a." LABEL_62 "ab.example",
	};
	struct domain_list list = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		if (domain_list_add(&list, wrong[i]) != -EINVAL)
			fail_msg("\"%s\" was taken", wrong[i]);
		assert_int_equal(list.count, 0);
	}
	assert_int_equal(domain_list_add(&list, "a." LABEL_62 "a.example"), 0);
}

static void has_room_for_a_certificate(void **state)
{
	struct domain_list list = { 0 };
	char name[32];

	(void)state;
	for (int i = 0; i < DOMAIN_LIST_MAX; i++) {
		snprintf(name, sizeof(name), "a%d.example", i);
		assert_int_equal(domain_list_add(&list, name), 0);
	}
	assert_int_equal(domain_list_add(&list, "b.example"), -E2BIG);
	assert_true(takes_bytes(&list, "a0.example", 10));
	assert_true(takes_bytes(&list, name, strlen(name)));
	assert_false(takes_bytes(&list, "b.example", 9));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_all_when_nothing_is_asked_for),
		cmocka_unit_test(takes_a_name_and_no_other),
		cmocka_unit_test(heeds_neither_case_nor_the_last_period),
		cmocka_unit_test(takes_one_label_for_a_wildcard),
		cmocka_unit_test(takes_addresses_by_their_reverse_names),
		cmocka_unit_test(is_not_misled_by_odd_bytes),
		cmocka_unit_test(takes_no_name_that_is_too_long),
		cmocka_unit_test(takes_the_longest_name),
		cmocka_unit_test(shows_a_server_name_only_if_it_is_one),
		cmocka_unit_test(refuses_what_is_no_name),
		cmocka_unit_test(has_room_for_a_certificate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
