// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "command/options.h"

static struct options options;
static char error[OPTIONS_ERROR_SIZE];

static const char *empty_environment(const char *name)
{
	(void)name;
	return NULL;
}

static const char *full_environment(const char *name)
{
	if (strcmp(name, "ACME_ALPN_PROXY_PIDFILE") == 0)
		return "/run/other.pid";
	if (strcmp(name, "ACME_ALPN_PROXY_RULESPEC") == 0)
		return "-p tcp -j ACCEPT";
	if (strcmp(name, "ACME_ALPN_PROXY_DISABLEV6") == 0)
		return "y";
	return NULL;
}

/* The arguments are separated by single spaces. */
static int parse(const char *line)
{
	static char buffer[1024];
	char *argv[OPTIONS_MAX_NAMES + 8] = { NULL };
	char name[] = "acme-alpn-proxy";
	int argc = 0;

	argv[argc++] = name;
	strcpy(buffer, line);
	for (char *word = strtok(buffer, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	error[0] = '\0';
	return options_parse(&options, argc, argv, empty_environment, error);
}

static void keeps_the_defaults_of_the_original(void **state)
{
	(void)state;
	assert_int_equal(parse("start"), 0);
	assert_int_equal(options.operation, OPERATION_START);
	assert_int_equal(options.redirect, REDIRECT_AUTOMATIC);
	assert_string_equal(options.alpn, "127.0.0.1:31443");
	assert_string_equal(options.fallback, "127.0.0.1:443");
	assert_string_equal(options.pidfile, "/var/run/acme-alpn-proxy.pid");
	assert_int_equal(options.listen_port, 21443);
	assert_int_equal(options.service_port, 443);
	assert_int_equal(options.drain_timeout_ms, 180000);
	assert_null(options.rulespec);
	assert_false(options.disable_ipv6);
}

static void takes_one_dash_or_two_before_or_after(void **state)
{
	static const char *const lines[] = {
		"-alpn 127.0.0.1:1 --bpf start",
		"--alpn 127.0.0.1:1 start -bpf",
		"start -alpn=127.0.0.1:1 --bpf",
		"start --bpf --alpn=127.0.0.1:1",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(parse(lines[i]), 0);
		assert_int_equal(options.operation, OPERATION_START);
		assert_int_equal(options.redirect, REDIRECT_BPF);
		assert_string_equal(options.alpn, "127.0.0.1:1");
	}
}

static void takes_the_redirect_by_name_or_by_short_form(void **state)
{
	static const struct {
		const char *line;
		enum redirect_choice choice;
	} forms[] = {
		{ "start --redirect bpf", REDIRECT_BPF },
		{ "start --bpf --redirect=bpf", REDIRECT_BPF },
		{ "start --redirect handoff", REDIRECT_HANDOFF },
		{ "start --redirect=steer", REDIRECT_STEER },
		{ "start -redirect=iptables", REDIRECT_IPTABLES },
		{ "start --iptables", REDIRECT_IPTABLES },
		{ "start --redirect none", REDIRECT_NONE },
		{ "start --no-redirect", REDIRECT_NONE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		assert_int_equal(parse(forms[i].line), 0);
		assert_int_equal(options.redirect, forms[i].choice);
	}
}

static void reads_the_environment(void **state)
{
	char name[] = "acme-alpn-proxy";
	char stop[] = "stop";
	char *argv[] = { name, stop, NULL };

	(void)state;
	assert_int_equal(
		options_parse(&options, 2, argv, full_environment, error), 0);
	assert_int_equal(options.operation, OPERATION_STOP);
	assert_string_equal(options.pidfile, "/run/other.pid");
	assert_string_equal(options.rulespec, "-p tcp -j ACCEPT");
	assert_true(options.disable_ipv6);
}

static void reads_seconds_with_decimals(void **state)
{
	(void)state;
	assert_int_equal(parse("start --hello-timeout 0.25"), 0);
	assert_int_equal(options.hello_timeout_ms, 250);
	assert_int_equal(parse("start --drain-timeout 90"), 0);
	assert_int_equal(options.drain_timeout_ms, 90000);
	assert_int_equal(parse("stop --wait=7"), 0);
	assert_int_equal(options.wait_ms, 7000);
	assert_int_equal(parse("stop --wait"), 0);
	assert_true(options.wait_ms > 180000);
	assert_int_equal(parse("stop"), 0);
	assert_int_equal(options.wait_ms, 0);
}

static void counts_workers(void **state)
{
	(void)state;
	assert_int_equal(parse("start"), 0);
	assert_int_equal(options.workers, 1);
	assert_int_equal(parse("start --workers 64"), 0);
	assert_int_equal(options.workers, 64);
	assert_int_equal(parse("start --workers=auto"), 0);
	assert_int_equal(options.workers, 0);
}

static void collects_domains(void **state)
{
	(void)state;
	assert_int_equal(
		parse("--domain *.example.org start -domain=192.0.2.7"), 0);
	assert_int_equal(options.domains.count, 2);
	assert_string_equal(options.domains.names[0], "*.example.org");
	assert_string_equal(options.domains.names[1], "7.2.0.192.in-addr.arpa");
	assert_int_equal(parse("start"), 0);
	assert_int_equal(options.domains.count, 0);

	assert_int_equal(parse("start --domain --bpf"), -EINVAL);
	assert_non_null(strstr(error, "--domain --bpf: NAME"));
}

static void collects_interfaces(void **state)
{
	(void)state;
	assert_int_equal(parse("--interface eth0 start --interface veth*"), 0);
	assert_int_equal(options.interface_count, 2);
	assert_string_equal(options.interfaces[0], "eth0");
	assert_string_equal(options.interfaces[1], "veth*");
}

static void collects_namespaces(void **state)
{
	(void)state;
	assert_int_equal(parse("start --netns 4711 --netns /run/netns/web"), 0);
	assert_int_equal(options.namespace_count, 2);
	assert_string_equal(options.namespaces[0], "4711");
	assert_string_equal(options.namespaces[1], "/run/netns/web");

	assert_int_equal(parse("start --netns web"), -EINVAL);
	assert_non_null(strstr(error, "--netns web: PID"));
	assert_int_equal(parse("start --netns 12x"), -EINVAL);
}

static void takes_a_version_of_the_proxy_protocol(void **state)
{
	(void)state;
	assert_int_equal(parse("start"), 0);
	assert_int_equal(options.fallback_proxy_protocol, PROXY_PROTOCOL_NONE);
	assert_int_equal(options.alpn_proxy_protocol, PROXY_PROTOCOL_NONE);
	assert_int_equal(parse("start --proxy-protocol v2"), 0);
	assert_int_equal(options.fallback_proxy_protocol, PROXY_PROTOCOL_V2);
	assert_int_equal(options.alpn_proxy_protocol, PROXY_PROTOCOL_NONE);
	assert_int_equal(parse("-alpn-proxy-protocol=v1 start"), 0);
	assert_int_equal(options.fallback_proxy_protocol, PROXY_PROTOCOL_NONE);
	assert_int_equal(options.alpn_proxy_protocol, PROXY_PROTOCOL_V1);
}

static void takes_one_of_several_words(void **state)
{
	(void)state;
	assert_int_equal(parse("start"), 0);
	assert_int_equal(options.log_format, LOG_FORMAT_TEXT);
	assert_int_equal(parse("start --log-format=json"), 0);
	assert_int_equal(options.log_format, LOG_FORMAT_JSON);
	assert_int_equal(parse("start --log-format json --log-format text"), 0);
	assert_int_equal(options.log_format, LOG_FORMAT_TEXT);
}

static void check_takes_names(void **state)
{
	(void)state;
	assert_int_equal(parse("--bpf check www.example.org -domain=a.test "
			       "2001:db8::1 start"),
			 0);
	assert_int_equal(options.operation, OPERATION_CHECK);
	assert_int_equal(options.redirect, REDIRECT_BPF);
	assert_int_equal(options.name_count, 3);
	assert_string_equal(options.names[0], "www.example.org");
	assert_string_equal(options.names[1], "2001:db8::1");
	/* A host may be called so. */
	assert_string_equal(options.names[2], "start");
	assert_int_equal(options.domains.count, 1);
	assert_false(options.serve);
	assert_int_equal(parse("check a.test --serve --json --wait=5"), 0);
	assert_true(options.serve);
	assert_int_equal(options.wait_ms, 5000);
	assert_int_equal(parse("check --help"), 0);
	assert_int_equal(options.operation, OPERATION_HELP);
}

static void takes_no_more_names_than_it_has_room_for(void **state)
{
	char line[16 + 3 * (OPTIONS_MAX_NAMES + 1)] = "check";

	(void)state;
	for (size_t i = 0; i < OPTIONS_MAX_NAMES; i++)
		strcat(line, " a");
	assert_int_equal(parse(line), 0);
	assert_int_equal(options.name_count, OPTIONS_MAX_NAMES);
	strcat(line, " b");
	assert_int_equal(parse(line), -EINVAL);
	assert_non_null(strstr(error, "100"));
}

static void refuses_what_another_operation_is_for(void **state)
{
	static const char *const bad[][2] = {
		{ "status --daemon", "status does not take --daemon" },
		{ "--alpn a:1 status", "status does not take --alpn" },
		{ "stop --json", "stop does not take --json" },
		{ "start --wait", "start does not take --wait" },
		{ "check --watch a.test", "check does not take --watch" },
		{ "status --serve", "status does not take --serve" },
		{ "run --prometheus -- true",
		  "run does not take --prometheus" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i][0]), -EINVAL);
		assert_string_equal(error, bad[i][1]);
	}
	/* With the words of the start, one can stop. */
	assert_int_equal(parse("--daemon --bpf --workers 2 stop --wait"), 0);
	assert_int_equal(parse("--log-file - -v status --json"), 0);
	assert_int_equal(parse("run --wait -- true"), 0);
	assert_int_equal(parse("status --daemon --help"), 0);
}

static void help_and_version_need_no_operation(void **state)
{
	(void)state;
	assert_int_equal(parse("--help"), 0);
	assert_int_equal(options.operation, OPERATION_HELP);
	assert_int_equal(parse("start -h"), 0);
	assert_int_equal(options.operation, OPERATION_HELP);
	assert_int_equal(parse("--version start"), 0);
	assert_int_equal(options.operation, OPERATION_VERSION);
}

static void run_takes_the_words_behind_two_dashes(void **state)
{
	(void)state;
	assert_int_equal(parse("--bpf run -- lego --tls start"), 0);
	assert_int_equal(options.operation, OPERATION_RUN);
	assert_int_equal(options.redirect, REDIRECT_BPF);
	assert_string_equal(options.command[0], "lego");
	assert_string_equal(options.command[2], "start");
	assert_null(options.command[3]);
}

static void refuses_with_one_line_that_names_the_fault(void **state)
{
	static const struct {
		const char *line;
		const char *named;
	} bad[] = {
		{ "", "operation" },
		{ "restart", "restart" },
		{ "start stop", "stop" },
		{ "--frobnicate start", "--frobnicate" },
		{ "start --alpn", "--alpn" },
		{ "start --alpn=", "--alpn" },
		{ "start --alpn 127.0.0.1", "--alpn" },
		{ "start --fallback ::1:443", "--fallback" },
		{ "start --proxy-protocol 2", "--proxy-protocol" },
		{ "start --alpn-proxy-protocol v3", "v1|v2" },
		{ "start --bpf=yes", "--bpf" },
		{ "start --bpf --iptables", "exclude" },
		{ "start --redirect bpf --no-redirect", "exclude" },
		{ "start --redirect handoff --redirect steer", "exclude" },
		{ "start --redirect", "--redirect" },
		{ "start --redirect=", "--redirect" },
		{ "start --redirect no", "--redirect" },
		{ "start --port 0", "--port" },
		{ "start --port 65536", "--port" },
		{ "start --port 443x", "--port" },
		{ "start --port -1", "--port" },
		{ "start --port 21443", "differ" },
		{ "start --hello-timeout 0", "--hello-timeout" },
		{ "start --hello-timeout 1.5.5", "--hello-timeout" },
		{ "start --drain-timeout 99999999999999999999", "seconds" },
		{ "start --max-connections 0", "--max-connections" },
		{ "start --workers 0", "auto" },
		{ "start --workers 65", "--workers" },
		{ "start --workers automatic", "--workers" },
		{ "start --log-format xml", "text|json" },
		{ "start --log-format tex", "--log-format" },
		{ "start --log-format text|json", "--log-format" },
		{ "run", "command" },
		{ "run --", "command" },
		{ "start -- true", "run" },
		{ "status --json --prometheus", "exclude" },
		{ "check", "NAME" },
		{ "check --serve", "NAME" },
		{ "check a.test b.test;c", "b.test;c" },
		{ "check --serve a.test b.test", "one NAME" },
		{ "check --wait=3 a.test", "--serve" },
		{ "a.test check", "a.test" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(bad[i].line), -EINVAL);
		assert_non_null(strstr(error, bad[i].named));
		assert_null(strchr(error, '\n'));
	}
}

static void help_names_every_option(void **state)
{
	static const char *const names[] = { "--alpn",	    "--fallback",
					     "--bpf",	    "--iptables",
					     "--interface", "--wait[=SEC]",
					     "--daemon" };
	static const char *const headings[] = {
		"\nWhere connections go:\n  --alpn",
		"\nRedirect:\n  --redirect",
		"\nServing:\n  --daemon",
		"\nLog:\n  --log-file",
		"\nWith stop, status and check:\n  --wait",
		"\nAbout:\n  -h, --help",
	};
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	(void)state;
	options_print_help(stream);
	fclose(stream);
	/* Every group has its heading, and every line fits a terminal. */
	for (size_t i = 0; i < ARRAY_SIZE(headings); i++)
		assert_non_null(strstr(text, headings[i]));
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		assert_true(strcspn(line, "\n") < 80);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_non_null(strstr(text, names[i]));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_defaults_of_the_original),
		cmocka_unit_test(takes_one_dash_or_two_before_or_after),
		cmocka_unit_test(takes_the_redirect_by_name_or_by_short_form),
		cmocka_unit_test(reads_the_environment),
		cmocka_unit_test(reads_seconds_with_decimals),
		cmocka_unit_test(counts_workers),
		cmocka_unit_test(collects_interfaces),
		cmocka_unit_test(collects_namespaces),
		cmocka_unit_test(takes_a_version_of_the_proxy_protocol),
		cmocka_unit_test(takes_one_of_several_words),
		cmocka_unit_test(collects_domains),
		cmocka_unit_test(check_takes_names),
		cmocka_unit_test(takes_no_more_names_than_it_has_room_for),
		cmocka_unit_test(refuses_what_another_operation_is_for),
		cmocka_unit_test(help_and_version_need_no_operation),
		cmocka_unit_test(run_takes_the_words_behind_two_dashes),
		cmocka_unit_test(refuses_with_one_line_that_names_the_fault),
		cmocka_unit_test(help_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
