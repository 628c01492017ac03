/* SPDX-License-Identifier: MIT */
/* What this host makes of new connections from outside, before any redirect of
 * ours. */
#ifndef REDIRECT_HOST_H
#define REDIRECT_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/address.h"

/* Enough for a rule's text in a message; longer ones are cut. */
#define RULE_TEXT_SIZE 256

/*
 * Is @address this host's: that of an interface, or made its own by a route of
 * type local? 1, 0, or negative errno.
 */
int host_has_address(const struct sockaddr *address);

/*
 * Is @port published to somewhere else by NAT, as container engines do it? A
 * redirect to @own_port is ours and publishes nothing. Asks nft, iptables and
 * ip6tables; what is not installed has nothing to say. Returns true if there is
 * such a rule, with its text in @rule.
 */
bool published_find(uint16_t port, uint16_t own_port,
		    char rule[static RULE_TEXT_SIZE]);

/*
 * Do the rules that iptables and, if @ipv6, ip6tables list drop new connections
 * to @port? Returns 1 with the rule or policy that drops them in @rule, 0 if
 * not or not for certain, or -ENOMEM.
 */
int input_firewall_drops(uint16_t port, bool ipv6,
			 char rule[static RULE_TEXT_SIZE]);

/* Who serves a port, however visitors come there. */
struct served {
	/* For a message: the NAT rule, or where somebody listens. */
	char by[320];
	/* Where this host itself finds who serves, as an option takes it; "" if
	 * it does not. */
	char fallback[ENDPOINT_TEXT_SIZE];
};

/*
 * Does anybody serve TCP @port? False also if it cannot be told. Starts nft and
 * iptables, and tries a connection to what they and the kernel name; takes a
 * second at most beside.
 */
bool served_find(uint16_t port, struct served *served);

#endif
