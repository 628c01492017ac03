// SPDX-License-Identifier: MIT
/*
 * A rule either applies to the connection asked about, or not, or, by a match
 * that is not understood or depends on the client, perhaps. A verdict is that
 * of the first rule that decides:
 *
 *   ACCEPT, DROP, RETURN   only where the rule applies for certain
 *   DNAT, REDIRECT, NETMAP also where it may: some visitors are taken away
 *
 * Which visitors those are is told as far as this: all, but for an interface
 * that a container engine leaves out, its own bridge; or some.
 */
#include "redirect/rules/rule_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "redirect/rules/rulespec.h"

/* In this order, so that the weakest of a rule's matches is the least. */
enum certainty {
	NEVER,
	PERHAPS,
	ALWAYS,
	NOT_UNDERSTOOD,
};

/* What keeps a rule from being for all visitors. */
enum limit {
	LIMIT_TO_INTERFACE = 1,
	LIMIT_TO_OTHER_INTERFACES = 2,
	LIMIT_TO_SOME = 4,
};

/* A line of the dump, as far as the question needs it. */
struct rule {
	enum certainty certainty;
	/* Of enum limit, those of the jumps to it included. */
	unsigned int limits;
	/* NULL for a rule that only counts. Points into the words. */
	const char *target;
	bool go_to;
	/* REDIRECT --to-ports, or 0. */
	unsigned long to_port;
	/* DNAT --to-destination, or NULL. */
	const char *to_destination;
	/* CT --notrack, or NOTRACK. */
	bool untracks;
	/* It has a --dport. */
	bool has_ports;
};

/* A chain that was walked, known by its first line in the dump. */
struct visit {
	const char *first_line;
	enum certainty certainty;
};

struct walk {
	const char *dump;
	const struct rule_question *question;
	struct rule_answer *answer;
	/* NULL, or where all rules that may apply lead to. */
	struct nat_targets *targets;
	struct visit *visits;
	size_t visit_count;
};

static enum certainty always_if(bool condition)
{
	return condition ? ALWAYS : NEVER;
}

/* Is @item one of those that @separator parts @list into? */
static bool is_among(const char *list, char separator, const char *item)
{
	const char separators[] = { separator, '\0' };
	const size_t length = strlen(item);

	for (;;) {
		size_t next = strcspn(list, separators);

		if (next == length && strncmp(list, item, length) == 0)
			return true;
		if (!list[next])
			return false;
		list += next + 1;
	}
}

static bool list_has(const char *list, const char *item)
{
	return is_among(list, ',', item);
}

/* "-p|--protocol" */
static bool is_any(const char *word, const char *alternatives)
{
	return is_among(alternatives, '|', word);
}

/* "443", "400:500", "80,443,8000:8100" */
static enum certainty match_ports(const char *list, uint16_t port)
{
	for (;;) {
		char *end;
		unsigned long first = strtoul(list, &end, 10);
		unsigned long last = first;

		if (*end == ':')
			last = strtoul(end + 1, &end, 10);
		if (port >= first && port <= last)
			return ALWAYS;
		if (*end != ',')
			return NEVER;
		list = end + 1;
	}
}

/* "192.0.2.1/32", "2001:db8::/32": how many of our addresses of the same family
 * are in it? */
static enum certainty match_destination(const char *value,
					const struct rule_question *question)
{
	const char *slash = strchrnul(value, '/');
	struct in6_addr prefix;
	unsigned long bits = 128;
	char text[INET6_ADDRSTRLEN];
	size_t hits = 0, misses = 0;
	char *end;

	snprintf(text, sizeof(text), "%.*s", (int)(slash - value), value);
	if (!address_parse(text, &prefix))
		return PERHAPS;
	if (*slash) {
		bits = strtoul(slash + 1, &end, 10);
		bits += IN6_IS_ADDR_V4MAPPED(&prefix) ? 96 : 0;
		/* A mask that is no prefix is rare and hard. */
		if (*end || bits > 128)
			return PERHAPS;
	}
	for (size_t i = 0; i < question->address_count; i++) {
		const struct in6_addr *address = &question->addresses[i];

		if (address_begins_with(address, &prefix, (unsigned int)bits))
			hits++;
		else
			misses += IN6_IS_ADDR_V4MAPPED(address) ==
				  IN6_IS_ADDR_V4MAPPED(&prefix);
	}
	if (hits == 0)
		return NEVER;
	return misses == 0 ? ALWAYS : PERHAPS;
}

