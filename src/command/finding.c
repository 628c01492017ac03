// SPDX-License-Identifier: MIT
#include "command/finding.h"

#include <stdarg.h>
#include <stdio.h>

#include "command/print.h"

/* A message of the log is the longest. */
#define TEXT_SIZE 1024

static const struct {
	const char *name;
	const char *mark;
} verdicts[] = {
	[VERDICT_WELL] = { "well", "ok" },
	[VERDICT_UNKNOWN] = { "unknown", "?" },
	[VERDICT_WRONG] = { "wrong", "WRONG" },
};

static void print_member(const char *key, const char *text)
{
	printf("\"%s\":", key);
	if (text)
		print_quoted(text);
	else
		fputs("null", stdout);
	putchar(',');
}

static void print_json(const struct finding *finding, const char *text)
{
	putchar('{');
	print_member("verdict", verdicts[finding->verdict].name);
	print_member("topic", finding->topic);
	print_member("name", finding->name);
	print_member("address", finding->address);
	print_member("value", finding->value);
	fputs("\"text\":", stdout);
	print_quoted(text);
	putchar('}');
}

void findings_begin(struct findings *findings, bool json)
{
	*findings = (struct findings){ .json = json };
	if (json)
		fputs("{\"findings\":[", stdout);
}

static void print_heading(const struct findings *findings,
			  const struct finding *finding)
{
	if (findings->count && findings->name == finding->name)
		return;
	print_plain(finding->name ? finding->name : "this host");
	putchar('\n');
}

void findings_tell(struct findings *findings, const struct finding *finding,
		   const char *format, ...)
{
	char text[TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (findings->json) {
		if (findings->count)
			putchar(',');
		print_json(finding, text);
	} else {
		print_heading(findings, finding);
		printf("  %-5s  ", verdicts[finding->verdict].mark);
		if (finding->address)
			printf("%s: ", finding->address);
		print_plain(text);
		putchar('\n');
	}
	fflush(stdout);
	findings->count++;
	findings->name = finding->name;
	findings->wrong |= finding->verdict == VERDICT_WRONG;
}

void findings_end(const struct findings *findings, const char *unknown)
{
	if (!findings->json) {
		printf("not to be known from here: %s\n", unknown);
		return;
	}
	fputs("],", stdout);
	print_member("unknown", unknown);
	printf("\"well\":%s}\n", findings->wrong ? "false" : "true");
}
