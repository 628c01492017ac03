// SPDX-License-Identifier: MIT
#include "command/status_table.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "command/print.h"

/* What is told of an interface. */
static const struct {
	const char *text;
	size_t offset;
} columns[] = {
#define COLUMN(name, text) { text, offsetof(struct redirect_interface, name) },
	REDIRECT_COUNTERS(COLUMN)
#undef COLUMN
};

static uint64_t packets(const struct redirect_interface *interface,
			size_t column)
{
	return *(const uint64_t *)((const char *)interface +
				   columns[column].offset);
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

static void print_head(const struct status_report *report)
{
	const time_t since = (time_t)report->since;
	struct tm local;
	char text[32];

	localtime_r(&since, &local);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	printf("running as %d since %s, ", report->pid, text);
	print_duration((int64_t)time(NULL) - report->since);
	printf("\n  redirect          %s, port %u to %u, %s\n",
	       report->redirect, report->service_port, report->listen_port,
	       !report->ipv6   ? "IPv4"
	       : !report->ipv4 ? "IPv6"
			       : "IPv4 and IPv6");
	printf("  challenges go to  ");
	print_backend(report->alpn, report->alpn_proxy_protocol);
	printf("\n  visitors go to    ");
	print_backend(report->fallback, report->fallback_proxy_protocol);
	putchar('\n');
}

static void print_number(uint64_t value, const char *text)
{
	printf("  %16llu  %s\n", (unsigned long long)value, text);
}

/* What a person looks for, and of the rest what has happened. */
static void print_numbers(const struct proxy_totals *totals)
{
	struct proxy_totals rest = *totals;

	print_number(totals->open_connections, "connections open now");
	print_number(totals->to_fallback, "visitors passed");
	print_number(totals->to_alpn, "challenges taken");
	rest.open_connections = rest.accepted = 0;
	rest.to_fallback = rest.to_alpn = 0;
#define REST(name, kind, unit, text) \
	if (rest.name)               \
		print_number(rest.name, text);
	PROXY_COUNTERS(REST)
#undef REST
}

/* A column for each counter that some interface has, and always the first. */
static void print_interfaces(const struct redirect_interface *interfaces,
			     size_t count)
{
	bool shown[ARRAY_SIZE(columns)] = { true };

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < ARRAY_SIZE(columns); j++)
			shown[j] |= packets(&interfaces[i], j) > 0;
	printf("\n  %-16s  %-8s", "interface", "by");
	for (size_t j = 0; j < ARRAY_SIZE(columns); j++)
		if (shown[j])
			printf("  %10s", columns[j].text);
	putchar('\n');
	for (size_t i = 0; i < count; i++) {
		printf("  ");
		print_plain(interfaces[i].name);
		printf("%*s  %-8s", 16 - (int)strlen(interfaces[i].name), "",
		       interfaces[i].attached_by);
		for (size_t j = 0; j < ARRAY_SIZE(columns); j++)
			if (shown[j])
				printf("  %*llu",
				       (int)strlen(columns[j].text) > 10
					       ? (int)strlen(columns[j].text)
					       : 10,
				       (unsigned long long)packets(
					       &interfaces[i], j));
		putchar('\n');
	}
}

void status_table_print(const struct status_report *report)
{
	const size_t count = report->interface_count < STATUS_REPORT_INTERFACES
				     ? report->interface_count
				     : STATUS_REPORT_INTERFACES;

	print_head(report);
	putchar('\n');
	print_numbers(&report->totals);
	if (count)
		print_interfaces(report->interfaces, count);
}
