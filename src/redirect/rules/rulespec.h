/* SPDX-License-Identifier: MIT */
/*
 * Rule specifications: what follows "iptables -A CHAIN", as words.
 *
 * Pure: no I/O. Used for the rules we make and for those that iptables lists.
 */
#ifndef REDIRECT_RULES_RULESPEC_H
#define REDIRECT_RULES_RULESPEC_H

#include <stddef.h>
#include <stdint.h>

/* The comment by which an administrator recognises our rule. */
#define RULESPEC_COMMENT "acme-alpn-proxy"

struct rulespec {
	/* NULL-terminated; strings and array are one allocation. */
	char **words;
	size_t count;
};

/*
 * Split @length bytes of @text at white space. Quotes as in iptables-restore:
 * '...' is taken as it is, "..." with \ before a character that is meant
 * itself; \ works outside quotes too. Returns 0, -EINVAL (a quote is not
 * closed, or a \ ends the text), -ENOMEM. The caller frees with
 * rulespec_free().
 */
int rulespec_split(const char *text, size_t length, struct rulespec *rulespec);

/* Room for rulespec_default(). */
#define RULESPEC_DEFAULT_SIZE 256

/* The rule of our own: new connections to @service_port of this host go to
 * @listen_port. */
void rulespec_default(uint16_t service_port, uint16_t listen_port,
		      char text[static RULESPEC_DEFAULT_SIZE]);

/* Safe on a zeroed one and twice. */
void rulespec_free(struct rulespec *rulespec);

#endif
