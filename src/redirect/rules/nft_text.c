// SPDX-License-Identifier: MIT
#include "redirect/rules/nft_text.h"

#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_WORD 64
/* A bit of conntrack's states, in nft's numbers. */
#define CT_STATE_NEW 8

/* The next word of @text, and behind it; commas and brackets part words. */
static const char *next_word(const char *text, char word[static LONGEST_WORD])
{
	static const char separators[] = " \t,{}\"";
	size_t length;

	text += strspn(text, separators);
	length = strcspn(text, separators);
	snprintf(word, LONGEST_WORD, "%.*s", (int)length, text);
	return text + length;
}

/* "443", or a range: "400:500" (iptables), "400-500" (nft). */
static bool word_covers(const char *word, uint16_t port)
{
	char *end;
	unsigned long first = strtoul(word, &end, 10);
	unsigned long last = first;

	if (end == word)
		return false;
	if (*end == ':' || *end == '-')
		last = strtoul(end + 1, &end, 10);
	return *end == '\0' && first <= port && port <= last;
}

static bool is(const char *word, const char *other)
{
	return strcasecmp(word, other) == 0;
}

/* What a line says, as far as it is asked here. */
struct line {
	bool untracks;
	bool accepts;
	/* What it does is told by another chain or map. */
	bool leads_on;
	/* It has ports, and that one is among them. */
	bool has_ports;
	bool covers_port;
	/* It is about loopback, other protocols, or connections known before. */
	bool not_for_new;
};

/* A list whose words stand behind the one that it begins with. */
enum list {
	NO_LIST,
	PORTS,
	PROTOCOLS,
	STATES,
};

static enum list list_behind(const char *word)
{
	if (is(word, "dport") || is(word, "--dport") || is(word, "--dports"))
		return PORTS;
	if (is(word, "l4proto") || is(word, "protocol") || is(word, "nexthdr"))
		return PROTOCOLS;
	return is(word, "state") ? STATES : NO_LIST;
}

static void read_word(struct line *line, const char *word, bool negated)
{
	line->untracks |= is(word, "notrack") || is(word, "--notrack");
	line->accepts |= is(word, "accept");
	line->leads_on |= is(word, "jump") || is(word, "goto") ||
			  is(word, "vmap");
	if (!negated)
		line->not_for_new |= is(word, "lo") || is(word, "udp") ||
				     is(word, "icmp") || is(word, "icmpv6");
}

/* @text with numbers for protocols and states, as `nft -n` writes them. */
static struct line read_line(const char *text, uint16_t port)
{
	struct line line = { .untracks = false };
	enum list list = NO_LIST;
	bool negated = false;
	/* A list of protocols or states without TCP, or new connections. */
	bool lacks_new = false;
	char word[LONGEST_WORD];

	while (text = next_word(text, word), *word) {
		const enum list begun = list_behind(word);

		if (begun != NO_LIST) {
			list = begun;
			line.has_ports |= list == PORTS;
			line.not_for_new |= lacks_new;
			lacks_new = list != PORTS;
			negated = false;
		} else if (is(word, "!=")) {
			negated = true;
			lacks_new = false;
		} else if (list == NO_LIST) {
			read_word(&line, word, negated);
			negated = false;
		} else if (is(word, "map") || is(word, "vmap")) {
			/* "map { 443 : 10.0.0.2, 444 : 10.0.0.3 }" */
			line.leads_on |= is(word, "vmap") && list == PORTS;
		} else if (is(word, ":")) {
			text = next_word(text, word);
		} else if (word[0] == '@') {
			/* What is in it is told elsewhere: perhaps ours. */
			line.covers_port |= list == PORTS;
			lacks_new = false;
		} else if (!isdigit((unsigned char)word[0])) {
			list = NO_LIST;
			read_word(&line, word, false);
		} else if (list == PORTS) {
			line.covers_port |= word_covers(word, port) != negated;
		} else if (list == PROTOCOLS) {
			lacks_new &= strtoul(word, NULL, 10) != IPPROTO_TCP;
		} else if (strtoul(word, NULL, 0) & CT_STATE_NEW) {
			lacks_new = false;
		}
	}
	line.not_for_new |= lacks_new;
	return line;
}

static bool untracks(const char *text, uint16_t port)
{
	const struct line line = read_line(text, port);

	return line.untracks && line.covers_port && !line.not_for_new;
}

bool nft_text_find_untracking(char *ruleset, uint16_t port,
			      char rule[static RULE_TEXT_SIZE])
{
	char *rest = ruleset;
	char *line;

	while ((line = strsep(&rest, "\n"))) {
		if (untracks(line, port)) {
			line += strspn(line, " \t");
			snprintf(rule, RULE_TEXT_SIZE, "%s", line);
			return true;
		}
	}
	return false;
}

/* A chain that is being read. */
struct chain {
	bool drops_input;
	/* By a rule for it, whose text is kept. */
	bool accepts_port;
	bool may_accept_redirected;
};

static void read_rule(struct chain *chain, const char *text, uint16_t port,
		      uint16_t redirected_port,
		      char rule[static RULE_TEXT_SIZE])
{
	const struct line line = read_line(text, port);
	const struct line redirected = read_line(text, redirected_port);

	if (line.not_for_new || !(line.accepts || line.leads_on))
		return;
	if (line.leads_on || !line.has_ports || redirected.covers_port) {
		chain->may_accept_redirected = true;
	} else if (line.covers_port) {
		chain->accepts_port = true;
		snprintf(rule, RULE_TEXT_SIZE, "%s", text);
	}
}

bool nft_text_drops_redirected(char *ruleset, uint16_t port,
			       uint16_t redirected_port,
			       char rule[static RULE_TEXT_SIZE])
{
	struct chain chain = { .drops_input = false };
	char *rest = ruleset;
	char *line;

	while ((line = strsep(&rest, "\n"))) {
		char *comment = strstr(line, " comment \"");

		if (comment)
			*comment = '\0';
		line += strspn(line, " \t");
		if (strncmp(line, "chain ", 6) == 0)
			chain = (struct chain){ .drops_input = false };
		else if (strstr(line, "type filter hook input "))
			chain.drops_input = strstr(line, "policy drop");
		else if (*line != '}')
			read_rule(&chain, line, port, redirected_port, rule);
		else if (chain.drops_input && chain.accepts_port &&
			 !chain.may_accept_redirected)
			return true;
	}
	return false;
}
