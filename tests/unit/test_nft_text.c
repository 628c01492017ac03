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
#include "redirect/rules/nft_text.h"

static void test_rules_that_publish(void **state)
{
	static const char *const rules[] = {
		/* iptables-save: Docker, CNI, Podman, a range, a list */
		"-A DOCKER ! -i docker0 -p tcp -m tcp --dport 443 -j DNAT "
		"--to-destination 172.17.0.2:8443",
		"-A CNI-DN-1 -p tcp -m tcp --dport 443 -j DNAT "
		"--to-destination 10.88.0.2:443",
		"-A PREROUTING -p tcp -m tcp --dport 400:500 -j REDIRECT "
		"--to-ports 8443",
		"-A PREROUTING -p tcp -m multiport --dports 80,443 -j DNAT "
		"--to-destination 10.0.0.1",
		/* nft list ruleset */
		"\t\ttcp dport 443 counter packets 0 bytes 0 "
		"dnat to 172.17.0.2:443",
		"\t\tfib daddr type local tcp dport { 80, 443 } "
		"dnat to 10.0.0.2",
		"\t\ttcp dport 440-450 redirect to :8443",
		"\t\ttcp dport != 22 dnat to 10.0.0.2",
		"\t\tdnat to tcp dport map { 80 : 10.0.0.2, 443 : 10.0.0.3 }",
		"\t\tdnat ip to tcp dport map { 440-450 : 10.0.0.3 . 22 }",
		"\t\tredirect to tcp dport map { 443 : 22 }",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		assert_true(nft_text_publishes(rules[i], 443));
		assert_false(nft_text_publishes(rules[i], 22));
	}
}

/* A set or map that has a name: what is in it is not in the rule. */
static void test_rules_that_may_publish(void **state)
{
	(void)state;
	assert_true(
		nft_text_publishes("\t\tdnat to tcp dport map @ports", 443));
	assert_true(
		nft_text_publishes("\t\ttcp dport @web dnat to 10.0.0.2", 443));
}

static void test_rules_that_do_not(void **state)
{
	static const char *const rules[] = {
		"",
		"*nat",
		":PREROUTING ACCEPT [0:0]",
		/* Another port, a target port, no change of destination. */
		"-A DOCKER -p tcp -m tcp --dport 8443 -j DNAT "
		"--to-destination 172.17.0.2:443",
		"-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT "
		"--to-ports 443",
		"-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT",
		"-A PREROUTING -p tcp -m tcp --sport 443 -j DNAT "
		"--to-destination 10.0.0.1",
		"\t\ttcp dport 8443 dnat to 172.17.0.2:443",
		"\t\ttcp dport != 443 dnat to 10.0.0.2",
		"\t\ttcp dport 444-450 redirect to :443",
		"\t\ttcp dport 443 accept",
		"\t\ttcp dport 4430 dnat to 10.0.0.2",
		/* Our own, of the other redirect. */
		"-A PREROUTING -p tcp -m tcp --dport 443 "
		"-m comment --comment acme-alpn-proxy -j REDIRECT "
		"--to-ports 21443",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		assert_false(nft_text_publishes(rules[i], 443));
}

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
	return nft_text_drops_redirected(text, 443, 21443, rule);
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
		"-A PREROUTING -p tcp -m tcp --dport 443 -j CT --notrack",
		"-A PREROUTING -p tcp -m tcp --dport 443 -j NOTRACK",
		"\t\ttcp dport { 80, 443 } notrack",
	};
	static const char *const others[] = {
		"-A PREROUTING -p udp -m udp --dport 443 -j CT --notrack",
		"-A OUTPUT -p tcp -m tcp --sport 443 -j CT --notrack",
		"-A PREROUTING -i lo -j NOTRACK",
		"\t\ttcp dport 443 accept",
	};
	char rule[RULE_TEXT_SIZE];
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		snprintf(text, sizeof(text), "*raw\n%s\nCOMMIT\n", rules[i]);
		assert_true(nft_text_find_untracking(text, 443, rule));
		assert_string_equal(rule, rules[i] + strspn(rules[i], "\t"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		snprintf(text, sizeof(text), "%s\n", others[i]);
		assert_false(nft_text_find_untracking(text, 443, rule));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_that_publish),
		cmocka_unit_test(test_rules_that_untrack),
		cmocka_unit_test(test_rules_that_may_publish),
		cmocka_unit_test(test_rules_that_do_not),
		cmocka_unit_test(test_firewalls_that_drop_what_is_redirected),
		cmocka_unit_test(test_firewalls_that_may_accept_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
