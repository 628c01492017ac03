// SPDX-License-Identifier: MIT
/* Rules have the layout of the engines and tools named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "redirect/rules/nat_rules.h"

/* `nft -n list ruleset` of a table with @rules in its INPUT chain. */
static bool drops_redirected(const char *policy, const char *rules, char *rule)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "table inet filter {\n"
		 "\tchain input {\n"
		 "\t\ttype filter hook input priority 0; policy %s;\n"
		 "\t\tiif \"lo\" accept\n"
		 "\t\tmeta l4proto 58 accept\n"
		 "\t\ticmp type 8 accept\n"
		 "\t\tct state { 0x2, 0x4 } accept\n"
		 "\t\tct state vmap { 0x1 : drop, 0x2 : accept }\n"
		 "\t\tudp dport 53 accept\n"
		 "%s"
		 "\t}\n"
		 "\n"
		 "\tchain output {\n"
		 "\t\ttype filter hook output priority 0; policy accept;\n"
		 "\t\ttcp dport 21443 accept\n"
		 "\t}\n"
		 "}\n",
		 policy, rules);
	return nft_drops_redirected(text, 443, 21443, rule);
}

static void test_firewalls_that_drop_what_is_redirected(void **state)
{
	static const char *const rules[] = {
		"\t\ttcp dport 443 accept\n",
		"\t\ttcp dport { 80, 443 } ct state 0x8 counter packets 0 "
		"bytes 0 accept\n",
		"\t\tmeta l4proto 6 tcp dport 400-500 accept\n",
		"\t\ttcp dport 22 accept\n"
		"\t\ttcp dport 443 accept comment \"not dport 21443\"\n",
		"\t\ttcp dport 443 accept\n"
		"\t\tct state 0x2 tcp dport 21443 accept\n",
	};
	char rule[RULE_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		assert_true(drops_redirected("drop", rules[i], rule));
		assert_non_null(strstr(rule, "tcp dport"));
		assert_false(drops_redirected("accept", rules[i], rule));
	}
}

static void test_firewalls_that_may_accept_it(void **state)
{
	static const char *const rules[] = {
		/* Nor is the service accepted by a rule for it. */
		"",
		"\t\ttcp dport 80 accept\n",
		"\t\ttcp dport != 22 accept\n",
		"\t\ttcp dport { 443, 21443 } accept\n",
		"\t\ttcp dport 443 accept\n"
		"\t\tct status 0x20 tcp dport 21443 accept\n",
		"\t\ttcp dport 443 accept\n\t\tct status 0x20 accept\n",
		"\t\ttcp dport 443 accept\n\t\tiifname \"eth0\" accept\n",
		"\t\ttcp dport 443 accept\n\t\tmeta l4proto { 6, 17 } accept\n",
		"\t\ttcp dport 443 accept\n\t\tct state 0x2,0x8 accept\n",
		"\t\ttcp dport 443 accept\n\t\tjump others\n",
		"\t\ttcp dport 443 accept\n\t\tiif != \"lo\" accept\n",
		"\t\ttcp dport @web accept\n",
		"\t\ttcp dport vmap { 22 : accept, 443 : jump web }\n",
	};
	char rule[RULE_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		assert_false(drops_redirected("drop", rules[i], rule));
}

static void test_rules_that_untrack(void **state)
{
	static const char *const rules[] = {
		"tcp dport { 80, 443 } notrack",
		"iifname \"eth0\" tcp dport 443 counter notrack",
		"tcp dport @web notrack",
	};
	static const char *const others[] = {
		"udp dport 443 notrack",
		"meta l4proto 17 th dport 443 notrack",
		"tcp sport 443 notrack",
		"iif \"lo\" tcp dport 443 notrack",
		"tcp dport 443 accept",
		"tcp dport 443 accept comment \"notrack\"",
	};
	static const char table[] =
		"table inet raw {\n\tchain pre {\n\t\ttype filter hook "
		"prerouting priority -300; policy accept;\n\t\t%s\n\t}\n}\n";
	char rule[RULE_TEXT_SIZE];
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		snprintf(text, sizeof(text), table, rules[i]);
		assert_true(nft_untracks(text, 443, rule));
		assert_string_equal(rule, rules[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		snprintf(text, sizeof(text), table, others[i]);
		assert_false(nft_untracks(text, 443, rule));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_that_untrack),
		cmocka_unit_test(test_firewalls_that_drop_what_is_redirected),
		cmocka_unit_test(test_firewalls_that_may_accept_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
