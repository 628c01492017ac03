/* SPDX-License-Identifier: MIT */
/* Does a rule of the host's stand between new connections and our redirect? */
#ifndef REDIRECT_RULES_INPUT_FIREWALL_H
#define REDIRECT_RULES_INPUT_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redirect/rules/xtables.h"

/* A rule as iptables lists it, cut if longer. */
#define NAT_CHECK_RULE_SIZE 256

/*
 * Is there a rule in the nat tables that sends new connections to
 * @service_port of this host elsewhere, as the published port of a container?
 * A REDIRECT to @listen_port is our own and does not count. Looks at what
 * iptables and, if @ipv6, ip6tables list; where they are not installed or not
 * usable there is nothing to be seen.
 *
 * Returns 1 with the rule in @rule, 0 if there is none, or -ENOMEM.
 */
int nat_check_port(uint16_t service_port, uint16_t listen_port, bool ipv6,
		   char rule[static NAT_CHECK_RULE_SIZE]);

/* The same for one family and @rules, the dump of its nat table. */
int nat_check_rules(const struct xtables *xtables, const char *rules,
		    uint16_t service_port, uint16_t listen_port,
		    char rule[static NAT_CHECK_RULE_SIZE]);

/*
 * Do the INPUT rules drop new connections to @port, as far as iptables and, if
 * @ipv6, ip6tables tell? Returns as nat_check_port().
 */
int nat_check_input(uint16_t port, bool ipv6,
		    char rule[static NAT_CHECK_RULE_SIZE]);

/*
 * Does the firewall accept new connections to @service_port but drop them once
 * they are redirected to @listen_port? @rules is the dump of the filter table.
 * Returns as above, with the rule or policy that drops them.
 */
int nat_check_firewall(const struct xtables *xtables, const char *rules,
		       uint16_t service_port, uint16_t listen_port,
		       char rule[static NAT_CHECK_RULE_SIZE]);

#endif
