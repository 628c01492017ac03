/* SPDX-License-Identifier: MIT */
/* The host's iptables and ip6tables programs: finding and running them. */
#ifndef REDIRECT_RULES_XTABLES_H
#define REDIRECT_RULES_XTABLES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "redirect/rules/rulespec.h"

/* Enough for the one line that iptables says when something is wrong. */
#define XTABLES_MESSAGE_SIZE 256

struct xtables {
	/* "iptables" or "ip6tables", for messages. */
	const char *name;
	/* AF_INET or AF_INET6 */
	sa_family_t family;
	/* Allocated; NULL if it is not installed. */
	char *path;
	/* What the last run that failed had to say. */
	char message[XTABLES_MESSAGE_SIZE];
};

/* Look for the program of @family. Returns 0 or -ENOENT. */
int xtables_find(struct xtables *xtables, sa_family_t family);
void xtables_release(struct xtables *xtables);

/* What to add to a message when IPv6 alone is the trouble; "" otherwise. */
const char *xtables_advice(const struct xtables *xtables);
/* Log that we cannot do @what because of @err, in the program's own words where
 * it had some, and return @err. */
int xtables_complain(const struct xtables *xtables, const char *what, int err);

/*
 * "-t @table -S": all chains and rules, in an allocated string. Returns 0 or
 * negative errno with ->message set, as all below.
 */
int xtables_list(struct xtables *xtables, const char *table, char **rules);

/* Both; on any error too, xtables_release() is due. */
int xtables_open(struct xtables *xtables, sa_family_t family, const char *table,
		 char **rules);

/* The same of @family's program, where nobody is to be told why not; NULL
 * then. The caller frees it. */
char *xtables_read(sa_family_t family, const char *table);

/* Is the rule in the nat table's PREROUTING? 1, 0, or negative errno. */
int xtables_has(struct xtables *xtables, const struct rulespec *rule);
/*
 * Packets that rules of the nat table's PREROUTING have redirected to @port.
 * 0 or negative errno.
 */
int xtables_count_redirected(struct xtables *xtables, uint16_t port,
			     uint64_t *packets);
/* At the end of PREROUTING, or as its @first rule. */
int xtables_add(struct xtables *xtables, const struct rulespec *rule,
		bool first);

/*
 * Delete the rule as often as it is there; -EBUSY if it is there again each
 * time. Returns 0 also if it never was.
 */
int xtables_delete_all(struct xtables *xtables, const struct rulespec *rule);

#endif
