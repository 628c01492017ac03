// SPDX-License-Identifier: MIT
/*
 * The dumps have the layout of the engines and firewalls named; addresses and
 * identifiers are examples.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "redirect/rules/rule_table.h"

#define NAT_POLICIES                                                \
	"-P PREROUTING ACCEPT\n-P INPUT ACCEPT\n-P OUTPUT ACCEPT\n" \
	"-P POSTROUTING ACCEPT\n"

/* 192.0.2.10, 10.88.0.1 and 2001:db8::10 are the host's. */
static struct rule_question question(uint16_t port)
{
	static struct in6_addr addresses[3];

	inet_pton(AF_INET6, "::ffff:192.0.2.10", &addresses[0]);
	inet_pton(AF_INET6, "::ffff:10.88.0.1", &addresses[1]);
	inet_pton(AF_INET6, "2001:db8::10", &addresses[2]);
	return (struct rule_question){
		.port = port,
		.original_port = port,
		.own_port = 21443,
		.addresses = addresses,
		.address_count = ARRAY_SIZE(addresses),
	};
}

static enum rule_verdict verdict(const char *dump, const char *chain,
				 uint16_t port)
{
	struct rule_question asked = question(port);
	struct rule_answer answer;

	assert_int_equal(rule_table_ask(dump, chain, &asked, &answer), 0);
	return answer.verdict;
}

static void assert_translated(const char *dump, uint16_t port,
			      const char *rule_begins)
{
	struct rule_question asked = question(port);
	struct rule_answer answer;

	assert_int_equal(rule_table_ask(dump, "PREROUTING", &asked, &answer),
			 0);
	assert_int_equal(answer.verdict, RULE_TRANSLATE);
	assert_true(answer.rule_length >= strlen(rule_begins));
	assert_memory_equal(answer.rule, rule_begins, strlen(rule_begins));
	assert_true(answer.rule[answer.rule_length] == '\n');
}

static void assert_free(const char *dump, uint16_t port)
{
	assert_int_equal(verdict(dump, "PREROUTING", port), RULE_PASS);
}

static void test_rules_that_untrack(void **state)
{
	static const char *const rules[] = {
		"-A PREROUTING -p tcp -m tcp --dport 443 -j CT --notrack\n",
		"-A PREROUTING -p tcp -m tcp --dport 443 -j NOTRACK\n",
		"-A PREROUTING -i eth0 -p tcp -m tcp --dport 443 -j NOTRACK\n",
		"-A PREROUTING -p tcp -j CT --notrack\n",
	};
	static const char *const others[] = {
		"-A PREROUTING -p udp -m udp --dport 443 -j CT --notrack\n",
		"-A PREROUTING -p tcp -m tcp --dport 443 -j CT --zone 1\n",
		"-A PREROUTING -s 10.0.0.0/8 -j CT --notrack\n",
		"-A OUTPUT -p tcp -m tcp --sport 443 -j CT --notrack\n",
		"-A PREROUTING -i lo -j NOTRACK\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		assert_int_equal(verdict(rules[i], "PREROUTING", 443),
				 RULE_UNTRACK);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(verdict(others[i], "PREROUTING", 443),
				 RULE_PASS);
}

static void test_empty_tables(void **state)
{
	(void)state;
	assert_free("", 443);
	assert_free(NAT_POLICIES, 443);
	assert_free("# Warning: iptables-legacy tables present\n" NAT_POLICIES,
		    443);
}

static const char docker[] = NAT_POLICIES
	"-N DOCKER\n"
	"-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
	"-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER\n"
	"-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n"
	"-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp "
	"--dport 443 -j MASQUERADE\n"
	"-A DOCKER -i docker0 -j RETURN\n"
	"-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8443 -j DNAT "
	"--to-destination 172.17.0.3:443\n"
	"-A DOCKER ! -i docker0 -p tcp -m tcp --dport 443 -j DNAT "
	"--to-destination 172.17.0.2:443\n"
	"-A DOCKER ! -i docker0 -p udp -m udp --dport 80 -j DNAT "
	"--to-destination 172.17.0.2:80\n";