/* Matches with one value. A module's name (-m) alone restricts nothing. */
static enum certainty match(const char *option, const char *value,
			    const struct rule_question *question)
{
	const bool redirected = question->port != question->original_port;

	if (is_any(option, "-m|--comment"))
		return ALWAYS;
	if (is_any(option, "-p"))
		return always_if(is_any(value, "tcp|6|all"));
	if (is_any(option, "-d"))
		return match_destination(value, question);
	if (is_any(option, "--dport|--dports"))
		return match_ports(value, question->port);
	if (is_any(option, "--ctorigdstport"))
		return match_ports(value, question->original_port);
	if (is_any(option, "--ctstate|--state"))
		return always_if(list_has(value, "NEW") ||
				 (redirected && list_has(value, "DNAT")));
	if (is_any(option, "--dst-type"))
		return always_if(list_has(value, "LOCAL"));
	/* Visitors do not come in over loopback, and not from this host; the
	 * few from the same link are not told from others. */
	if (is_any(option, "--src-type"))
		return list_has(value, "LOCAL") ? NEVER : PERHAPS;
	if (is_any(option, "-i"))
		return is_any(value, "lo") ? NEVER : PERHAPS;
	if (is_any(option, "-s"))
		return is_any(value, "fe80::/10") ? NEVER : PERHAPS;
	return NOT_UNDERSTOOD;
}

/* Of a connection's first packet only SYN is set. */
static enum certainty match_flags(const char *mask, const char *set)
{
	bool asks_syn = list_has(mask, "SYN") || list_has(mask, "ALL");

	return always_if(strcmp(set, asks_syn ? "SYN" : "NONE") == 0);
}

/*
 * Judge the option at @words and step to the last word that belongs to it. Of
 * one that is not understood it is not known whether a value follows.
 */
static enum certainty match_option(char *const **words,
				   const struct rule_question *question)
{
	const char *option = (*words)[0];
	const char *value = (*words)[1];
	enum certainty certainty;

	if (!value)
		return PERHAPS;
	if (strcmp(option, "--tcp-flags") == 0 && (*words)[2]) {
		*words += 2;
		return match_flags(value, **words);
	}
	certainty = match(option, value, question);
	if (certainty == NOT_UNDERSTOOD)
		return PERHAPS;
	*words += 1;
	return certainty;
}

/* An address may be the only one now, and not for long. */
static unsigned int limit_by(const char *option, bool negated,
			     enum certainty certainty)
{
	const bool address = !negated && is_any(option, "-d");

	if (certainty != PERHAPS && !address)
		return 0;
	if (!is_any(option, "-i"))
		return LIMIT_TO_SOME;
	return negated ? LIMIT_TO_OTHER_INTERFACES : LIMIT_TO_INTERFACE;
}

/* Where the packet goes: "-j TARGET [--to-ports PORT] ..." */
static void read_target(char *const *words, struct rule *rule)
{
	if (!words[1])
		return;
	rule->target = words[1];
	rule->go_to = strcmp(words[0], "-g") == 0;
	rule->untracks = is_any(words[1], "NOTRACK");
	for (words += 2; words[0]; words++) {
		rule->untracks |= is_any(words[0], "--notrack");
		if (!words[1])
			break;
		if (strcmp(words[0], "--to-ports") == 0)
			rule->to_port = strtoul(words[1], NULL, 10);
		if (strcmp(words[0], "--to-destination") == 0)
			rule->to_destination = words[1];
	}
}

/* @words begin behind "-A CHAIN". */
static struct rule read_rule(char *const *words,
			     const struct rule_question *question)
{
	struct rule rule = { .certainty = ALWAYS };
	bool negated = false;

	for (; words[0]; words++) {
		const char *option = words[0];
		enum certainty certainty;

		if (strcmp(words[0], "!") == 0) {
			negated = true;
			continue;
		}
		if (is_any(words[0], "-j|-g")) {
			read_target(words, &rule);
			break;
		}
		/* A value of an option that is not understood. */
		if (words[0][0] != '-')
			continue;

		rule.has_ports |= is_any(words[0], "--dport|--dports");
		certainty = match_option(&words, question);
		if (negated)
			certainty = (enum certainty)(ALWAYS - certainty);
		if (certainty < rule.certainty)
			rule.certainty = certainty;
		rule.limits |= limit_by(option, negated, certainty);
		negated = false;
	}
	return rule;
}

