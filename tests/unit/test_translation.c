// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "redirect/rules/translation.h"

static void says_where_a_rule_leads(void **state)
{
	static const struct {
		const char *rule;
		const char *target;
	} rules[] = {
		{ "-A PREROUTING -p tcp -m tcp --dport 443 -j REDIRECT "
		  "--to-ports 8443",
		  "127.0.0.1:8443" },
		{ "-A PREROUTING -p tcp -j REDIRECT --to-ports 8443-8450",
		  "127.0.0.1:8443" },
		{ "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 443 -j DNAT "
		  "--to-destination 172.17.0.2:8443",
		  "172.17.0.2:8443" },
		{ "-j DNAT --to-destination 10.0.0.2", "10.0.0.2:443" },
		{ "-j DNAT --to-destination [fd17::2]:8443", "[fd17::2]:8443" },
		{ "-j DNAT --to-destination fd17::2", "[fd17::2]:443" },
		{ "tcp dport 443 redirect to :8443", "127.0.0.1:8443" },
		{ "tcp dport 443 dnat to 172.17.0.2", "172.17.0.2:443" },
		{ "ip daddr 192.0.2.1 tcp dport 443 counter packets 0 bytes 0 "
		  "dnat ip to 172.17.0.2:8443",
		  "172.17.0.2:8443" },
		{ "tcp dport 443 dnat ip6 to [fd17::2]", "[fd17::2]:443" },
	};
	char target[ENDPOINT_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		assert_true(translation_target(rules[i].rule, 443, target));
		assert_string_equal(target, rules[i].target);
	}
}

static void says_nothing_of_others(void **state)
{
	static const char *const rules[] = {
		"",
		"-A PREROUTING -j DOCKER",
		"dnat to tcp dport map @ports",
		"tcp dport 443 dnat to numgen random mod 2 map { 0 : 10.0.0.2 }",
		"tcp dport 443 redirect",
	};
	char target[ENDPOINT_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		assert_false(translation_target(rules[i], 443, target));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_where_a_rule_leads),
		cmocka_unit_test(says_nothing_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