static void test_docker(void **state)
{
	(void)state;
	assert_translated(docker, 443,
			  "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 443 ");
	assert_translated(docker, 8443,
			  "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8443 ");
	assert_free(docker, 444);
	assert_free(docker, 80);
}

/* -p 203.0.113.9:443:443 publishes on an address that is not the host's. */
static void test_docker_published_on_one_address(void **state)
{
	static const char other[] = NAT_POLICIES
		"-N DOCKER\n"
		"-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
		"-A DOCKER -d 203.0.113.9/32 ! -i docker0 -p tcp -m tcp "
		"--dport 443 -j DNAT --to-destination 172.17.0.2:443\n";
	static const char ours[] = NAT_POLICIES
		"-N DOCKER\n"
		"-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
		"-A DOCKER -d 192.0.2.10/32 ! -i docker0 -p tcp -m tcp "
		"--dport 443 -j DNAT --to-destination 172.17.0.2:443\n";

	(void)state;
	assert_free(other, 443);
	assert_translated(ours, 443, "-A DOCKER -d 192.0.2.10/32");
}

static const char podman_cni[] = NAT_POLICIES
	"-N CNI-DN-1234567890abcdef\n"
	"-N CNI-HOSTPORT-DNAT\n"
	"-N CNI-HOSTPORT-MASQ\n"
	"-N CNI-HOSTPORT-SETMARK\n"
	"-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n"
	"-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT\n"
	"-A CNI-DN-1234567890abcdef -s 10.88.0.0/16 -p tcp -m tcp --dport 443 "
	"-j CNI-HOSTPORT-SETMARK\n"
	"-A CNI-DN-1234567890abcdef -s 127.0.0.1/32 -p tcp -m tcp --dport 443 "
	"-j CNI-HOSTPORT-SETMARK\n"
	"-A CNI-DN-1234567890abcdef -p tcp -m tcp --dport 443 -j DNAT "
	"--to-destination 10.88.0.2:443\n"
	"-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "
	"\"dnat name: \\\"podman\\\" id: \\\"0f1e\\\"\" -m multiport --dports "
	"80,443,8000:8010 -j CNI-DN-1234567890abcdef\n"
	"-A CNI-HOSTPORT-SETMARK -m comment --comment \"CNI portfwd mark\" "
	"-j MARK --set-xmark 0x2000/0x2000\n";

static void test_podman_cni(void **state)
{
	(void)state;
	assert_translated(podman_cni, 443, "-A CNI-DN-1234567890abcdef -p tcp");
	/* Let in by the jump's port list, but no DNAT follows. */
	assert_free(podman_cni, 8005);
	assert_free(podman_cni, 8011);
}

static void test_podman_netavark(void **state)
{
	static const char dump[] = NAT_POLICIES
		"-N NETAVARK-DN-1D8721804F16F\n"
		"-N NETAVARK-HOSTPORT-DNAT\n"
		"-N NETAVARK-HOSTPORT-SETMARK\n"
		"-A PREROUTING -m addrtype --dst-type LOCAL "
		"-j NETAVARK-HOSTPORT-DNAT\n"
		"-A NETAVARK-DN-1D8721804F16F -s 10.88.0.0/16 -p tcp -m tcp "
		"--dport 443 -j NETAVARK-HOSTPORT-SETMARK\n"
		"-A NETAVARK-DN-1D8721804F16F -p tcp -m tcp --dport 443 "
		"-j DNAT --to-destination 10.88.0.7:8443\n"
		"-A NETAVARK-HOSTPORT-DNAT -p tcp -m tcp --dport 443 "
		"-m comment --comment \"dnat name: podman id: 1f\" "
		"-j NETAVARK-DN-1D8721804F16F\n";

	(void)state;
	assert_translated(dump, 443, "-A NETAVARK-DN-1D8721804F16F -p tcp");
	assert_free(dump, 8443);
}

