// SPDX-License-Identifier: MIT
#include "command/options.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/memory.h"
#include "command/option_table.h"

#define FIELD(name) offsetof(struct options, name)

/* The second column once more, on the next line. */
#define HELP_BELOW "\n                          "

const struct option_description option_table[] = {
	{ "alpn", NULL, "HOST:PORT",
	  "where acme-tls/1 connections go (127.0.0.1:31443)", FIELD(alpn),
	  OPTION_ADDRESS, 0 },
	{ "fallback", NULL, "HOST:PORT",
	  "where all others go: the web server (127.0.0.1:443)",
	  FIELD(fallback), OPTION_ADDRESS, 0 },
	{ "proxy-protocol", NULL, "v1|v2",
	  "tell the fallback who visits, by a PROXY header",
	  FIELD(fallback_proxy_protocol), OPTION_CHOICE, PROXY_PROTOCOL_V1 },
	{ "alpn-proxy-protocol", NULL, "v1|v2",
	  "the same for where acme-tls/1 connections go",
	  FIELD(alpn_proxy_protocol), OPTION_CHOICE, PROXY_PROTOCOL_V1 },
	{ "domain", NULL, "NAME",
	  "only this name's challenges; *.NAME, IP, repeatable", FIELD(domains),
	  OPTION_DOMAIN, 0 },
	{ "redirect", NULL, "bpf|iptables|none",
	  "how new connections come to the proxy; or shorter:", FIELD(redirect),
	  OPTION_REDIRECT, REDIRECT_AUTOMATIC },
	{ "bpf", NULL, NULL, "by TC eBPF (kernel 5.10 or newer)",
	  FIELD(redirect), OPTION_REDIRECT, REDIRECT_BPF },
	{ "iptables", NULL, NULL,
	  "by iptables NAT (default where it is installed)", FIELD(redirect),
	  OPTION_REDIRECT, REDIRECT_IPTABLES },
	{ "no-redirect", NULL, NULL, "proxy only, the redirect is yours",
	  FIELD(redirect), OPTION_REDIRECT, REDIRECT_NONE },
	{ "interface", NULL, "NAME",
	  "with --bpf, only these; a name or glob, repeatable",
	  FIELD(interfaces), OPTION_INTERFACE, 0 },
	{ "past-firewall", NULL, NULL,
	  "with --bpf, past INPUT rules that drop the port",
	  FIELD(past_firewall), OPTION_FLAG, 0 },
	{ "port", NULL, "PORT", "the public port (443)", FIELD(service_port),
	  OPTION_NUMBER, 65535 },
	{ "listen", NULL, "PORT", "the proxy's own port (21443)",
	  FIELD(listen_port), OPTION_NUMBER, 65535 },
	{ "daemon", NULL, NULL,
	  "go to the background once the redirect is in place", FIELD(daemon),
	  OPTION_FLAG, 0 },
	{ "hello-timeout", NULL, "SEC",
	  "a client silent so long goes to the fallback (3)",
	  FIELD(hello_timeout_ms), OPTION_SECONDS, 3600 },
	{ "drain-timeout", NULL, "SEC",
	  "after stop, connections may live this long (180)",
	  FIELD(drain_timeout_ms), OPTION_SECONDS, 604800 },
	{ "max-connections", NULL, "N",
	  "connections at one time (as descriptors allow)",
	  FIELD(max_connections), OPTION_NUMBER, 1000000 },
	{ "workers", NULL, "N",
	  "processes that share the connections (1), or auto", FIELD(workers),
	  OPTION_NUMBER_OR_AUTO, 64 },
	{ "user", NULL, "USER", "the proxy process runs as this user (nobody)",
	  FIELD(user), OPTION_TEXT, 0 },
	{ "log-file", NULL, "PATH",
	  "log here; - is standard error (see the manual)", FIELD(log_file),
	  OPTION_TEXT, 0 },
	{ "log-format", NULL, "text|json", "one line an event (text)",
	  FIELD(log_format), OPTION_CHOICE, LOG_FORMAT_TEXT },
	{ "verbose", "v", NULL, "say more: each interface, each connection",
	  FIELD(verbose), OPTION_FLAG, 0 },
	{ "wait", NULL, "SEC",
	  "stop returns when the last connection has ended", FIELD(wait_ms),
	  OPTION_OPTIONAL_SECONDS, 604800 },
	{ "json", NULL, NULL, "status as one JSON object", FIELD(json),
	  OPTION_FLAG, 0 },
	{ "prometheus", NULL, NULL, "status in the text format of Prometheus",
	  FIELD(prometheus), OPTION_FLAG, 0 },
	{ "help", "h", NULL, "this text", FIELD(operation), OPTION_OPERATION,
	  OPERATION_HELP },
	{ "version", NULL, NULL, "the version and what it was built with",
	  FIELD(operation), OPTION_OPERATION, OPERATION_VERSION },
};

