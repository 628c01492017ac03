// SPDX-License-Identifier: MIT
/*
 * A ruleset is words, brackets, commas, colons and line ends. Each chain is
 * walked once, rule by rule: a rule applies unless one of its matches is seen
 * to be for other ports, addresses or protocols.
 */
#include "redirect/rules/nat_rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"

#define LONGEST_WORD 128
/* Jumps from chain to chain. */
#define DEEPEST 16
/* As `nft -n` writes it, but for "udp dport". */
#define UDP "17"
/* A bit of conntrack's states, in nft's numbers. */
#define CT_STATE_NEW 8

struct token {
	const char *text;
	size_t length;
};

/* "chain NAME { ... }" or "map NAME { ... }", from the first token in it to the
 * bracket that ends it. */
struct block {
	const struct token *name;
	size_t first, end;
	/* Of the table: names are its own. */
	size_t table;
	bool walked;
};

struct ruleset {
	const char *text;
	struct token *tokens;
	size_t count;
	struct block *blocks;
	size_t block_count;
	const struct rule_question *question;
	struct nat_targets *targets;
};

/* Quotes are left out, and so is what says the same twice: blanks, the
 * semicolons of a base chain. */
static const char *next_token(const char *text, struct token *token)
{
	text += strspn(text, " \t;\r");
	token->text = text;
	if (*text == '"') {
		token->text++;
		token->length = strcspn(text + 1, "\"\n");
		return text + 1 + token->length +
		       (text[1 + token->length] == '"');
	}
	token->length = strspn(text, "{},\n") ? 1
					      : strcspn(text, " \t;\r{},\n\"");
	return text + token->length;
}

static bool is(const struct token *token, const char *word)
{
	return token->length == strlen(word) &&
	       strncmp(token->text, word, token->length) == 0;
}

/* The token as a string; cut if it is none that we understand. */
static const char *word_of(const struct token *token,
			   char word[static LONGEST_WORD])
{
	snprintf(word, LONGEST_WORD, "%.*s", (int)token->length, token->text);
	return word;
}

static int split(struct ruleset *self, const char *text)
{
	size_t room = 0;
	struct token token;

	do {
		text = next_token(text, &token);
		if (self->count == room) {
			struct token *grown;

			room = room ? 2 * room : 256;
			grown = reallocarray(self->tokens, room,
					     sizeof(*grown));
			if (!grown)
				return -ENOMEM;
			self->tokens = grown;
		}
		self->tokens[self->count++] = token;
	} while (token.length || *text);
	/* The last one is empty: to be seen, not counted. */
	self->count--;
	return 0;
}

/* Behind the bracket that belongs to the one before @at. */
static size_t end_of_brackets(const struct ruleset *self, size_t at)
{
	for (int depth = 1; at < self->count; at++) {
		depth += is(&self->tokens[at], "{");
		depth -= is(&self->tokens[at], "}");
		if (depth == 0)
			break;
	}
	return at;
}