static const char kube_proxy[] = NAT_POLICIES
	"-N KUBE-MARK-MASQ\n-N KUBE-NODEPORTS\n-N KUBE-SERVICES\n"
	"-N KUBE-SEP-AAAAAAAAAAAAAAAA\n-N KUBE-SVC-NPX46M4PTMTKRN6Y\n"
	"-N KUBE-SVC-BBBBBBBBBBBBBBBB\n-N KUBE-EXT-BBBBBBBBBBBBBBBB\n"
	"-N KUBE-SEP-BBBBBBBBBBBBBBBB\n"
	"-A PREROUTING -m comment --comment \"kubernetes service portals\" "
	"-j KUBE-SERVICES\n"
	"-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n"
	"-A KUBE-NODEPORTS -d 192.0.2.10/32 -p tcp -m comment --comment "
	"\"web/web:https\" -m tcp --dport 30443 -j KUBE-EXT-BBBBBBBBBBBBBBBB\n"
	"-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment "
	"\"default/kubernetes:https cluster IP\" -m tcp --dport 443 "
	"-j KUBE-SVC-NPX46M4PTMTKRN6Y\n"
	"-A KUBE-SERVICES -m comment --comment \"kubernetes service "
	"nodeports; NOTE: this must be the last rule in this chain\" "
	"-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n"
	"-A KUBE-SVC-NPX46M4PTMTKRN6Y ! -s 10.244.0.0/16 -d 10.96.0.1/32 "
	"-p tcp -m comment --comment \"default/kubernetes:https cluster IP\" "
	"-m tcp --dport 443 -j KUBE-MARK-MASQ\n"
	"-A KUBE-SVC-NPX46M4PTMTKRN6Y -m comment --comment "
	"\"default/kubernetes:https -> 192.0.2.10:6443\" "
	"-j KUBE-SEP-AAAAAAAAAAAAAAAA\n"
	"-A KUBE-SEP-AAAAAAAAAAAAAAAA -p tcp -m comment --comment "
	"\"default/kubernetes:https\" -m tcp -j DNAT "
	"--to-destination 192.0.2.10:6443\n"
	"-A KUBE-EXT-BBBBBBBBBBBBBBBB -m comment --comment "
	"\"masquerade traffic for web/web:https external destinations\" "
	"-j KUBE-MARK-MASQ\n"
	"-A KUBE-EXT-BBBBBBBBBBBBBBBB -j KUBE-SVC-BBBBBBBBBBBBBBBB\n"
	"-A KUBE-SVC-BBBBBBBBBBBBBBBB -m comment --comment \"web/web:https\" "
	"-m statistic --mode random --probability 0.50000000000 "
	"-j KUBE-SEP-BBBBBBBBBBBBBBBB\n"
	"-A KUBE-SEP-BBBBBBBBBBBBBBBB -s 10.244.0.5/32 -m comment --comment "
	"\"web/web:https\" -j KUBE-MARK-MASQ\n"
	"-A KUBE-SEP-BBBBBBBBBBBBBBBB -p tcp -m comment --comment "
	"\"web/web:https\" -m tcp -j DNAT --to-destination 10.244.0.5:443\n";

/* Cluster addresses are not the host's: 443 of the node is free. */
static void test_kube_proxy(void **state)
{
	(void)state;
	assert_free(kube_proxy, 443);
	assert_translated(kube_proxy, 30443,
			  "-A KUBE-SEP-BBBBBBBBBBBBBBBB -p tcp");
}

