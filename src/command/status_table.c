// SPDX-License-Identifier: MIT
#include "command/status_table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "command/print.h"

/* What is told of an interface. */
static const struct {
	const char *text;
	size_t offset;
} columns[] = {
#define COLUMN(name, verdict, text) \
	{ text, offsetof(struct redirect_interface, name) },
	REDIRECT_COUNTERS(COLUMN)
#undef COLUMN
};

static uint64_t packets(const struct redirect_interface *interface,
			size_t column)
{
	return *(const uint64_t *)((const char *)interface +
				   columns[column].offset);
}

static int column_width(size_t column)
{
	const int length = (int)strlen(columns[column].text);

	return length > 10 ? length : 10;
}

/* "45 s", "12 min", "7 h", "3 days": one number is enough. */
static void print_duration(int64_t seconds)
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = { { 172800, "days" }, { 7200, "h" }, { 120, "min" } };

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		const int64_t unit = units[i].seconds / 2;

		if (seconds < units[i].seconds)
			continue;
		printf("%lld %s", (long long)(seconds / unit), units[i].name);
		return;
	}
	printf("%lld s", (long long)(seconds > 0 ? seconds : 0));
}

/* By the clock of who reads it. */
static void print_time(uint64_t seconds)
{
	const time_t when = (time_t)seconds;
	struct tm local;
	char text[32];

	localtime_r(&when, &local);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	fputs(text, stdout);
}

/* Which redirect, and where it leads whom. */
static void print_head(const struct status_report *report)
{
	const struct redirect_state *state = &report->state;

	printf("running as %d since ", report->pid);
	print_time((uint64_t)report->since);
	printf(", ");
	print_duration((int64_t)time(NULL) - report->since);
	printf("\n  redirect          %s, port %u to %u, %s\n",
	       report->redirect, report->service_port, report->listen_port,
	       !report->ipv6   ? "IPv4"
	       : !report->ipv4 ? "IPv6"
			       : "IPv4 and IPv6");
	if (*state->why) {
		printf("  not %-13s ", report->redirect);
		print_plain(state->why);
		putchar('\n');
	}
	printf("  challenges go to  ");
	print_backend(report->alpn, report->alpn_proxy_protocol);
	printf("\n  visitors go to    ");
	if (strcmp(state->mode, redirect_handoff.name) == 0)
		fputs("the web server, as ever", stdout);
	else
		print_backend(report->fallback,
			      report->fallback_proxy_protocol);
	putchar('\n');
}

static void print_number(uint64_t value, const char *text)
{
	printf("  %16llu  %s\n", (unsigned long long)value, text);
}

/* Those that went through the proxy, and those that were seen to pass it. */
static uint64_t visitors(const struct status_report *report)
{
	uint64_t sum = report->totals.to_fallback;

	for (size_t i = 0; i < status_report_interfaces(report); i++)
		sum += report->interfaces[i].visitors;
	return sum;
}

/* What a person looks for, and of the rest what has happened. */
static void print_numbers(const struct status_report *report)
{
	struct proxy_totals rest = report->totals;

	print_number(rest.open_connections, "connections open now");
	print_number(visitors(report), "visitors passed");
	print_number(rest.to_alpn, "challenges taken");
	rest.open_connections = rest.accepted = 0;
	rest.to_fallback = rest.to_alpn = 0;
#define REST(name, kind, unit, text) \
	if (rest.name)               \
		print_number(rest.name, text);
	PROXY_COUNTERS(REST)
#undef REST
	if (report->state.move_failed)
		print_number(report->state.move_failed,
			     "challenges that could not be handed over");
}

/* A column for each counter that some interface has. */
static void print_interfaces(const struct redirect_interface *interfaces,
			     size_t count)
{
	bool shown[ARRAY_SIZE(columns)] = { false };

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < ARRAY_SIZE(columns); j++)
			shown[j] |= packets(&interfaces[i], j) > 0;
	printf("\n  %-16s  %-8s", "interface", "by");
	for (size_t j = 0; j < ARRAY_SIZE(columns); j++)
		if (shown[j])
			printf("  %*s", column_width(j), columns[j].text);
	putchar('\n');
	for (size_t i = 0; i < count; i++) {
		printf("  ");
		print_plain(interfaces[i].name);
		printf("%*s  %-8s", 16 - (int)strlen(interfaces[i].name), "",
		       interfaces[i].attached_by);
		for (size_t j = 0; j < ARRAY_SIZE(columns); j++)
			if (shown[j])
				printf("  %*llu", column_width(j),
				       (unsigned long long)packets(
					       &interfaces[i], j));
		putchar('\n');
	}
}

/* The newest first; the addresses' column is as wide as the longest. */
static void print_challenges(const struct challenge *challenges, size_t count)
{
	int width = (int)strlen("from");

	for (size_t i = 0; i < count; i++)
		if (width < (int)strlen(challenges[i].client))
			width = (int)strlen(challenges[i].client);
	printf("\n  %-19s  %-*s  for\n", "last challenges", width, "from");
	for (size_t i = 0; i < count; i++) {
		printf("  ");
		print_time(challenges[i].taken_ns / NS_PER_S);
		printf("  ");
		print_plain(challenges[i].client);
		printf("%*s  ", width - (int)strlen(challenges[i].client), "");
		print_server_name(challenges[i].server_name);
		putchar('\n');
	}
}

void status_table_print(const struct status_report *report)
{
	const size_t challenges = status_report_challenges(report);
	const size_t interfaces = status_report_interfaces(report);

	print_head(report);
	putchar('\n');
	print_numbers(report);
	if (interfaces)
		print_interfaces(report->interfaces, interfaces);
	if (challenges)
		print_challenges(report->challenges, challenges);
}
