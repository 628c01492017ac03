/* SPDX-License-Identifier: MIT */
/*
 * What the rules of an iptables table do with a new connection, told from the
 * text of "iptables -S".
 *
 * Pure: no I/O. It follows jumps from a base chain as the kernel would and
 * understands the matches that container engines, kube-proxy and firewalls
 * use; a rule with any other match may or may not apply.
 */
#ifndef REDIRECT_RULES_RULE_TABLE_H
#define REDIRECT_RULES_RULE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "redirect/rules/nat_targets.h"

/* A new TCP connection from outside to an address of this host. */
struct rule_question {
	/* The destination port that the packet has in this table. */
	uint16_t port;
	/* The one that the client sent it to; another if it was redirected. */
	uint16_t original_port;
	/* A REDIRECT to this port is our own and takes nothing away. */
	uint16_t own_port;
	/* What the client may have connected to, IPv4 as ::ffff:a.b.c.d. */
	struct in6_addr *addresses;
	size_t address_count;
};

enum rule_verdict {
	/* No rule decided and the chain has no policy that does. */
	RULE_PASS,
	RULE_ACCEPT,
	/* DROP or REJECT, by a rule that applies for certain or the policy. */
	RULE_DROP,
	/* Sent elsewhere, by a rule that may apply. */
	RULE_TRANSLATE,
	/* Not tracked, by a rule for ports that may apply, or by any that
	 * applies for certain. */
	RULE_UNTRACK,
};

struct rule_answer {
	enum rule_verdict verdict;
	/* The line of the dump that decided, not terminated; or NULL. */
	const char *rule;
	size_t rule_length;
};

/*
 * Ask what @chain of the table listed in @dump does. Returns 0 or -ENOMEM.
 */
int rule_table_ask(const char *dump, const char *chain,
		   const struct rule_question *question,
		   struct rule_answer *answer);

/*
 * Add to @targets wherever that chain may lead such a connection. Returns 0 or
 * -ENOMEM.
 */
int rule_table_targets(const char *dump, const char *chain,
		       const struct rule_question *question,
		       struct nat_targets *targets);

/*
 * Find the next rule of @chain in @dump whose comment begins with @prefix;
 * *@cursor is NULL at first. Returns 1 with its comment in @comment (cut to
 * @size, terminated), 0 when there are no more, or -ENOMEM.
 */
int rule_table_next_comment(const char *dump, const char *chain,
			    const char *prefix, const char **cursor,
			    char *comment, size_t size);

#endif
