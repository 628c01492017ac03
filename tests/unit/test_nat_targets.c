// SPDX-License-Identifier: MIT
/* Where rules lead what is sent to the service port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "redirect/rules/nat_rules.h"
#include "redirect/rules/rule_table.h"

/* As "ADDRESS PORT" in the order in which they were found. */
static void assert_targets(const struct nat_targets *targets,
			   const char *expected)
{
	char text[1024] = "";
	char address[INET6_ADDRSTRLEN];
	size_t length = 0;

	for (size_t i = 0; i < targets->count; i++) {
		inet_ntop(AF_INET6, &targets->items[i].address, address,
			  sizeof(address));
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   "%s%s %u", i ? ", " : "", address,
					   targets->items[i].port);
	}
	assert_string_equal(text, expected);
}

static struct in6_addr addresses[] = {
	{ { { [10] = 0xff, 0xff, 192, 0, 2, 1 } } },
	{ { { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } } },
};

static const struct rule_question question = {
	.port = 443,
	.original_port = 443,
	.own_port = 21443,
	.addresses = addresses,
	.address_count = ARRAY_SIZE(addresses),
};

static void reads_addresses(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "10.0.0.2", "::ffff:10.0.0.2 443" },
		{ "10.0.0.2:8443", "::ffff:10.0.0.2 8443" },
		{ "10.0.0.2-10.0.0.5:8443", "::ffff:10.0.0.2 8443" },
		{ "10.0.0.2:1000-2000", "::ffff:10.0.0.2 1000" },
		{ "fd00::2", "fd00::2 443" },
		{ "[fd00::2]", "fd00::2 443" },
		{ "[fd00::2]:8443", "fd00::2 8443" },
		{ ":8443", ":: 8443" },
	};
	static const char *const none[] = {
		"",
		"tcp",
		"443",
		":",
		"[",
		"10.0.0.2:0",
		"10.0.0:1",
		"[fd00::2]:99999",
		"fd00::x",
		"111111111111111111111111111111111111111111111111111111",
	};
	struct nat_target target;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct nat_targets targets = { .count = 0 };

		assert_true(nat_target_parse(cases[i].text, 443, &target));
		nat_targets_add(&targets, &target);
		nat_targets_add(&targets, &target);
		assert_targets(&targets, cases[i].expected);
	}
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_false(nat_target_parse(none[i], 443, &target));
}

static void drops_what_is_too_much(void **state)
{
	struct nat_targets targets = { .count = 0 };

	(void)state;
	for (uint16_t port = 1; port < 2 * NAT_TARGETS_MOST; port++)
		nat_targets_add(&targets, &(struct nat_target){ .port = port });
	assert_int_equal(targets.count, NAT_TARGETS_MOST);
}

static void assert_iptables(const char *dump, const char *expected)
{
	struct nat_targets targets = { .count = 0 };

	assert_int_equal(
		rule_table_targets(dump, "PREROUTING", &question, &targets), 0);
	assert_targets(&targets, expected);
	assert_int_equal(*targets.rule != '\0', targets.count > 0);
}

static void follows_iptables(void **state)
{
	(void)state;
	/* Docker's; the second is of another port. */
	assert_iptables(
		"-P PREROUTING ACCEPT\n-N DOCKER\n"
		"-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
		"-A DOCKER ! -i docker0 -p tcp -m tcp --dport 443 -j DNAT "
		"--to-destination 172.17.0.2:8443\n"
		"-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT "
		"--to-destination 172.17.0.3:80\n",
		"::ffff:172.17.0.2 8443");
	/* kube-proxy's: the rules that translate name no port. */
	assert_iptables(
		"-A PREROUTING -j KUBE-SERVICES\n"
		"-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 "
		"-j KUBE-SVC-API\n"
		"-A KUBE-SERVICES -d 192.0.2.1/32 -p tcp -m tcp --dport 443 "
		"-j KUBE-EXT-WEB\n"
		"-A KUBE-EXT-WEB -j KUBE-SVC-WEB\n"
		"-A KUBE-SVC-API -j KUBE-SEP-0\n"
		"-A KUBE-SVC-WEB -m statistic --mode random --probability 0.5 "
		"-j KUBE-SEP-1\n"
		"-A KUBE-SVC-WEB -j KUBE-SEP-2\n"
		"-A KUBE-SEP-0 -p tcp -m tcp -j DNAT --to-destination "
		"10.1.1.1:6443\n"
		"-A KUBE-SEP-1 -p tcp -m tcp -j DNAT --to-destination "
		"10.244.0.5:8443\n"
		"-A KUBE-SEP-2 -p tcp -m tcp -j DNAT --to-destination "
		"10.244.0.6:8443\n",
		"::ffff:10.244.0.5 8443, ::ffff:10.244.0.6 8443");
	/* Of our own, to the host itself, and what comes too late. */
	assert_iptables("-A PREROUTING -p tcp --dport 443 -j REDIRECT "
			"--to-ports 21443\n"
			"-A PREROUTING -p tcp --dport 443 -j REDIRECT "
			"--to-ports 8443\n"
			"-A PREROUTING -p tcp --dport 443 -j DNAT "
			"--to-destination 10.0.0.2\n",
			":: 8443");
	assert_iptables("-A PREROUTING -p tcp --dport 443 -j DNAT "
			"--to-destination [fd00::2]:443\n",
			"fd00::2 443");
	assert_iptables("-A PREROUTING -p tcp -m tcp --dport 400:500 -j "
			"REDIRECT --to-ports 8443-8450\n",
			":: 8443");
	assert_iptables("-A PREROUTING -p tcp -m multiport --dports 80,443 "
			"-j DNAT --to-destination fd17::2\n",
			"fd17::2 443");
	/* Another port, a target port, another table's. */
	assert_iptables("-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT "
			"--to-ports 443\n"
			"-A PREROUTING -p tcp -m tcp --dport 8443 -j DNAT "
			"--to-destination 172.17.0.2:443\n"
			"-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n",
			"");
	assert_iptables("", "");
}