static int find_blocks(struct ruleset *self)
{
	const struct token *tokens = self->tokens;
	size_t table = 0;

	for (size_t i = 0; i + 2 < self->count; i++) {
		struct block *grown;

		if (is(&tokens[i], "table"))
			table = i;
		if (!(is(&tokens[i], "chain") || is(&tokens[i], "map")) ||
		    !is(&tokens[i + 2], "{"))
			continue;
		grown = reallocarray(self->blocks, self->block_count + 1,
				     sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		self->blocks = grown;
		grown[self->block_count++] = (struct block){
			.name = &tokens[i + 1],
			.first = i + 3,
			.end = end_of_brackets(self, i + 3),
			.table = table,
		};
	}
	return 0;
}

static struct block *find_block(const struct ruleset *self, size_t table,
				const struct token *name, bool set)
{
	for (size_t i = 0; i < self->block_count; i++) {
		struct block *block = &self->blocks[i];

		if (block->table == table &&
		    name->length == block->name->length + set &&
		    memcmp(name->text + set, block->name->text,
			   block->name->length) == 0)
			return block;
	}
	return NULL;
}

/* Not a prefix or a range, which are taken to fit. */
static bool is_other_address(const struct ruleset *self,
			     const struct token *token)
{
	const struct rule_question *question = self->question;
	char word[LONGEST_WORD];
	struct in6_addr address;

	return address_parse(word_of(token, word), &address) &&
	       !IN6_IS_ADDR_UNSPECIFIED(&address) &&
	       !address_is_among(&address, question->addresses,
				 question->address_count);
}

/* "443", "400-500"; what is no number is no port. */
static bool covers(const struct token *token, uint16_t port)
{
	char word[LONGEST_WORD];
	char *end;
	const unsigned long first = strtoul(word_of(token, word), &end, 10);
	const unsigned long last = *end == '-' ? strtoul(end + 1, NULL, 10)
					       : first;

	return end != word && (*end == '\0' || *end == '-') && port >= first &&
	       port <= last;
}

/* A value, a list of them or the name of a set from @at on; the last token of
 * it. A set is taken to hold it. */
static size_t find_values(const struct ruleset *self, size_t at, size_t *end)
{
	if (is(&self->tokens[at], "{")) {
		*end = end_of_brackets(self, at + 1);
		return at + 1;
	}
	/* "0x2,0x8" */
	*end = at + 1;
	while (*end + 1 < self->count && is(&self->tokens[*end], ","))
		*end += 2;
	return at;
}

/* Ports from @at on: is @port among them? */
static bool lists_port(const struct ruleset *self, size_t at, uint16_t port)
{
	const bool negated = at + 1 < self->count &&
			     is(&self->tokens[at], "!=");
	bool listed = false;
	size_t end;

	for (at = find_values(self, at + negated, &end); at < end; at++)
		listed |= self->tokens[at].text[0] == '@' ||
			  covers(&self->tokens[at], port);
	return listed != negated;
}

/* Destinations from @at on: may one be ours? */
static bool lists_address(const struct ruleset *self, size_t at)
{
	bool listed = false;
	size_t end;

	if (is(&self->tokens[at], "!="))
		return true;
	for (at = find_values(self, at, &end); at < end; at++)
		listed |= !is(&self->tokens[at], ",") &&
			  !is_other_address(self, &self->tokens[at]);
	return listed;
}

/* Do the words from @at on lead to a map, whose key is what stands there? */
static bool is_key(const struct ruleset *self, size_t at)
{
	return is(&self->tokens[at], ".") || is(&self->tokens[at], "map") ||
	       is(&self->tokens[at], "vmap");
}

/* A rule, or the part of it that is not read yet. */
struct rule_tokens {
	size_t at, end;
	size_t table;
	/* Its dnat or redirect, if that was read; keys of its map have a
	 * port. */
	const struct token *translation;
	bool port_keys;
};

/* The key from @at to the colon that ends it, which is returned; @end if there
 * is none. */
static size_t read_key(const struct ruleset *self, size_t at, size_t end,
		       bool port_keys, bool *fits)
{
	bool port = false, other = false;

	for (; at < end && !is(&self->tokens[at], ":"); at++) {
		port |= covers(&self->tokens[at], self->question->port);
		other |= is_other_address(self, &self->tokens[at]) ||
			 is(&self->tokens[at], UDP);
	}
	*fits = !other && (port || !port_keys);
	return at;
}

/* The line that the rule's translation is in. */
static void note(const struct ruleset *self, const struct rule_tokens *rule)
{
	const char *line = rule->translation->text;

	while (line > self->text && line[-1] != '\n')
		line--;
	nat_targets_note(self->targets, line);
}

static void add_target(const struct ruleset *self,
		       const struct rule_tokens *rule, size_t at, size_t end)
{
	const struct token *tokens = self->tokens;
	char word[LONGEST_WORD];
	struct nat_target target;

	if (at >= end || !rule->translation)
		return;
	if (!nat_target_parse(word_of(&tokens[at], word), self->question->port,
			      &target)) {
		note(self, rule);
		return;
	}
	/* "10.88.0.2 . 443" */
	if (at + 2 < end && is(&tokens[at + 1], "."))
		target.port = (uint16_t)strtoul(word_of(&tokens[at + 2], word),
						NULL, 10);
	if (IN6_IS_ADDR_UNSPECIFIED(&target.address) &&
	    target.port == self->question->own_port)
		return;
	note(self, rule);
	nat_targets_add(self->targets, &target);
}

static int walk_chain(struct ruleset *self, struct block *block, int depth);

static int follow(struct ruleset *self, size_t table, size_t at, int depth)
{
	struct block *chain = find_block(self, table, &self->tokens[at], false);

	return chain ? walk_chain(self, chain, depth + 1) : 0;
}

/* The elements "KEY : VALUE, ..." from @at to @end. */
static int read_elements(struct ruleset *self, const struct rule_tokens *rule,
			 size_t at, size_t end, int depth)
{
	const struct token *tokens = self->tokens;
	int err = 0;

	while (at < end && !err) {
		bool fits;
		size_t last;

		at = read_key(self, at, end, rule->port_keys, &fits) + 1;
		for (last = at; last < end && !is(&tokens[last], ",");)
			last++;
		if (fits && at + 1 < last &&
		    (is(&tokens[at], "goto") || is(&tokens[at], "jump")))
			err = follow(self, rule->table, at + 1, depth);
		else if (fits)
			add_target(self, rule, at, last);
		at = last + 1;
	}
	return err;
}

/* A map from @at on: "{ ... }" or "@name". */
static int read_map(struct ruleset *self, const struct rule_tokens *rule,
		    size_t at, int depth)
{
	const struct block *map;

	if (is(&self->tokens[at], "{"))
		return read_elements(self, rule, at + 1,
				     end_of_brackets(self, at + 1), depth);
	map = find_block(self, rule->table, &self->tokens[at], true);
	for (at = map ? map->first : 0; map && at + 2 < map->end; at++) {
		if (is(&self->tokens[at], "elements"))
			return read_elements(self, rule, at + 3,
					     end_of_brackets(self, at + 3),
					     depth);
	}
	return 0;
}

/* Behind "dnat" or "redirect". */
static int read_translation(struct ruleset *self, struct rule_tokens *rule,
			    int depth)
{
	const struct token *tokens = self->tokens;
	const struct nat_target here = { .port = self->question->port };
	size_t named = 0;

	rule->translation = &tokens[rule->at];
	for (size_t at = rule->at; at < rule->end; at++) {
		rule->port_keys |= is(&tokens[at], "dport");
		if (is(&tokens[at], "map"))
			return read_map(self, rule, at + 1, depth);
		if (!named && is(&tokens[at], "to"))
			named = at + 1;
	}
	if (named) {
		add_target(self, rule, named, rule->end);
	} else {
		note(self, rule);
		nat_targets_add(self->targets, &here);
	}
	return 0;
}

/* Is a match of the rule, at rule->at, for others? */
static bool rules_out(const struct ruleset *self, struct rule_tokens *rule)
{
	const struct token *tokens = self->tokens;
	const size_t at = rule->at;

	/* What iptables alone can list. */
	if (is(&tokens[at], "xt"))
		return true;
	if (at + 1 >= rule->end)
		return false;
	if (is(&tokens[at], "dport") && is_key(self, at + 1))
		rule->port_keys = true;
	else if (is(&tokens[at], "dport"))
		return !lists_port(self, at + 1, self->question->port);
	else if (is(&tokens[at], "daddr") && !is_key(self, at + 1))
		return !lists_address(self, at + 1);
	else if (is(&tokens[at], "iif") || is(&tokens[at], "iifname"))
		return is(&tokens[at + 1], "lo");
	return is(&tokens[at], "udp") ||
	       (is(&tokens[at], "l4proto") && is(&tokens[at + 1], UDP));
}

static int walk_rule(struct ruleset *self, struct rule_tokens rule, int depth)
{
	const struct token *tokens = self->tokens;

	for (; rule.at < rule.end; rule.at++) {
		if (is(&tokens[rule.at], "comment") || rules_out(self, &rule))
			return 0;
		if (is(&tokens[rule.at], "dnat") ||
		    is(&tokens[rule.at], "redirect"))
			return read_translation(self, &rule, depth);
		if (rule.at + 1 >= rule.end)
			return 0;
		if (is(&tokens[rule.at], "vmap"))
			return read_map(self, &rule, rule.at + 1, depth);
		if (is(&tokens[rule.at], "jump") ||
		    is(&tokens[rule.at], "goto"))
			return follow(self, rule.table, rule.at + 1, depth);
	}
	return 0;
}

/* The end of the line that begins at @at, brackets and all. */
static size_t end_of_line(const struct ruleset *self, size_t at, size_t end)
{
	int depth = 0;

	for (; at < end; at++) {
		depth += is(&self->tokens[at], "{");
		depth -= is(&self->tokens[at], "}");
		if (depth == 0 && is(&self->tokens[at], "\n"))
			break;
	}
	return at;
}

static int walk_chain(struct ruleset *self, struct block *block, int depth)
{
	int err = 0;

	if (block->walked || depth > DEEPEST)
		return 0;
	block->walked = true;
	for (size_t at = block->first; at < block->end && !err;) {
		const size_t end = end_of_line(self, at, block->end);

		err = walk_rule(self,
				(struct rule_tokens){ .at = at,
						      .end = end,
						      .table = block->table },
				depth);
		at = end + 1;
	}
	return err;
}

/* "type nat hook prerouting priority ..." */
static bool is_base(const struct ruleset *self, const struct block *block,
		    const char *type, const char *hook)
{
	for (size_t at = block->first; at + 3 < block->end; at++) {
		if (is(&self->tokens[at], "type"))
			return is(&self->tokens[at + 1], type) &&
			       is(&self->tokens[at + 3], hook);
	}
	return false;
}

static int open_ruleset(struct ruleset *self, const char *text)
{
	int err;

	self->text = text;
	err = split(self, text);
	return err ? err : find_blocks(self);
}

static void close_ruleset(struct ruleset *self)
{
	free(self->tokens);
	free(self->blocks);
}

int nft_targets_read(const char *text, const struct rule_question *question,
		     struct nat_targets *targets)
{
	struct ruleset self = { .question = question, .targets = targets };
	int err = open_ruleset(&self, text);

	for (size_t i = 0; i < self.block_count && !err; i++) {
		if (is_base(&self, &self.blocks[i], "nat", "prerouting"))
			err = walk_chain(&self, &self.blocks[i], 0);
	}
	close_ruleset(&self);
	return err;
}

/* What a rule says of new TCP connections to a port. */
struct rule_words {
	bool accepts;
	bool untracks;
	/* What it does is told by another chain or map. */
	bool leads_on;
	/* It has ports, and that one is among them. */
	bool has_ports;
	bool covers_port;
	/* It is about loopback, other protocols, or connections known before. */
	bool not_for_new;
};

/* Is a number that @fits among those from @at on? A set is taken to hold it. */
static bool lists(const struct ruleset *self, size_t at,
		  bool (*fits)(unsigned long number))
{
	char word[LONGEST_WORD];
	bool listed = is(&self->tokens[at], "!=");
	size_t end;

	at += is(&self->tokens[at], "vmap");
	for (at = find_values(self, at, &end); at < end; at++)
		listed |= self->tokens[at].text[0] == '@' ||
			  fits(strtoul(word_of(&self->tokens[at], word), NULL,
				       0));
	return listed;
}

static bool is_tcp(unsigned long protocol)
{
	return protocol == IPPROTO_TCP;
}

static bool is_new(unsigned long states)
{
	return states & CT_STATE_NEW;
}

static void read_match(const struct ruleset *self, size_t at, uint16_t port,
		       struct rule_words *words)
{
	const struct token *token = &self->tokens[at];

	if (is(token, "dport")) {
		words->has_ports = true;
		words->covers_port |= lists_port(self, at + 1, port);
	} else if (is(token, "l4proto") || is(token, "protocol") ||
		   is(token, "nexthdr")) {
		words->not_for_new |= !lists(self, at + 1, is_tcp);
	} else if (is(token, "state")) {
		words->not_for_new |= !lists(self, at + 1, is_new);
	} else if (is(token, "iif") || is(token, "iifname")) {
		words->not_for_new |= is(token + 1, "lo");
	}
}

/* The line from @at to @end. */
static struct rule_words read_words(const struct ruleset *self, size_t at,
				    size_t end, uint16_t port)
{
	struct rule_words words = { .accepts = false };

	for (; at < end && !is(&self->tokens[at], "comment"); at++) {
		const struct token *token = &self->tokens[at];

		words.accepts |= is(token, "accept");
		words.untracks |= is(token, "notrack");
		words.leads_on |= is(token, "jump") || is(token, "goto") ||
				  is(token, "vmap");
		words.not_for_new |= is(token, "udp") || is(token, "icmp") ||
				     is(token, "icmpv6");
		if (at + 1 < end)
			read_match(self, at, port, &words);
	}
	return words;
}

static void copy_line(const struct token *first,
		      char rule[static RULE_TEXT_SIZE])
{
	snprintf(rule, RULE_TEXT_SIZE, "%.*s", (int)strcspn(first->text, "\n"),
		 first->text);
}

bool nft_untracks(const char *text, uint16_t port,
		  char rule[static RULE_TEXT_SIZE])
{
	struct ruleset self = { .count = 0 };
	bool found = false;
	size_t end;

	if (split(&self, text))
		self.count = 0;
	for (size_t at = 0; at < self.count && !found; at = end + 1) {
		struct rule_words words;

		for (end = at;
		     end < self.count && !is(&self.tokens[end], "\n");)
			end++;
		words = read_words(&self, at, end, port);
		found = words.untracks && words.covers_port &&
			!words.not_for_new;
		if (found)
			copy_line(&self.tokens[at], rule);
	}
	close_ruleset(&self);
	return found;
}

static bool drops_redirected(const struct ruleset *self,
			     const struct block *block, uint16_t port,
			     uint16_t redirected_port,
			     char rule[static RULE_TEXT_SIZE])
{
	bool drops = false, accepts = false;
	size_t end;

	for (size_t at = block->first; at < block->end; at = end + 1) {
		struct rule_words words, redirected;

		end = end_of_line(self, at, block->end);
		words = read_words(self, at, end, port);
		redirected = read_words(self, at, end, redirected_port);
		for (size_t i = at; i + 1 < end; i++)
			drops |= is(&self->tokens[i], "policy") &&
				 is(&self->tokens[i + 1], "drop");
		if (words.not_for_new || !(words.accepts || words.leads_on))
			continue;
		if (words.leads_on || !words.has_ports ||
		    redirected.covers_port)
			return false;
		if (!words.covers_port)
			continue;
		accepts = true;
		copy_line(&self->tokens[at], rule);
	}
	return drops && accepts;
}

bool nft_drops_redirected(const char *text, uint16_t port,
			  uint16_t redirected_port,
			  char rule[static RULE_TEXT_SIZE])
{
	struct ruleset self = { .count = 0 };
	bool found = false;

	if (open_ruleset(&self, text))
		self.block_count = 0;
	for (size_t i = 0; i < self.block_count && !found; i++)
		found = is_base(&self, &self.blocks[i], "filter", "input") &&
			drops_redirected(&self, &self.blocks[i], port,
					 redirected_port, rule);
	close_ruleset(&self);
	return found;
}