static size_t line_length(const char *line)
{
	return strcspn(line, "\n");
}

static const char *next_line(const char *line)
{
	line += line_length(line);
	return *line ? line + 1 : line;
}

/* The first line from @line on that is "@action @chain ...", or NULL. */
static const char *find_line(const char *line, const char *action,
			     const char *chain)
{
	const size_t length = strlen(chain);

	for (; *line; line = next_line(line)) {
		if (strncmp(line, action, 2) == 0 && line[2] == ' ' &&
		    strncmp(line + 3, chain, length) == 0 &&
		    line[3 + length] == ' ')
			return line;
	}
	return NULL;
}

/* The first that appends a rule. */
static const char *find_rule(const char *line, const char *chain)
{
	return find_line(line, "-A", chain);
}

/*
 * Note that the chain is being walked. A chain that was walked with the same
 * certainty has nothing new to say, which also ends loops. Returns 1 if it is
 * worth a walk, 0 or negative errno.
 */
static int visit(struct walk *walk, const char *first_line,
		 enum certainty certainty)
{
	struct visit *visits;

	for (size_t i = 0; i < walk->visit_count; i++) {
		visits = &walk->visits[i];
		if (visits->first_line != first_line)
			continue;
		if (visits->certainty >= certainty)
			return 0;
		visits->certainty = certainty;
		return 1;
	}
	visits = reallocarray(walk->visits, walk->visit_count + 1,
			      sizeof(*visits));
	if (!visits)
		return -ENOMEM;
	walk->visits = visits;
	visits[walk->visit_count++] = (struct visit){ first_line, certainty };
	return 1;
}

static int decide(struct walk *walk, enum rule_verdict verdict,
		  const char *line)
{
	*walk->answer = (struct rule_answer){
		.verdict = verdict,
		.rule = line,
		.rule_length = line_length(line),
	};
	return 1;
}

static int walk_chain(struct walk *walk, const char *chain,
		      const struct rule *jump);

/* What a walk does after a rule; positive values, as errors are negative. */
enum step {
	STEP_NEXT_RULE,
	STEP_DECIDED,
	STEP_LEAVE_CHAIN,
};

static void add_target(const struct walk *walk, const struct rule *rule)
{
	const uint16_t port = walk->question->port;
	struct nat_target target = {
		.port = rule->to_port ? (uint16_t)rule->to_port : port,
	};

	if (is_any(rule->target, "REDIRECT") ||
	    (rule->to_destination &&
	     nat_target_parse(rule->to_destination, port, &target)))
		nat_targets_add(walk->targets, &target);
}

/* Is a rule that leads elsewhere, or one that keeps visitors from such a rule
 * (@spares), for some visitors alone? */
static void note_limits(const struct walk *walk, const struct rule *rule,
			bool spares)
{
	const unsigned int harmless = spares ? LIMIT_TO_INTERFACE
					     : LIMIT_TO_OTHER_INTERFACES;

	if (walk->targets && !(spares && *walk->targets->rule))
		walk->targets->for_some |= (rule->limits & ~harmless) != 0;
}

/* Another target may follow where this one does not always apply. */
static int translate(struct walk *walk, const struct rule *rule,
		     const char *line)
{
	if (walk->targets) {
		note_limits(walk, rule, false);
		nat_targets_note(walk->targets, line);
		add_target(walk, rule);
	}
	return walk->targets && rule->certainty != ALWAYS
		       ? STEP_NEXT_RULE
		       : decide(walk, RULE_TRANSLATE, line);
}