static void assert_nft(const char *rules, const char *expected)
{
	struct nat_targets targets = { .count = 0 };
	char text[2048];

	snprintf(text, sizeof(text),
		 "table ip nat {\n"
		 "\tmap ports {\n"
		 "\t\ttype inet_service : ipv4_addr . inet_service\n"
		 "\t\telements = { 80 : 10.1.1.1 . 80,\n"
		 "\t\t\t     443 : 10.88.0.7 . 4443 }\n"
		 "\t}\n\n"
		 "\tmap services {\n"
		 "\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n"
		 "\t\telements = { 10.96.0.1 . 6 . 443 : goto api,\n"
		 "\t\t\t     192.0.2.1 . 17 . 443 : goto api,\n"
		 "\t\t\t     192.0.2.1 . 6 . 443 : goto web }\n"
		 "\t}\n\n"
		 "\tchain api {\n\t\tdnat to 10.1.1.1:6443\n\t}\n\n"
		 "\tchain first {\n"
		 "\t\tmeta l4proto 6 dnat to 10.0.0.9:8443\n\t}\n\n"
		 "\tchain second {\n"
		 "\t\tmeta l4proto 6 dnat to 10.0.0.10:8443\n\t}\n\n"
		 "\tchain web {\n"
		 "\t\tnumgen random mod 2 vmap { 0 : goto first, "
		 "1 : goto second }\n\t\tjump web\n\t}\n\n"
		 "\tchain pre {\n"
		 "\t\ttype nat hook prerouting priority -100; policy accept;\n"
		 "%s\n\t}\n}\n",
		 rules);
	assert_int_equal(nft_targets_read(text, &question, &targets), 0);
	assert_targets(&targets, expected);
	assert_int_equal(*targets.rule != '\0', targets.count > 0);
	/* Cut anywhere it is read no further than to its end. */
	for (size_t length = strlen(text); length--;) {
		cleanup_free char *cut = strndup(text, length);
		struct nat_targets some = { .count = 0 };

		assert_int_equal(nft_targets_read(cut, &question, &some), 0);
	}
}