/* A service of type LoadBalancer whose address is the node's own. */
static void test_kube_proxy_load_balancer(void **state)
{
	static const char dump[] = NAT_POLICIES
		"-A PREROUTING -j KUBE-SERVICES\n"
		"-A KUBE-SERVICES -d 192.0.2.10/32 -p tcp -m comment "
		"--comment \"web/web:https loadbalancer IP\" -m tcp "
		"--dport 443 -j KUBE-EXT-C\n"
		"-A KUBE-EXT-C -g KUBE-SVC-C\n"
		"-A KUBE-SVC-C -p tcp -j DNAT --to-destination 10.1.2.3:443\n";

	(void)state;
	assert_translated(dump, 443, "-A KUBE-SVC-C -p tcp");
}

static void test_own_rule_is_not_anothers(void **state)
{
	static const char dump[] = NAT_POLICIES
		"-A PREROUTING -p tcp -m tcp --dport 443 --tcp-flags "
		"FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m comment "
		"--comment acme-alpn-proxy -j REDIRECT --to-ports 21443\n"
		"-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT "
		"--to-ports 8080\n";

	(void)state;
	assert_free(dump, 443);
	assert_translated(dump, 80, "-A PREROUTING -p tcp -m tcp --dport 80 ");
}

static void test_matches(void **state)
{
	static const struct {
		const char *match;
		bool may_apply;
	} cases[] = {
		{ "", true },
		{ "-p tcp", true },
		{ "-p udp", false },
		{ "! -p tcp", false },
		{ "! -p udp", true },
		{ "-p tcp -m tcp --dport 400:500", true },
		{ "-p tcp -m tcp --dport 444:500", false },
		{ "-p tcp -m tcp --dport 443:443", true },
		{ "-p tcp -m tcp ! --dport 443", false },
		{ "-p tcp -m tcp ! --dport 80", true },
		{ "-p tcp -m multiport --dports 80,443", true },
		{ "-p tcp -m multiport --dports 80,4430", false },
		{ "-p tcp -m multiport --dports 1:79,442:444", true },
		{ "-p tcp -m multiport ! --dports 80,443", false },
		{ "-p tcp -m tcp --sport 443", true },
		{ "-d 192.0.2.10/32", true },
		{ "-d 192.0.2.0/29", false },
		{ "-d 192.0.2.8/29", true },
		{ "-d 192.0.2.10", true },
		{ "-d 198.51.100.0/24", false },
		{ "! -d 198.51.100.0/24", true },
		{ "! -d 0.0.0.0/0", false },
		{ "-d 192.0.2.10/255.0.0.255", true },
		{ "-d 2001:db8::/32", true },
		{ "-d 2001:db9::/32", false },
		{ "-d 2001:db8::10/128", true },
		{ "-s 198.51.100.0/24", true },
		{ "-s fe80::/10", false },
		{ "! -s fe80::/10", true },
		{ "-i lo", false },
		{ "! -i lo", true },
		{ "-i eth0", true },
		{ "! -i docker0", true },
		{ "-m addrtype --dst-type LOCAL", true },
		{ "-m addrtype --dst-type LOCAL,BROADCAST", true },
		{ "-m addrtype ! --dst-type LOCAL", false },
		{ "-m addrtype --dst-type UNICAST", false },
		{ "-m addrtype --src-type LOCAL", false },
		{ "-m addrtype --dst-type LOCAL --limit-iface-in", true },
		{ "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", true },
		{ "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN", false },
		{ "-p tcp -m tcp --tcp-flags RST RST", false },
		{ "-p tcp -m tcp --tcp-flags ALL NONE", false },
		{ "-m conntrack --ctstate NEW", true },
		{ "-m conntrack --ctstate RELATED,ESTABLISHED", false },
		{ "-m conntrack ! --ctstate NEW", false },
		{ "-m state --state NEW,ESTABLISHED", true },
		{ "-m set --match-set blocked src", true },
		{ "-m comment --comment -j", true },
		{ "-m comment --comment \"--dport 80\"", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char dump[256];

		snprintf(dump, sizeof(dump),
			 "-A PREROUTING %s -j DNAT --to-destination 10.0.0.1\n",
			 cases[i].match);
		if (verdict(dump, "PREROUTING", 443) !=
		    (cases[i].may_apply ? RULE_TRANSLATE : RULE_PASS))
			fail_msg("wrong verdict for: %s", dump);
	}
}

static void test_earlier_rules_shield(void **state)
{
	static const char accepted[] =
		"-A PREROUTING -p tcp -m tcp --dport 443 -j ACCEPT\n"
		"-A PREROUTING -j DNAT --to-destination 10.0.0.1\n";
	static const char returned[] =
		"-A PREROUTING -j WEB\n"
		"-A WEB -p tcp -m tcp --dport 443 -j RETURN\n"
		"-A WEB -j DNAT --to-destination 10.0.0.1\n";
	static const char some_accepted[] =
		"-A PREROUTING -s 198.51.100.0/24 -j ACCEPT\n"
		"-A PREROUTING -j DNAT --to-destination 10.0.0.1\n";
	/* The chain that returns is entered by some visitors alone. */
	static const char some_entered[] =
		"-A PREROUTING -s 198.51.100.0/24 -g WEB\n"
		"-A PREROUTING -j DNAT --to-destination 10.0.0.1\n"
		"-A WEB -j ACCEPT\n";

	(void)state;
	assert_int_equal(verdict(accepted, "PREROUTING", 443), RULE_ACCEPT);
	assert_free(returned, 443);
	assert_int_equal(verdict(some_accepted, "PREROUTING", 443),
			 RULE_TRANSLATE);
	assert_int_equal(verdict(some_entered, "PREROUTING", 443),
			 RULE_TRANSLATE);
}

static void test_loops_and_broken_lines_end(void **state)
{
	static const char dump[] = "-A PREROUTING -j A\n"
				   "-A A -j B\n"
				   "-A B -j A\n"
				   "-A B --comment \"never closed\n"
				   "-A B -j\n"
				   "-A B !\n"
				   "-A B --dport\n"
				   "-A B --tcp-flags SYN\n"
				   "-A B\n"
				   "-A";

	(void)state;
	assert_free(dump, 443);
}

/* An address of the other family is none that these rules leave out. */
static void test_rule_for_all_addresses(void **state)
{
	static const char ipv4[] = "-A INPUT -d 192.0.2.10/32 -j DROP\n"
				   "-A INPUT -d 10.0.0.0/8 -j DROP\n";
	static const char ipv6[] = "-A INPUT -d 2001:db8::/32 -j DROP\n";
	static const char all_of_ipv4[] = "-A INPUT -d 128.0.0.0/1 -j ACCEPT\n"
					  "-A INPUT -d 0.0.0.0/0 -j DROP\n";

	(void)state;
	assert_int_equal(verdict(ipv4, "INPUT", 443), RULE_PASS);
	assert_int_equal(verdict(ipv6, "INPUT", 443), RULE_DROP);
	assert_int_equal(verdict(all_of_ipv4, "INPUT", 443), RULE_DROP);
}

static const char firewall[] =
	"-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n"
	"-A INPUT -i lo -j ACCEPT\n"
	"-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
	"-A INPUT -p icmp -j ACCEPT\n"
	"-A INPUT -s 198.51.100.0/24 -j ACCEPT\n"
	"-A INPUT -p tcp -m multiport --dports 22,80,443 -m conntrack "
	"--ctstate NEW -j ACCEPT\n";

static void test_firewall(void **state)
{
	(void)state;
	assert_int_equal(verdict(firewall, "INPUT", 443), RULE_ACCEPT);
	assert_int_equal(verdict(firewall, "INPUT", 21443), RULE_DROP);
	assert_int_equal(verdict("-P INPUT ACCEPT\n", "INPUT", 21443),
			 RULE_PASS);
}

/* In ufw's way: policy, chains before and after, rejecting at the end. */
static void test_firewall_with_chains(void **state)
{
	static const char dump[] =
		"-P INPUT DROP\n-N ufw-before-input\n-N ufw-not-local\n"
		"-N ufw-user-input\n-N ufw-reject-input\n"
		"-A INPUT -j ufw-before-input\n"
		"-A INPUT -j ufw-reject-input\n"
		"-A ufw-before-input -i lo -j ACCEPT\n"
		"-A ufw-before-input -m conntrack --ctstate INVALID -j DROP\n"
		"-A ufw-before-input -j ufw-not-local\n"
		"-A ufw-before-input -j ufw-user-input\n"
		"-A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN\n"
		"-A ufw-not-local -j DROP\n"
		"-A ufw-user-input -p tcp -m tcp --dport 443 -j ACCEPT\n"
		"-A ufw-reject-input -j REJECT --reject-with "
		"icmp-port-unreachable\n";

	(void)state;
	assert_int_equal(verdict(dump, "INPUT", 443), RULE_ACCEPT);
	assert_int_equal(verdict(dump, "INPUT", 21443), RULE_DROP);
}

/* A redirected packet keeps a memory of where it was sent to. */
static void test_firewall_that_knows_redirects(void **state)
{
	static const char *const rules[] = {
		"-P INPUT DROP\n"
		"-A INPUT -m conntrack --ctstate DNAT -j ACCEPT\n",
		"-P INPUT DROP\n"
		"-A INPUT -p tcp -m conntrack --ctorigdstport 443 -j ACCEPT\n",
	};
	struct rule_question asked = question(21443);
	struct rule_answer answer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		asked.original_port = 443;
		rule_table_ask(rules[i], "INPUT", &asked, &answer);
		assert_int_equal(answer.verdict, RULE_ACCEPT);
		asked.original_port = 21443;
		rule_table_ask(rules[i], "INPUT", &asked, &answer);
		assert_int_equal(answer.verdict, RULE_DROP);
	}
}

