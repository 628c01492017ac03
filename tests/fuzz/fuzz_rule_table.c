// SPDX-License-Identifier: MIT
/*
 * What reads the rules of other programs, on any text: it comes to an end, and
 * the rule that it names is one of the text's lines.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "redirect/rules/nat_rules.h"
#include "redirect/rules/rule_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

static void ask(const char *dump, const char *chain,
		const struct rule_question *question)
{
	const char *end = dump + strlen(dump);
	struct rule_answer answer;

	check(rule_table_ask(dump, chain, question, &answer) == 0);
	if (answer.verdict == RULE_PASS) {
		check(!answer.rule);
		return;
	}
	check(answer.rule >= dump && answer.rule < end);
	check(answer.rule == dump || answer.rule[-1] == '\n');
	check(answer.rule_length <= (size_t)(end - answer.rule));
	check(!memchr(answer.rule, '\n', answer.rule_length));
}

static void read_comments(const char *dump)
{
	const char *cursor = NULL;
	const char *last = NULL;
	char comment[16];

	while (rule_table_next_comment(dump, "PREROUTING", "a", &cursor,
				       comment, sizeof(comment)) > 0) {
		check(cursor > last);
		check(comment[0] == 'a');
		check(memchr(comment, '\0', sizeof(comment)));
		last = cursor;
	}
}

/* The first byte chooses the question, the others are the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct in6_addr addresses[] = {
		{ { { [10] = 0xff, 0xff, 192, 0, 2, 1 } } },
		{ { { [10] = 0xff, 0xff, 198, 51, 100, 1 } } },
		{ { { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } } },
	};
	struct nat_targets targets = { .count = 0 };
	struct rule_question question = {
		.port = 443,
		.original_port = 443,
		.own_port = 21443,
		.addresses = addresses,
	};
	char rule[RULE_TEXT_SIZE];
	char *dump;

	if (size == 0)
		return 0;
	question.address_count = data[0] % 4;
	if (data[0] & 4)
		question.port = 21443;
	dump = malloc(size);
	check(dump);
	memcpy(dump, data + 1, size - 1);
	dump[size - 1] = '\0';

	ask(dump, "PREROUTING", &question);
	ask(dump, "INPUT", &question);
	read_comments(dump);
	check(nft_targets_read(dump, &question, &targets) == 0);
	check(memchr(targets.rule, '\0', sizeof(targets.rule)));
	nft_drops_redirected(dump, 443, 21443, rule);
	nft_untracks(dump, 443, rule);
	free(dump);
	return 0;
}