const size_t option_count = ARRAY_SIZE(option_table);

const struct operation_description operation_table[] = {
	{ "start", OPERATION_START,
	  "put the redirect in place and serve until stopped" },
	{ "stop", OPERATION_STOP,
	  "take the redirect away; what is open goes on" },
	{ "status", OPERATION_STATUS, "say whether it runs (exit code 3: no)" },
	{ "run", OPERATION_RUN,
	  "start, run the command after --, stop; its exit code" },
};

const size_t operation_count = ARRAY_SIZE(operation_table);

__attribute__((format(printf, 2, 3))) static int
fail(char error[static OPTIONS_ERROR_SIZE], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error, OPTIONS_ERROR_SIZE, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

/* Does @argument ("name" or "name=value", dashes taken off) mean @name? */
static bool argument_names(const char *argument, size_t length,
			   const char *name)
{
	return name && strlen(name) == length &&
	       strncmp(argument, name, length) == 0;
}

static const struct option_description *find_option(const char *argument,
						    size_t length)
{
	for (size_t i = 0; i < option_count; i++) {
		if (argument_names(argument, length, option_table[i].name) ||
		    argument_names(argument, length, option_table[i].alias))
			return &option_table[i];
	}
	return NULL;
}

/* Digits only, from 1 to @most. */
static int parse_number(const char *text, unsigned int most,
			unsigned int *number)
{
	unsigned long value;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || value < 1 || value > most)
		return -EINVAL;
	*number = (unsigned int)value;
	return 0;
}

/* "3" or "0.25": digits with at most three decimals, to ms. */
static int parse_seconds(const char *text, unsigned int most,
			 unsigned int *milliseconds)
{
	unsigned long seconds;
	unsigned int fraction = 0;
	unsigned int unit = 100;
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	seconds = strtoul(text, &end, 10);
	if (errno || seconds > most)
		return -EINVAL;
	if (*end == '.') {
		for (end++; *end >= '0' && *end <= '9' && unit; end++) {
			fraction += unit * (unsigned int)(*end - '0');
			unit /= 10;
		}
	}
	if (*end || seconds * 1000 + fraction == 0)
		return -EINVAL;
	*milliseconds = (unsigned int)seconds * 1000 + fraction;
	return 0;
}

/* One of the words of @option->argument. */
static int parse_choice(const struct option_description *option,
			const char *text, unsigned int *choice)
{
	const size_t length = strlen(text);
	const char *word = option->argument;

	for (unsigned int i = option->value; word; i++) {
		const char *end = strchrnul(word, '|');

		if ((size_t)(end - word) == length &&
		    strncmp(word, text, length) == 0) {
			*choice = i;
			return 0;
		}
		word = *end ? end + 1 : NULL;
	}
	return -EINVAL;
}

static int set_text(const struct option_description *option, const char *value,
		    const char **text, char error[static OPTIONS_ERROR_SIZE])
{
	if (!*value)
		return fail(error, "--%s needs a value that is not empty",
			    option->name);
	*text = value;
	return 0;
}

static int set_address(const struct option_description *option,
		       const char *value, const char **text,
		       char error[static OPTIONS_ERROR_SIZE])
{
	struct address_parts parts;

	switch (address_split(value, &parts)) {
	case 0:
		return set_text(option, value, text, error);
	case -E2BIG:
		return fail(error, "--%s %.64s...: is too long for an address",
			    option->name, value);
	default:
		return fail(error,
			    "--%s %.64s: HOST:PORT, [IPV6]:PORT or unix:/PATH "
			    "is needed",
			    option->name, value);
	}
}

static int add_interface(struct options *options, const char *pattern,
			 char error[static OPTIONS_ERROR_SIZE])
{
	if (options->interface_count == OPTIONS_MAX_INTERFACES)
		return fail(error, "--interface may be said %d times at most",
			    OPTIONS_MAX_INTERFACES);
	options->interfaces[options->interface_count++] = pattern;
	return 0;
}