static void follows_nft(void **state)
{
	static const struct {
		const char *rules, *expected;
	} cases[] = {
		{ "tcp dport 443 redirect to :8443", ":: 8443" },
		{ "tcp dport 443 redirect", ":: 443" },
		{ "tcp dport 443 redirect to :21443", "" },
		{ "tcp dport { 80, 443 } dnat to 10.0.0.2",
		  "::ffff:10.0.0.2 443" },
		{ "tcp dport 400-500 counter packets 443 bytes 0 dnat ip to "
		  "10.0.0.2:8443",
		  "::ffff:10.0.0.2 8443" },
		{ "tcp dport 444 dnat to 10.0.0.2:443", "" },
		{ "tcp dport != 443 dnat to 10.0.0.2", "" },
		{ "tcp dport 4430 dnat to 10.0.0.2", "" },
		{ "tcp dport 444-450 redirect to :443", "" },
		{ "tcp dport 443 accept", "" },
		{ "tcp dport != 22 dnat to 10.0.0.2", "::ffff:10.0.0.2 443" },
		/* Of a set it is not known what is in it. */
		{ "tcp dport @web dnat to 10.0.0.2", "::ffff:10.0.0.2 443" },
		{ "dnat ip to tcp dport map { 440-450 : 10.0.0.3 . 22 }",
		  "::ffff:10.0.0.3 22" },
		{ "dnat to tcp dport map { 80 : 10.0.0.2 }", "" },
		{ "udp dport 443 dnat to 10.0.0.2", "" },
		{ "meta l4proto 17 th dport 443 dnat to 10.0.0.2", "" },
		{ "iifname \"lo\" tcp dport 443 dnat to 10.0.0.2", "" },
		{ "iifname \"eth0\" tcp dport 443 dnat to 10.0.0.2",
		  "::ffff:10.0.0.2 443" },
		{ "tcp dport 443 dnat ip6 to [fd00::2]:8443", "fd00::2 8443" },
		{ "ip daddr 192.0.2.1 tcp dport 443 dnat to 10.0.0.2",
		  "::ffff:10.0.0.2 443" },
		{ "ip daddr { 192.0.2.77, 192.0.2.78 } tcp dport 443 dnat to "
		  "10.0.0.2",
		  "" },
		{ "fib daddr type 2 tcp dport 443 dnat to 10.0.0.2",
		  "::ffff:10.0.0.2 443" },
		{ "dnat ip to tcp dport map { 80 : 10.88.0.3 . 80, "
		  "443 : 10.88.0.2 . 8443 }",
		  "::ffff:10.88.0.2 8443" },
		{ "dnat ip to tcp dport map @ports", "::ffff:10.88.0.7 4443" },
		{ "dnat ip to ip daddr . tcp dport map { "
		  "192.0.2.1 . 443 : 10.9.0.2 . 443, "
		  "192.0.2.2 . 443 : 10.9.0.3 . 443 }",
		  "::ffff:10.9.0.2 443" },
		{ "tcp dport 443 dnat to numgen inc mod 2 map { "
		  "0 : 10.0.0.3, 1 : 10.0.0.4 }",
		  "::ffff:10.0.0.3 443, ::ffff:10.0.0.4 443" },
		{ "tcp dport 443 dnat ip to jhash ip saddr mod 2 map { "
		  "0 : 10.0.0.5 . 8443, 1 : 10.0.0.6 . 8443 }",
		  "::ffff:10.0.0.5 8443, ::ffff:10.0.0.6 8443" },
		{ "ip daddr . meta l4proto . th dport vmap @services",
		  "::ffff:10.0.0.9 8443, ::ffff:10.0.0.10 8443" },
		{ "tcp dport vmap { 80 : accept, 444 : jump web }", "" },
		{ "tcp dport vmap { 80 : accept, 443 : jump web }",
		  "::ffff:10.0.0.9 8443, ::ffff:10.0.0.10 8443" },
		{ "tcp dport 443 goto web",
		  "::ffff:10.0.0.9 8443, ::ffff:10.0.0.10 8443" },
		{ "meta l4proto 6 xt match \"multiport\" dnat to 10.0.0.2",
		  "" },
		{ "tcp dport 443 accept comment \"dnat to 10.0.0.2\"", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_nft(cases[i].rules, cases[i].expected);
}

/* For messages, and where it is not understood where a rule leads. */
/* Whose rule may not be forestalled for all. */
static void tells_rules_for_some(void **state)
{
	static const char all[] =
		"-A PREROUTING -p tcp --dport 443 -j DNAT --to 10.0.0.2\n";
	static const char web[] =
		"-A PREROUTING -m addrtype --dst-type LOCAL -j WEB\n"
		"-A WEB ! -i docker0 -p tcp --dport 443 -j DNAT --to 10.0.0.2\n";
	static const struct {
		const char *rules, *others;
		bool for_some;
	} cases[] = {
		{ "", "", false },
		{ "", all, false },
		{ "", web, false },
		/* By Docker, for IPv6 and as it was. */
		{ "-A PREROUTING ! -s fe80::/10 ! -i docker0 -p tcp --dport 443 "
		  "-j DNAT --to 10.0.0.2\n",
		  "", false },
		{ "-A WEB -i docker0 -j RETURN\n", web, false },
		{ "-A PREROUTING ! -d 127.0.0.0/8 -p tcp --dport 443 "
		  "--tcp-flags FIN,SYN,RST,ACK SYN "
		  "-m conntrack --ctstate NEW -j DNAT --to 10.0.0.2\n",
		  "", false },
		{ "-A PREROUTING -s 192.0.2.0/24 -p tcp --dport 80 -j DNAT "
		  "--to 10.0.0.2\n"
		  "-A PREROUTING -s 192.0.2.0/24 -j MARK --set-mark 1\n",
		  all, false },
		{ "-A PREROUTING -d 192.0.2.1/32 -p tcp --dport 443 -j DNAT "
		  "--to 10.0.0.2\n",
		  "", true },
		{ "-A PREROUTING -s 192.0.2.0/24 -p tcp --dport 443 -j DNAT "
		  "--to 10.0.0.3\n",
		  all, true },
		{ "-A PREROUTING ! -s 192.0.2.0/24 -p tcp --dport 443 -j DNAT "
		  "--to 10.0.0.2\n",
		  "", true },
		{ "-A PREROUTING -i eth0 -p tcp --dport 443 -j REDIRECT "
		  "--to-ports 8443\n",
		  "", true },
		{ "-A PREROUTING -m statistic --mode random --probability 0.5 "
		  "-p tcp --dport 443 -j DNAT --to 10.0.0.2\n",
		  all, true },
		/* By the jump. */
		{ "-A PREROUTING -d 192.0.2.1/32 -j SOME\n"
		  "-A SOME -p tcp --dport 443 -j DNAT --to 10.0.0.2\n",
		  "", true },
		{ "-A PREROUTING -i eth0 -j WEB\n", web, true },
		/* Some are kept from it. */
		{ "-A PREROUTING -d 192.0.2.9/32 -j ACCEPT\n", all, false },
		{ "-A PREROUTING -d 192.0.2.1/32 -j ACCEPT\n", all, true },
		{ "-A PREROUTING -s 192.0.2.0/24 -j ACCEPT\n", web, true },
		{ "-A WEB ! -i eth0 -j RETURN\n", web, true },
	};
	/* More than one, so that each is one of some. */
	static struct in6_addr hosts[] = {
		{ { { [10] = 0xff, 0xff, 192, 0, 2, 1 } } },
		{ { { [10] = 0xff, 0xff, 192, 0, 2, 2 } } },
	};
	struct rule_question asked = question;

	(void)state;
	asked.addresses = hosts;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char dump[512];

		snprintf(dump, sizeof(dump), "%s%s", cases[i].rules,
			 cases[i].others);
		for (size_t known = 2; known > 0; known--) {
			struct nat_targets targets = { .count = 0 };

			asked.address_count = known;
			assert_int_equal(rule_table_targets(dump, "PREROUTING",
							    &asked, &targets),
					 0);
			if (targets.for_some != cases[i].for_some)
				fail_msg("with %zu addresses: %s", known, dump);
		}
	}
}

static void tells_the_first_rule(void **state)
{
	static const struct {
		const char *rules, *expected;
	} cases[] = {
		{ "\t\ttcp dport 443 redirect to :21443\n"
		  "\t\ttcp dport 443 counter dnat to 10.0.0.2\n"
		  "\t\ttcp dport 443 redirect to :8443",
		  "tcp dport 443 counter dnat to 10.0.0.2" },
		{ "\t\tredirect to tcp dport map { 443 : 22 }",
		  "redirect to tcp dport map { 443 : 22 }" },
		{ "\t\tredirect to tcp dport map { 444 : 22 }", "" },
		{ "\t\ttcp dport 443 dnat to ip saddr",
		  "tcp dport 443 dnat to ip saddr" },
	};
	static const char iptables[] =
		"-A PREROUTING -j WEB\n"
		"-A WEB -p tcp --dport 443 -j NETMAP --to 10.0.0.0/24\n"
		"-A WEB -p tcp --dport 443 -j DNAT --to-destination 10.0.0.2\n";
	struct nat_targets targets = { .count = 0 };
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		targets = (struct nat_targets){ .count = 0 };
		snprintf(text, sizeof(text),
			 "table ip nat {\n\tchain pre {\n"
			 "\t\ttype nat hook prerouting priority -100;\n"
			 "%s\n\t}\n}\n",
			 cases[i].rules);
		assert_int_equal(nft_targets_read(text, &question, &targets),
				 0);
		assert_string_equal(targets.rule, cases[i].expected);
	}
	targets = (struct nat_targets){ .count = 0 };
	assert_int_equal(
		rule_table_targets(iptables, "PREROUTING", &question, &targets),
		0);
	assert_string_equal(
		targets.rule,
		"-A WEB -p tcp --dport 443 -j NETMAP --to 10.0.0.0/24");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_addresses),
		cmocka_unit_test(drops_what_is_too_much),
		cmocka_unit_test(follows_iptables),
		cmocka_unit_test(follows_nft),
		cmocka_unit_test(tells_the_first_rule),
		cmocka_unit_test(tells_rules_for_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