/* Returns an enum step or negative errno. */
static int follow_rule(struct walk *walk, const struct rule *rule,
		       const char *line)
{
	const bool certain = rule->certainty == ALWAYS;
	const bool ours = rule->target && is_any(rule->target, "REDIRECT") &&
			  rule->to_port == walk->question->own_port;
	int result;

	if (rule->certainty == NEVER || !rule->target)
		return STEP_NEXT_RULE;
	if (is_any(rule->target, "REDIRECT|DNAT|NETMAP") && !ours)
		return translate(walk, rule, line);
	if (rule->untracks && (certain || rule->has_ports))
		return decide(walk, RULE_UNTRACK, line);
	if (is_any(rule->target, "RETURN|ACCEPT"))
		note_limits(walk, rule, true);
	if (is_any(rule->target, "RETURN"))
		return certain ? STEP_LEAVE_CHAIN : STEP_NEXT_RULE;
	if (is_any(rule->target, "ACCEPT"))
		return certain ? decide(walk, RULE_ACCEPT, line)
			       : STEP_NEXT_RULE;
	if (is_any(rule->target, "DROP|REJECT"))
		return certain ? decide(walk, RULE_DROP, line) : STEP_NEXT_RULE;

	/* A chain of the user's, or a target that lets the packet go on. */
	result = walk_chain(walk, rule->target, rule);
	if (result)
		return result;
	return rule->go_to && certain ? STEP_LEAVE_CHAIN : STEP_NEXT_RULE;
}

/* Returns STEP_DECIDED, 0 if no rule decided, or negative errno. */
static int walk_chain(struct walk *walk, const char *chain,
		      const struct rule *jump)
{
	const char *line = find_rule(walk->dump, chain);
	int result = line ? visit(walk, line, jump->certainty) : 0;

	if (result <= 0)
		return result;

	for (; line; line = find_rule(next_line(line), chain)) {
		struct rulespec words;
		struct rule rule;

		result = rulespec_split(line, line_length(line), &words);
		if (result == -EINVAL)
			continue;
		if (result)
			return result;
		rule = read_rule(words.words + 2, walk->question);
		if (rule.certainty > jump->certainty)
			rule.certainty = jump->certainty;
		rule.limits |= jump->limits;
		result = follow_rule(walk, &rule, line);
		rulespec_free(&words);
		if (result == STEP_LEAVE_CHAIN)
			return 0;
		if (result != STEP_NEXT_RULE)
			return result;
	}
	return 0;
}

/* "-P INPUT DROP" */
static void apply_policy(struct walk *walk, const char *chain)
{
	const char *line = find_line(walk->dump, "-P", chain);

	if (line && strncmp(line + 3 + strlen(chain), " DROP", 5) == 0)
		decide(walk, RULE_DROP, line);
}

/* As if a rule led to the base chain. */
static const struct rule everything = { .certainty = ALWAYS };

int rule_table_ask(const char *dump, const char *chain,
		   const struct rule_question *question,
		   struct rule_answer *answer)
{
	struct walk walk = {
		.dump = dump,
		.question = question,
		.answer = answer,
	};
	int result;

	*answer = (struct rule_answer){ .verdict = RULE_PASS };
	result = walk_chain(&walk, chain, &everything);
	if (result == 0)
		apply_policy(&walk, chain);
	free(walk.visits);
	return result < 0 ? result : 0;
}

int rule_table_targets(const char *dump, const char *chain,
		       const struct rule_question *question,
		       struct nat_targets *targets)
{
	struct rule_answer unused;
	struct walk walk = {
		.dump = dump,
		.question = question,
		.answer = &unused,
		.targets = targets,
	};
	int result = walk_chain(&walk, chain, &everything);

	free(walk.visits);
	return result < 0 ? result : 0;
}

int rule_table_next_comment(const char *dump, const char *chain,
			    const char *prefix, const char **cursor,
			    char *comment, size_t size)
{
	const char *line = *cursor ? next_line(*cursor) : dump;
	size_t length = strlen(prefix);

	while ((line = find_rule(line, chain))) {
		struct rulespec rule;
		int err = rulespec_split(line, line_length(line), &rule);
		bool found = false;

		if (err == -ENOMEM)
			return err;
		for (size_t i = 0; !err && i + 1 < rule.count; i++) {
			if (strcmp(rule.words[i], "--comment") == 0 &&
			    strncmp(rule.words[i + 1], prefix, length) == 0) {
				snprintf(comment, size, "%s",
					 rule.words[i + 1]);
				found = true;
			}
		}
		if (!err)
			rulespec_free(&rule);
		*cursor = line;
		if (found)
			return 1;
		line = next_line(line);
	}
	return 0;
}
