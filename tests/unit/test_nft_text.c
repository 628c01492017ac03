// SPDX-License-Identifier: MIT
/* Rules have the layout of the engines and tools named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_that_publish),
		cmocka_unit_test(test_rules_that_may_publish),
		cmocka_unit_test(test_rules_that_do_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
