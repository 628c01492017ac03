// SPDX-License-Identifier: MIT
#include "command/command.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "command/print.h"
#include "command/status_table.h"
#include "instance/pidfile.h"
#include "status/report.h"
#include "supervisor/confinement.h"

/* Between one report and the next. */
#define WATCH_MS 1000

/* One of the numbers of a struct. */
struct number {
	const char *name;
	/* Prometheus' "counter" or "gauge". */
	const char *kind;
	const char *unit;
	const char *help;
	size_t offset;
};

#define NUMBER(name, kind, unit, help) \
	{ #name, #kind, unit, help, offsetof(struct proxy_totals, name) },
static const struct number numbers[] = { PROXY_COUNTERS(NUMBER) };

#define PACKETS(name, verdict, help)         \
	{ #name, "counter", "packets", help, \
	  offsetof(struct redirect_interface, name) },
static const struct number interface_numbers[] = { REDIRECT_COUNTERS(PACKETS) };

#define MOVES(name, kind, unit, help) \
	{ #name, #kind, unit, help, offsetof(struct redirect_state, name) },
static const struct number move_numbers[] = { REDIRECT_MOVES(MOVES) };

static unsigned long long value_of(const void *base,
				   const struct number *number)
{
	return *(const uint64_t *)((const char *)base + number->offset);
}

static void format_time(uint64_t seconds, char *text, size_t size)
{
	const time_t when = (time_t)seconds;
	struct tm utc;

	gmtime_r(&when, &utc);
	strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* Each mode counts things of its own: only what there was of them. */
static void print_interface(const struct redirect_interface *interface)
{
	const char *between = "";

	print_plain(interface->name);
	printf(" (%s):", interface->attached_by);
	for (size_t i = 0; i < ARRAY_SIZE(interface_numbers); i++) {
		const unsigned long long value =
			value_of(interface, &interface_numbers[i]);

		if (!value)
			continue;
		printf("%s %llu %s", between, value, interface_numbers[i].help);
		between = ",";
	}
	puts(*between ? "" : " nothing yet");
}

static void print_challenge(const struct challenge *challenge)
{
	char taken[32];

	format_time(challenge->taken_ns / NS_PER_S, taken, sizeof(taken));
	printf("challenge: %s from ", taken);
	print_plain(challenge->client);
	printf(" for ");
	print_server_name(challenge->server_name);
	puts("");
}

static void print_text(const struct status_report *report)
{
	char since[32];

	format_time((uint64_t)report->since, since, sizeof(since));
	printf("running as %d since %s\n", report->pid, since);
	printf("redirect: %s, port %u to port %u on%s%s\n", report->state.mode,
	       report->service_port, report->listen_port,
	       report->ipv4 ? " IPv4" : "", report->ipv6 ? " IPv6" : "");
	if (report->state.why[0])
		printf("not %s, because %s\n", report->redirect,
		       report->state.why);
	printf("backends: acme-tls/1 to ");
	print_backend(report->alpn, report->alpn_proxy_protocol);
	printf(", all others to ");
	print_backend(report->fallback, report->fallback_proxy_protocol);
	puts("");
	printf("worker%s:", report->worker_count > 1 ? "s" : "");
	for (size_t i = 0; i < report->worker_count; i++)
		printf(" %d,", report->workers[i].pid);
	printf(" confined by");
	for (unsigned int bits = report->confinement; bits; bits &= bits - 1)
		printf(" %s", confinement_name(bits));
	puts("");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		printf("%15llu %s\n", value_of(&report->totals, &numbers[i]),
		       numbers[i].help);
	if (report->state.moved || report->state.move_failed) {
		for (size_t i = 0; i < ARRAY_SIZE(move_numbers); i++)
			printf("%15llu %s\n",
			       value_of(&report->state, &move_numbers[i]),
			       move_numbers[i].help);
	}
	for (size_t i = 0; i < status_report_interfaces(report); i++)
		print_interface(&report->interfaces[i]);
	for (size_t i = 0; i < status_report_challenges(report); i++)
		print_challenge(&report->challenges[i]);
}

static void print_json_text(const char *key, const char *text)
{
	printf("\"%s\":", key);
	print_quoted(text);
	putchar(',');
}

static void print_json_proxy_protocol(const char *key, uint8_t version)
{
	if (version == PROXY_PROTOCOL_NONE)
		printf("\"%s\":null,", key);
	else
		print_json_text(key, proxy_protocol_name(version));
}

static void print_json_numbers(const void *base, const struct number *fields,
			       size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf("%s\"%s\":%llu", i ? "," : "", fields[i].name,
		       value_of(base, &fields[i]));
}

static void print_json_workers(const struct status_report *report)
{
	printf(",\"workers\":[");
	for (size_t i = 0; i < report->worker_count; i++) {
		const struct status_worker *worker = &report->workers[i];

		printf("%s{\"pid\":%d,", i ? "," : "", worker->pid);
		print_json_numbers(&worker->counted, numbers,
				   PROXY_COUNTERS_OF_EACH_WORKER);
		putchar('}');
	}
	putchar(']');
}

static void print_json_challenges(const struct status_report *report)
{
	char taken[32];

	printf(",\"challenges\":[");
	for (size_t i = 0; i < status_report_challenges(report); i++) {
		const struct challenge *challenge = &report->challenges[i];

		format_time(challenge->taken_ns / NS_PER_S, taken,
			    sizeof(taken));
		printf("%s{", i ? "," : "");
		print_json_text("time", taken);
		print_json_text("client", challenge->client);
		printf("\"server_name\":");
		print_quoted(challenge->server_name);
		putchar('}');
	}
	putchar(']');
}

static void print_json(const struct status_report *report)
{
	char since[32];

	format_time((uint64_t)report->since, since, sizeof(since));
	printf("{\"running\":true,\"pid\":%d,\"worker_pid\":%d,", report->pid,
	       report->worker_pid);
	print_json_text("since", since);
	print_json_text("redirect", report->redirect);
	print_json_text("mode", report->state.mode);
	print_json_text("why", report->state.why);
	printf("\"port\":%u,\"listen\":%u,\"ipv4\":%s,\"ipv6\":%s,",
	       report->service_port, report->listen_port,
	       report->ipv4 ? "true" : "false",
	       report->ipv6 ? "true" : "false");
	print_json_text("alpn", report->alpn);
	print_json_proxy_protocol("alpn_proxy_protocol",
				  report->alpn_proxy_protocol);
	print_json_text("fallback", report->fallback);
	print_json_proxy_protocol("fallback_proxy_protocol",
				  report->fallback_proxy_protocol);
	printf("\"confinement\":[");
	for (unsigned int bits = report->confinement; bits; bits &= bits - 1)
		printf("\"%s\"%s", confinement_name(bits),
		       bits & (bits - 1) ? "," : "");
	printf("],");
	print_json_numbers(&report->totals, numbers, ARRAY_SIZE(numbers));
	printf(",\"moves\":{");
	print_json_numbers(&report->state, move_numbers,
			   ARRAY_SIZE(move_numbers));
	putchar('}');
	print_json_challenges(report);
	print_json_workers(report);
	printf(",\"interfaces\":[");
	for (size_t i = 0; i < status_report_interfaces(report); i++) {
		const struct redirect_interface *interface =
			&report->interfaces[i];

		printf("%s{", i ? "," : "");
		print_json_text("name", interface->name);
		print_json_text("attached_by", interface->attached_by);
		print_json_numbers(interface, interface_numbers,
				   ARRAY_SIZE(interface_numbers));
		putchar('}');
	}
	puts("]}");
}

#define PREFIX "acme_alpn_proxy_"

static void print_prometheus_packets(const struct redirect_interface *interface)
{
	for (size_t i = 0; i < ARRAY_SIZE(interface_numbers); i++) {
		fputs(PREFIX "packets_total{interface=", stdout);
		print_quoted(interface->name);
		printf(",verdict=\"%s\"} %llu\n", interface_numbers[i].name,
		       value_of(interface, &interface_numbers[i]));
	}
}

/* Begin a metric: its help and its type, and the name of what follows. */
static void format_metric(const char *prefix, const struct number *number,
			  char *name, size_t size)
{
	snprintf(name, size, PREFIX "%s%s%s", prefix, number->name,
		 strcmp(number->kind, "counter") == 0 ? "_total" : "");
	printf("# HELP %s %s (%s).\n# TYPE %s %s\n", name, number->help,
	       number->unit, name, number->kind);
}

static void print_metric(const void *base, const struct number *number)
{
	char name[64];

	format_metric("", number, name, sizeof(name));
	printf("%s %llu\n", name, value_of(base, number));
}

static void print_prometheus_numbers(const struct status_report *report)
{
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		print_metric(&report->totals, &numbers[i]);
	for (size_t i = 0; i < ARRAY_SIZE(move_numbers); i++)
		print_metric(&report->state, &move_numbers[i]);
	for (size_t i = 0; i < PROXY_COUNTERS_OF_EACH_WORKER; i++) {
		format_metric("worker_", &numbers[i], name, sizeof(name));
		for (size_t j = 0; j < report->worker_count; j++)
			printf("%s{worker=\"%zu\"} %llu\n", name, j,
			       value_of(&report->workers[j].counted,
					&numbers[i]));
	}
}

static void print_prometheus(const struct status_report *report)
{
	puts("# HELP " PREFIX "up Whether an instance is running.\n"
	     "# TYPE " PREFIX "up gauge\n" PREFIX "up 1");
	printf("# HELP " PREFIX "start_time_seconds Since when, Unix time.\n"
	       "# TYPE " PREFIX "start_time_seconds gauge\n" PREFIX
	       "start_time_seconds %lld\n",
	       (long long)report->since);
	print_prometheus_numbers(report);
	if (status_report_interfaces(report))
		puts("# HELP " PREFIX "packets_total Packets that could begin "
		     "a connection, by what became of them.\n"
		     "# TYPE " PREFIX "packets_total counter");
	for (size_t i = 0; i < status_report_interfaces(report); i++)
		print_prometheus_packets(&report->interfaces[i]);
}

static int print_absence(const struct options *options,
			 const struct pidfile_holder *holder)
{
	static const char *const state_text[] = {
		[PIDFILE_FREE] = "not running",
		[PIDFILE_STARTING] = "starting",
		[PIDFILE_RUNNING] = "running",
		[PIDFILE_STOPPING] = "stopping",
	};

	if (options->json)
		printf("{\"running\":false,\"state\":\"%s\"}\n",
		       state_text[holder->state]);
	else if (options->prometheus)
		puts("# HELP " PREFIX "up Whether an instance is running.\n"
		     "# TYPE " PREFIX "up gauge\n" PREFIX "up 0");
	else
		puts(state_text[holder->state]);
	return EXIT_CODE_NOT_RUNNING;
}

static const char *why_no_report(int err)
{
	switch (err) {
	case -EPROTO:
		return "it is another release";
	case -ETIMEDOUT:
		return "it did not answer in time";
	default:
		return error_text(err);
	}
}

static int show(const struct options *options)
{
	struct status_report report;
	struct pidfile_holder holder;
	char path[BACKEND_TEXT_SIZE];
	int err;

	err = pidfile_query(options->pidfile, &holder);
	if (err) {
		report_pidfile_error(options->pidfile, err);
		return EXIT_CODE_FAILED;
	}
	if (holder.state != PIDFILE_RUNNING)
		return print_absence(options, &holder);

	err = status_socket_path(options->pidfile, path, sizeof(path));
	if (!err)
		err = status_socket_ask(path, &report);
	/* It may have begun to stop meanwhile, or have ended. */
	if (err && pidfile_query(options->pidfile, &holder) == 0 &&
	    holder.state != PIDFILE_RUNNING)
		return print_absence(options, &holder);
	if (err) {
		log_error("running as %d, but it does not tell more: %s",
			  holder.pid, why_no_report(err));
		return EXIT_CODE_FAILED;
	}
	if (options->json)
		print_json(&report);
	else if (options->prometheus)
		print_prometheus(&report);
	else if (isatty(STDOUT_FILENO))
		status_table_print(&report);
	else
		print_text(&report);
	return EXIT_CODE_DONE;
}

/* Until Ctrl-C, or until nobody reads any more. */
static int watch(const struct options *options)
{
	const bool redraw = isatty(STDOUT_FILENO) && !options->json &&
			    !options->prometheus;
	int code;

	/* A picture is written at once, and does not flicker. */
	setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
	for (;;) {
		/* Go to the first line, and clear what was there. */
		if (redraw)
			fputs("\x1b[H\x1b[J", stdout);
		code = show(options);
		if (code == EXIT_CODE_FAILED || fflush(stdout) == EOF)
			return code;
		poll(NULL, 0, WATCH_MS);
		if (!redraw && !options->json)
			putchar('\n');
	}
}

int command_status(const struct options *options)
{
	return options->watch ? watch(options) : show(options);
}