/* @value is the redirect's name, or "" where the option itself says it. */
static int set_redirect(struct options *options,
			const struct option_description *option,
			const char *value,
			char error[static OPTIONS_ERROR_SIZE])
{
	static const char *const names[] = {
		[REDIRECT_BPF] = "bpf",
		[REDIRECT_IPTABLES] = "iptables",
		[REDIRECT_NONE] = "none",
	};
	enum redirect_choice choice = option->value;

	for (size_t i = REDIRECT_BPF; option->argument && i < ARRAY_SIZE(names);
	     i++) {
		if (strcmp(value, names[i]) == 0)
			choice = (enum redirect_choice)i;
	}
	if (choice == REDIRECT_AUTOMATIC)
		return fail(error,
			    "--redirect %.64s: bpf, iptables or none is "
			    "needed",
			    value);
	if (options->redirect != REDIRECT_AUTOMATIC &&
	    options->redirect != choice)
		return fail(error, "--redirect bpf, iptables and none exclude "
				   "each other");
	options->redirect = choice;
	return 0;
}

static int add_domain(struct options *options, const char *domain,
		      char error[static OPTIONS_ERROR_SIZE])
{
	switch (domain_list_add(&options->domains, domain)) {
	case 0:
		return 0;
	case -E2BIG:
		return fail(error, "--domain may be said %d times at most",
			    DOMAIN_LIST_MAX);
	default:
		return fail(error,
			    "--domain %.64s: NAME, *.NAME or an IP address is "
			    "needed",
			    domain);
	}
}

static int set_option(struct options *options,
		      const struct option_description *option,
		      const char *value, char error[static OPTIONS_ERROR_SIZE])
{
	void *field = (char *)options + option->offset;

	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_REDIRECT:
		return set_redirect(options, option, value, error);
	case OPTION_OPERATION:
		options->operation = option->value;
		return 0;
	case OPTION_TEXT:
		return set_text(option, value, field, error);
	case OPTION_ADDRESS:
		return set_address(option, value, field, error);
	case OPTION_CHOICE:
		if (parse_choice(option, value, field) == 0)
			return 0;
		return fail(error, "--%s %.64s: one of %s is needed",
			    option->name, value, option->argument);
	case OPTION_INTERFACE:
		return add_interface(options, value, error);
	case OPTION_DOMAIN:
		return add_domain(options, value, error);
	case OPTION_NUMBER:
		if (parse_number(value, option->value, field) == 0)
			return 0;
		return fail(error, "--%s %s: a number from 1 to %u is needed",
			    option->name, value, option->value);
	case OPTION_NUMBER_OR_AUTO:
		if (strcmp(value, "auto") == 0) {
			*(unsigned int *)field = 0;
			return 0;
		}
		if (parse_number(value, option->value, field) == 0)
			return 0;
		return fail(error,
			    "--%s %s: a number from 1 to %u, or auto, is "
			    "needed",
			    option->name, value, option->value);
	case OPTION_SECONDS:
	case OPTION_OPTIONAL_SECONDS:
		if (parse_seconds(value, option->value, field) == 0)
			return 0;
		return fail(error,
			    "--%s %s: seconds, more than 0 and at most %u, "
			    "are needed",
			    option->name, value, option->value);
	}
	return -EINVAL;
}

/* Parse the option at argv[*index]; moves *index over its value. */
static int parse_option(struct options *options, int argc, char *const argv[],
			int *index, char error[static OPTIONS_ERROR_SIZE])
{
	const char *argument = argv[*index];
	const struct option_description *option;
	const char *name = argument + (argument[1] == '-' ? 2 : 1);
	size_t length = strcspn(name, "=");
	const char *value = name[length] ? name + length + 1 : NULL;

	option = find_option(name, length);
	if (!option)
		return fail(error, "unknown option %s (see --help)", argument);
	if (!option->argument) {
		if (value)
			return fail(error, "--%s takes no value", option->name);
		value = "";
	} else if (!value && option->kind == OPTION_OPTIONAL_SECONDS) {
		*(unsigned int *)((char *)options + option->offset) =
			option->value * 1000;
		return 0;
	} else if (!value) {
		if (*index + 1 >= argc)
			return fail(error, "--%s needs a value: %s",
				    option->name, option->argument);
		value = argv[++*index];
	}
	return set_option(options, option, value, error);
}

static int parse_operation(struct options *options, const char *word,
			   bool *seen, char error[static OPTIONS_ERROR_SIZE])
{
	if (*seen)
		return fail(error, "one operation at a time, '%s' is too many",
			    word);
	for (size_t i = 0; i < operation_count; i++) {
		if (strcmp(word, operation_table[i].name) != 0)
			continue;
		/* --help and --version win over an operation. */
		if (options->operation != OPERATION_HELP &&
		    options->operation != OPERATION_VERSION)
			options->operation = operation_table[i].operation;
		*seen = true;
		return 0;
	}
	return fail(
		error,
		"unknown operation '%s': start, stop, status or run is needed",
		word);
}