static void test_comments(void **state)
{
	static const char dump[] =
		"-A PREROUTING -m comment --comment \"app hold 1-a\"\n"
		"-A OTHER -m comment --comment \"app hold 2-b\"\n"
		"-A PREROUTING -m comment --comment app -j X\n"
		"-A PREROUTING -m comment --comment \"not app hold\"\n"
		"-A PREROUTING -m comment --comment 'app hold 3-c'";
	const char *cursor = NULL;
	char comment[32];

	(void)state;
	assert_int_equal(rule_table_next_comment(dump, "PREROUTING",
						 "app hold ", &cursor, comment,
						 sizeof(comment)),
			 1);
	assert_string_equal(comment, "app hold 1-a");
	assert_int_equal(rule_table_next_comment(dump, "PREROUTING",
						 "app hold ", &cursor, comment,
						 sizeof(comment)),
			 1);
	assert_string_equal(comment, "app hold 3-c");
	assert_int_equal(rule_table_next_comment(dump, "PREROUTING",
						 "app hold ", &cursor, comment,
						 sizeof(comment)),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_that_untrack),
		cmocka_unit_test(test_empty_tables),
		cmocka_unit_test(test_docker),
		cmocka_unit_test(test_docker_published_on_one_address),
		cmocka_unit_test(test_podman_cni),
		cmocka_unit_test(test_podman_netavark),
		cmocka_unit_test(test_kube_proxy),
		cmocka_unit_test(test_kube_proxy_load_balancer),
		cmocka_unit_test(test_own_rule_is_not_anothers),
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_earlier_rules_shield),
		cmocka_unit_test(test_loops_and_broken_lines_end),
		cmocka_unit_test(test_rule_for_all_addresses),
		cmocka_unit_test(test_firewall),
		cmocka_unit_test(test_firewall_with_chains),
		cmocka_unit_test(test_firewall_that_knows_redirects),
		cmocka_unit_test(test_comments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
