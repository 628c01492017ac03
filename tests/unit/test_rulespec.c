// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/memory.h"
#include "redirect/rules/rulespec.h"

/* Split @text and compare with the words of @expected, separated by '|'. */
static void assert_split(const char *text, const char *expected)
{
	struct rulespec rule;
	char joined[256] = "";

	assert_int_equal(rulespec_split(text, strlen(text), &rule), 0);
	for (size_t i = 0; i < rule.count; i++) {
		strcat(joined, rule.words[i]);
		strcat(joined, "|");
	}
	assert_null(rule.words[rule.count]);
	assert_string_equal(joined, expected);
	rulespec_free(&rule);
}

static void test_white_space(void **state)
{
	(void)state;
	assert_split("", "");
	assert_split(" \t\n", "");
	assert_split("-p", "-p|");
	assert_split("-p tcp", "-p|tcp|");
	assert_split("  -p   tcp\t--dport\n443  ", "-p|tcp|--dport|443|");
	assert_split("a b c d", "a|b|c|d|");
}

static void test_quotes(void **state)
{
	(void)state;
	assert_split("--comment \"two words\" -j X",
		     "--comment|two words|-j|X|");
	assert_split("--comment 'two words'", "--comment|two words|");
	assert_split("a\"b c\"d'e f'", "ab cde f|");
	assert_split("\"\" ''", "||");
	assert_split("\"it's\" 'say \"hi\"'", "it's|say \"hi\"|");
	assert_split("'back\\slash'", "back\\slash|");
}

/* As iptables -S writes them. */
static void test_escapes(void **state)
{
	(void)state;
	assert_split("\"name: \\\"web\\\"\"", "name: \"web\"|");
	assert_split("\"a\\\\b\"", "a\\b|");
	assert_split("two\\ words", "two words|");
}

static void test_malformed(void **state)
{
	static const char *const malformed[] = { "\"open", "'open", "a \"b c",
						 "end\\", "\"end\\" };
	struct rulespec rule;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
		assert_int_equal(rulespec_split(malformed[i],
						strlen(malformed[i]), &rule),
				 -EINVAL);
}

/* Lines of a dump are split in place. */
static void test_length_bounds_the_text(void **state)
{
	struct rulespec rule;

	(void)state;
	assert_int_equal(rulespec_split("-p tcp\n-j DROP", 6, &rule), 0);
	assert_int_equal(rule.count, 2);
	assert_string_equal(rule.words[1], "tcp");
	rulespec_free(&rule);
	rulespec_free(&rule);
}

static void test_default_rule(void **state)
{
	char text[RULESPEC_DEFAULT_SIZE];
	struct rulespec rule;
	char joined[256] = "";

	(void)state;
	rulespec_default(443, 21443, text);
	assert_int_equal(rulespec_split(text, strlen(text), &rule), 0);
	for (size_t i = 0; i < rule.count; i++) {
		strcat(joined, i ? " " : "");
		strcat(joined, rule.words[i]);
	}
	assert_string_equal(joined, "-p tcp --dport 443 --syn "
				    "-m addrtype --dst-type LOCAL "
				    "-m comment --comment acme-alpn-proxy "
				    "-j REDIRECT --to-ports 21443");
	rulespec_free(&rule);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_white_space),
		cmocka_unit_test(test_quotes),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_length_bounds_the_text),
		cmocka_unit_test(test_default_rule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
