/* SPDX-License-Identifier: MIT */
/*
 * Ask the host's rules about new connections from outside to any of its
 * addresses.
 */
#ifndef REDIRECT_RULES_RULE_CHECK_H
#define REDIRECT_RULES_RULE_CHECK_H

#include <stdbool.h>
#include <sys/socket.h>

#include "redirect/host.h"
#include "redirect/rules/rule_table.h"

struct rule_check {
	const char *table;
	const char *chain;
	/* Its addresses are filled in. */
	struct rule_question question;
	/* Is this the answer? */
	enum rule_verdict verdict;
};

/*
 * Ask @rules, the dump of that table of @family. Returns 1 with the deciding
 * rule in @rule if the answer is ->verdict, 0 if not, or -ENOMEM.
 */
int rule_check_dump(const struct rule_check *check, sa_family_t family,
		    const char *rules, char rule[static RULE_TEXT_SIZE]);

/*
 * The same of what iptables and, if @ipv6, ip6tables list now: where they are
 * not installed or not usable there is nothing to be seen.
 */
int rule_check_host(const struct rule_check *check, bool ipv6,
		    char rule[static RULE_TEXT_SIZE]);

/*
 * The addresses of @family (AF_UNSPEC: both) that visitors can have connected
 * to, in this network namespace: how many, in an array that the caller frees.
 * What cannot be read is as if it were not there.
 */
size_t rule_check_addresses(sa_family_t family, struct rule_address **items);

/* All rules as nft lists them (nft_text.h), which the caller frees; NULL if it
 * cannot. */
char *rule_check_list_nft(void);

#endif