static void set_defaults(struct options *options,
			 const char *(*environment)(const char *name))
{
	const char *pidfile = environment("ACME_ALPN_PROXY_PIDFILE");
	const char *rulespec = environment("ACME_ALPN_PROXY_RULESPEC");
	const char *disable_ipv6 = environment("ACME_ALPN_PROXY_DISABLEV6");

	*options = (struct options){
		.alpn = "127.0.0.1:31443",
		.fallback = "127.0.0.1:443",
		.pidfile = "/var/run/acme-alpn-proxy.pid",
		.user = "nobody",
		.service_port = 443,
		.listen_port = 21443,
		.drain_timeout_ms = 180000,
		.hello_timeout_ms = 3000,
		.max_connections = UINT_MAX,
		.workers = 1,
	};
	if (pidfile && *pidfile)
		options->pidfile = pidfile;
	if (rulespec && *rulespec)
		options->rulespec = rulespec;
	options->disable_ipv6 = disable_ipv6 && strcmp(disable_ipv6, "y") == 0;
}

int options_parse(struct options *options, int argc, char *const argv[],
		  const char *(*environment)(const char *name),
		  char error[static OPTIONS_ERROR_SIZE])
{
	bool operation_seen = false;
	int err;

	set_defaults(options, environment);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			options->command = argv + i + 1;
			break;
		}
		if (argv[i][0] == '-' && argv[i][1])
			err = parse_option(options, argc, argv, &i, error);
		else
			err = parse_operation(options, argv[i], &operation_seen,
					      error);
		if (err)
			return err;
	}
	if (!operation_seen && options->operation == OPERATION_START)
		return fail(error, "an operation is needed: start, stop, "
				   "status or run (see --help)");
	if (options->operation == OPERATION_RUN &&
	    !(options->command && *options->command))
		return fail(error, "run needs a command after --");
	if (options->command && options->operation != OPERATION_RUN)
		return fail(error, "only run takes a command after --");
	if (options->service_port == options->listen_port)
		return fail(error, "--port and --listen must differ");
	if (options->past_firewall && options->redirect != REDIRECT_BPF)
		return fail(error, "--past-firewall needs --bpf");
	if (options->json && options->prometheus)
		return fail(error,
			    "--json and --prometheus exclude each other");
	return 0;
}

static void print_option(FILE *stream, const struct option_description *option)
{
	const bool optional = option->kind == OPTION_OPTIONAL_SECONDS;
	const char *argument = option->argument ? option->argument : "";
	char left[64];

	snprintf(left, sizeof(left), "%s%s%s--%s%s%s%s",
		 option->alias ? "-" : "", option->alias ? option->alias : "",
		 option->alias ? ", " : "", option->name,
		 optional    ? "[="
		 : *argument ? " "
			     : "",
		 argument, optional ? "]" : "");
	fprintf(stream, "  %-24s%s %s\n", left,
		strlen(left) > 24 ? HELP_BELOW : "", option->help);
}

/* The headings of help, each before the option that is named. */
static const struct {
	const char *before;
	const char *title;
} groups[] = {
	{ "alpn", "Where connections go" },
	{ "redirect", "Redirect" },
	{ "daemon", "Serving" },
	{ "log-file", "Log" },
	{ "wait", "With stop and status" },
	{ "help", "About" },
};

static void print_heading(FILE *stream, const char *option)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (strcmp(groups[i].before, option) == 0)
			fprintf(stream, "\n%s:\n", groups[i].title);
}

void options_print_help(FILE *stream)
{
	fputs("Usage: acme-alpn-proxy [OPTION...] start|stop|status\n"
	      "       acme-alpn-proxy [OPTION...] run -- COMMAND [ARGUMENT...]\n\n"
	      "Answer TLS-ALPN-01 challenges on port 443 beside a running web "
	      "server.\n\nOperations:\n",
	      stream);
	for (size_t i = 0; i < operation_count; i++)
		fprintf(stream, "  %-24s %s\n", operation_table[i].name,
			operation_table[i].help);
	fputs("\nOptions: -x and --x alike, before or after the operation\n",
	      stream);
	for (size_t i = 0; i < option_count; i++) {
		print_heading(stream, option_table[i].name);
		print_option(stream, &option_table[i]);
	}
	fputs("\nEnvironment:\n"
	      "  ACME_ALPN_PROXY_PIDFILE    /var/run/acme-alpn-proxy.pid\n"
	      "  ACME_ALPN_PROXY_RULESPEC   the iptables rule, after -A "
	      "PREROUTING\n"
	      "  ACME_ALPN_PROXY_DISABLEV6  y: leave IPv6 alone\n"
	      "\nExit codes: 0 done, 1 failed, 2 usage, 3 status: not running\n",
	      stream);
}
