// SPDX-License-Identifier: MIT
#include "command/options.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/memory.h"

#define FOR(operation) (1U << OPERATION_##operation)
/* Sets a member of struct options. */
#define SETS(member, option_kind, taken_by)         \
	.offset = offsetof(struct options, member), \
	.kind = OPTION_##option_kind, .operations = (taken_by)
/* What an instance is like. `stop` and `check` take it too, so that the same
 * words do for all. */
#define INSTANCE(member, option_kind) \
	SETS(member, option_kind,     \
	     FOR(START) | FOR(RUN) | FOR(STOP) | FOR(CHECK))
#define ANY(member, option_kind) SETS(member, option_kind, ~0U)

/* clang-format off */
const struct option_description option_table[] = {
	{ .heading = "Where connections go",
	  .name = "alpn", .argument = "HOST:PORT", INSTANCE(alpn, ADDRESS),
	  .help = "acme-tls/1: the ACME responder (127.0.0.1:31443)" },
	{ .name = "fallback", .argument = "HOST:PORT",
	  INSTANCE(fallback, ADDRESS),
	  .help = "all others: the web server (127.0.0.1:443)" },
	{ .name = "proxy-protocol", .argument = "v1|v2",
	  INSTANCE(fallback_proxy_protocol, CHOICE), .value = PROXY_PROTOCOL_V1,
	  .help = "tell the web server who visits, by a PROXY header" },
	{ .name = "alpn-proxy-protocol", .argument = "v1|v2",
	  INSTANCE(alpn_proxy_protocol, CHOICE), .value = PROXY_PROTOCOL_V1,
	  .help = "the same for the ACME responder" },
	{ .name = "domain", .argument = "NAME", INSTANCE(domains, DOMAIN),
	  .help = "only this name's challenges; *.NAME, IP, repeatable" },
	{ .heading = "Redirect",
	  .name = "redirect", .argument = "bpf|handoff|steer|iptables|none",
	  INSTANCE(redirect, REDIRECT), .value = REDIRECT_BPF,
	  .help = "how challenges come to the proxy; or shorter:" },
	{ .name = "bpf", INSTANCE(redirect, REDIRECT), .value = REDIRECT_BPF,
	  .help = "by TC eBPF: handoff, else steer (Linux 5.10)" },
	{ .name = "iptables", INSTANCE(redirect, REDIRECT),
	  .value = REDIRECT_IPTABLES,
	  .help = "by iptables NAT" },
	{ .name = "no-redirect", INSTANCE(redirect, REDIRECT),
	  .value = REDIRECT_NONE, .help = "proxy only, the redirect is yours" },
	{ .name = "interface", .argument = "NAME",
	  INSTANCE(interfaces, INTERFACE),
	  .help = "by eBPF, only these; a name or glob, repeatable" },
	{ .name = "netns", .argument = "PID|PATH",
	  INSTANCE(namespaces, NAMESPACE),
	  .help = "hand off there as well; repeatable" },
	{ .name = "port", .argument = "PORT", INSTANCE(service_port, NUMBER),
	  .value = 65535, .help = "the public port (443)" },
	{ .name = "listen", .argument = "PORT", INSTANCE(listen_port, NUMBER),
	  .value = 65535, .help = "the proxy's own port (21443)" },
	{ .heading = "Serving",
	  .name = "daemon", INSTANCE(daemon, FLAG),
	  .help = "go to the background once the redirect is in place" },
	{ .name = "hello-timeout", .argument = "SEC",
	  INSTANCE(hello_timeout_ms, SECONDS), .value = 3600,
	  .help = "without a ClientHello by then: to the web server (3)" },
	{ .name = "drain-timeout", .argument = "SEC",
	  INSTANCE(drain_timeout_ms, SECONDS), .value = 604800,
	  .help = "after stop, connections may live this long (180)" },
	{ .name = "max-connections", .argument = "N",
	  INSTANCE(max_connections, NUMBER), .value = 1000000,
	  .help = "connections at one time (as descriptors allow)" },
	{ .name = "workers", .argument = "N", INSTANCE(workers, NUMBER_OR_AUTO),
	  .value = 64,
	  .help = "processes that share the connections (1), or auto" },
	{ .name = "user", .argument = "USER", INSTANCE(user, TEXT),
	  .help = "the proxy process runs as this user (nobody)" },
	{ .heading = "Log",
	  .name = "log-file", .argument = "PATH", ANY(log_file, TEXT),
	  .help = "log here; - is standard error (see the manual)" },
	{ .name = "log-format", .argument = "text|json",
	  ANY(log_format, CHOICE), .value = LOG_FORMAT_TEXT,
	  .help = "one line an event (text)" },
	{ .name = "verbose", .alias = "v", ANY(verbose, FLAG),
	  .help = "say more: each interface, each connection" },
	{ .heading = "With stop, status and check",
	  .name = "wait", .argument = "SEC",
	  SETS(wait_ms, OPTIONAL_SECONDS, FOR(STOP) | FOR(RUN) | FOR(CHECK)),
	  .value = 604800,
	  .help = "stop waits for the last connection; run always does" },
	{ .name = "json", SETS(json, FLAG, FOR(STATUS) | FOR(CHECK)),
	  .help = "status and check as JSON" },
	{ .name = "prometheus", SETS(prometheus, FLAG, FOR(STATUS)),
	  .help = "status in the text format of Prometheus" },
	{ .name = "watch", SETS(watch, FLAG, FOR(STATUS)),
	  .help = "status again each second, until Ctrl-C" },
	{ .name = "serve", SETS(serve, FLAG, FOR(CHECK)),
	  .help = "check answers one challenge of its own (--wait 300)" },
	{ .heading = "About",
	  .name = "help", .alias = "h", ANY(operation, OPERATION),
	  .value = OPERATION_HELP, .help = "this text" },
	{ .name = "version", ANY(operation, OPERATION),
	  .value = OPERATION_VERSION,
	  .help = "the version and what it was built with" },
};
/* clang-format on */

const size_t option_count = ARRAY_SIZE(option_table);

const struct operation_description operation_table[] = {
#define OPERATION(enumerator, name, help) { #name, help },
	OPERATIONS(OPERATION)
#undef OPERATION
};

const size_t operation_count = ARRAY_SIZE(operation_table);

/* A command line on its way into @options. */
struct parser {
	struct options *options;
	int argc;
	char *const *argv;
	/* Of what is parsed now. */
	int index;
	bool operation_seen;
	/* Of the words behind it. */
	bool takes_names;
	/* Bits of the options that were said, by their place in the table. */
	uint64_t said;
	/* For one line, of OPTIONS_ERROR_SIZE. */
	char *error;
};
_Static_assert(ARRAY_SIZE(option_table) <= 64, "each option has its bit");

__attribute__((format(printf, 2, 3))) static int
fail(const struct parser *parser, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(parser->error, OPTIONS_ERROR_SIZE, format, arguments);
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

static int set_text(const struct parser *parser,
		    const struct option_description *option, const char *value,
		    const char **text)
{
	if (!*value)
		return fail(parser, "--%s needs a value that is not empty",
			    option->name);
	*text = value;
	return 0;
}

static int set_address(const struct parser *parser,
		       const struct option_description *option,
		       const char *value, const char **text)
{
	struct address_parts parts;

	switch (address_split(value, &parts)) {
	case 0:
		return set_text(parser, option, value, text);
	case -E2BIG:
		return fail(parser, "--%s %.64s...: is too long for an address",
			    option->name, value);
	default:
		return fail(parser,
			    "--%s %.64s: HOST:PORT, [IPV6]:PORT or unix:/PATH "
			    "is needed",
			    option->name, value);
	}
}

static int add(const struct parser *parser,
	       const struct option_description *option, const char *value,
	       const char **items, size_t *count)
{
	if (*count == OPTIONS_MAX_REPEATED)
		return fail(parser, "--%s may be said %d times at most",
			    option->name, OPTIONS_MAX_REPEATED);
	items[(*count)++] = value;
	return 0;
}

/* No path that depends on where we are. */
static int add_namespace(const struct parser *parser,
			 const struct option_description *option,
			 const char *name)
{
	struct options *options = parser->options;

	if (*name != '/' && (!*name || name[strspn(name, "0123456789")]))
		return fail(parser, "--netns %.64s: PID or /PATH is needed",
			    name);
	return add(parser, option, name, options->namespaces,
		   &options->namespace_count);
}

static int add_domain(const struct parser *parser, const char *domain)
{
	switch (domain_list_add(&parser->options->domains, domain)) {
	case 0:
		return 0;
	case -E2BIG:
		return fail(parser, "--domain may be said %d times at most",
			    DOMAIN_LIST_MAX);
	default:
		return fail(parser,
			    "--domain %.64s: NAME, *.NAME or an IP address is "
			    "needed",
			    domain);
	}
}

static int set_choice(const struct parser *parser,
		      const struct option_description *option,
		      const char *value, unsigned int *choice)
{
	if (parse_choice(option, value, choice) == 0)
		return 0;
	return fail(parser, "--%s %.64s: one of %s is needed", option->name,
		    value, option->argument);
}

static int set_redirect(const struct parser *parser,
			const struct option_description *option,
			const char *value)
{
	enum redirect_choice *redirect = &parser->options->redirect;
	unsigned int choice = option->value;
	int err;

	if (option->argument) {
		err = set_choice(parser, option, value, &choice);
		if (err)
			return err;
	}
	if (*redirect != REDIRECT_AUTOMATIC && *redirect != choice)
		return fail(parser,
			    "one redirect at a time: --%s and what was "
			    "said before exclude each other",
			    option->name);
	*redirect = choice;
	return 0;
}

static int set_number(const struct parser *parser,
		      const struct option_description *option,
		      const char *value, unsigned int *number)
{
	const bool or_auto = option->kind == OPTION_NUMBER_OR_AUTO;

	if (or_auto && strcmp(value, "auto") == 0) {
		*number = 0;
		return 0;
	}
	if (parse_number(value, option->value, number) == 0)
		return 0;
	return fail(parser, "--%s %s: a number from 1 to %u%s is needed",
		    option->name, value, option->value,
		    or_auto ? ", or auto," : "");
}

static int set_option(const struct parser *parser,
		      const struct option_description *option,
		      const char *value)
{
	void *field = (char *)parser->options + option->offset;

	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)field = true;
		return 0;
	case OPTION_REDIRECT:
		return set_redirect(parser, option, value);
	case OPTION_OPERATION:
		parser->options->operation = option->value;
		return 0;
	case OPTION_TEXT:
		return set_text(parser, option, value, field);
	case OPTION_ADDRESS:
		return set_address(parser, option, value, field);
	case OPTION_CHOICE:
		return set_choice(parser, option, value, field);
	case OPTION_INTERFACE:
		return add(parser, option, value, parser->options->interfaces,
			   &parser->options->interface_count);
	case OPTION_NAMESPACE:
		return add_namespace(parser, option, value);
	case OPTION_DOMAIN:
		return add_domain(parser, value);
	case OPTION_NUMBER:
	case OPTION_NUMBER_OR_AUTO:
		return set_number(parser, option, value, field);
	case OPTION_SECONDS:
	case OPTION_OPTIONAL_SECONDS:
		if (parse_seconds(value, option->value, field) == 0)
			return 0;
		return fail(parser,
			    "--%s %s: seconds, more than 0 and at most %u, "
			    "are needed",
			    option->name, value, option->value);
	}
	return -EINVAL;
}

static int parse_option(struct parser *parser)
{
	const char *argument = parser->argv[parser->index];
	const struct option_description *option;
	const char *name = argument + (argument[1] == '-' ? 2 : 1);
	size_t length = strcspn(name, "=");
	const char *value = name[length] ? name + length + 1 : NULL;

	option = find_option(name, length);
	if (!option)
		return fail(parser, "unknown option %s (see --help)", argument);
	parser->said |= UINT64_C(1) << (option - option_table);
	if (!option->argument) {
		if (value)
			return fail(parser, "--%s takes no value",
				    option->name);
		value = "";
	} else if (!value && option->kind == OPTION_OPTIONAL_SECONDS) {
		*(unsigned int *)((char *)parser->options + option->offset) =
			option->value * 1000;
		return 0;
	} else if (!value) {
		if (parser->index + 1 >= parser->argc)
			return fail(parser, "--%s needs a value: %s",
				    option->name, option->argument);
		value = parser->argv[++parser->index];
	}
	return set_option(parser, option, value);
}

/* What a shell, openssl and a terminal take as it is. */
static int add_name(const struct parser *parser, const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-._:*";
	struct options *options = parser->options;
	const size_t length = strspn(name, letters);

	if (!length || name[length] || length > DOMAIN_NAME_MAX)
		return fail(parser,
			    "check %.64s: NAME or an IP address is "
			    "needed",
			    name);
	if (options->name_count == OPTIONS_MAX_NAMES)
		return fail(parser, "check takes %d names at most",
			    OPTIONS_MAX_NAMES);
	options->names[options->name_count++] = name;
	return 0;
}

static int parse_operation(struct parser *parser)
{
	const char *word = parser->argv[parser->index];
	enum operation *operation = &parser->options->operation;

	if (parser->takes_names)
		return add_name(parser, word);
	if (parser->operation_seen)
		return fail(parser, "one operation at a time, '%s' is too many",
			    word);
	for (size_t i = 0; i < operation_count; i++) {
		if (!operation_table[i].help ||
		    strcmp(word, operation_table[i].name) != 0)
			continue;
		/* --help and --version win over an operation. */
		if (operation_table[*operation].help)
			*operation = (enum operation)i;
		parser->operation_seen = true;
		parser->takes_names = i == OPERATION_CHECK;
		return 0;
	}
	return fail(parser,
		    "unknown operation '%s': start, stop, status, check or "
		    "run is needed",
		    word);
}

/* Is every option that was said for this operation? */
static int check_operations(const struct parser *parser)
{
	const enum operation operation = parser->options->operation;

	for (size_t i = 0; i < option_count; i++) {
		if (parser->said >> i & 1 && operation_table[operation].help &&
		    !(option_table[i].operations >> operation & 1))
			return fail(parser, "%s does not take --%s",
				    operation_table[operation].name,
				    option_table[i].name);
	}
	return 0;
}

static int check_names(const struct parser *parser)
{
	const struct options *options = parser->options;

	if (options->operation != OPERATION_CHECK)
		return 0;
	if (options->name_count == 0)
		return fail(parser, "check needs a NAME");
	if (options->serve && options->name_count > 1)
		return fail(parser, "check --serve takes one NAME");
	if (options->wait_ms && !options->serve)
		return fail(parser, "check --wait needs --serve");
	return 0;
}

/* Do the words fit each other? */
static int check(const struct parser *parser)
{
	const struct options *options = parser->options;
	const enum operation operation = options->operation;

	if (!parser->operation_seen && operation == OPERATION_START)
		return fail(parser, "an operation is needed: start, stop, "
				    "status, check or run (see --help)");
	if (operation == OPERATION_RUN &&
	    !(options->command && *options->command))
		return fail(parser, "run needs a command after --");
	if (options->command && operation != OPERATION_RUN)
		return fail(parser, "only run takes a command after --");
	if (options->service_port == options->listen_port)
		return fail(parser, "--port and --listen must differ");
	if (options->json && options->prometheus)
		return fail(parser,
			    "--json and --prometheus exclude each other");
	return check_names(parser) ? -EINVAL : check_operations(parser);
}

static void set_defaults(struct options *options,
			 const char *(*environment)(const char *name))
{
	const char *pidfile = environment("ACME_ALPN_PROXY_PIDFILE");
	const char *rulespec = environment("ACME_ALPN_PROXY_RULESPEC");
	const char *disable_ipv6 = environment("ACME_ALPN_PROXY_DISABLEV6");

	*options = (struct options){
		.alpn = "127.0.0.1:31443",
		.pidfile = "/var/run/acme-alpn-proxy.pid",
		.user = "nobody",
		.service_port = 443,
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
	struct parser parser = {
		.options = options,
		.argc = argc,
		.argv = argv,
		.error = error,
	};
	const char *word;
	int err = 0;

	set_defaults(options, environment);
	for (parser.index = 1; parser.index < argc && !err; parser.index++) {
		word = argv[parser.index];
		if (strcmp(word, "--") == 0) {
			options->command = argv + parser.index + 1;
			break;
		}
		if (word[0] == '-' && word[1])
			err = parse_option(&parser);
		else
			err = parse_operation(&parser);
	}
	options->default_fallback = !options->fallback;
	if (options->default_fallback)
		options->fallback = "127.0.0.1:443";
	options->any_listen_port = options->listen_port == 0;
	if (options->any_listen_port)
		options->listen_port = 21443;
	return err ? err : check(&parser);
}

/* The second column once more, on the next line. */
#define HELP_BELOW "\n                          "

static void print_option(FILE *stream, const struct option_description *option)
{
	const bool optional = option->kind == OPTION_OPTIONAL_SECONDS;
	const char *argument = option->argument ? option->argument : "";
	char left[64];

	if (option->heading)
		fprintf(stream, "\n%s:\n", option->heading);
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

void options_print_help(FILE *stream)
{
	fputs("Usage: acme-alpn-proxy [OPTION...] start|stop|status\n"
	      "       acme-alpn-proxy [OPTION...] check NAME...\n"
	      "       acme-alpn-proxy [OPTION...] run -- COMMAND [ARGUMENT...]\n\n"
	      "Answer TLS-ALPN-01 challenges on port 443 beside a running web "
	      "server.\n\nOperations:\n",
	      stream);
	for (size_t i = 0; i < operation_count; i++)
		if (operation_table[i].help)
			fprintf(stream, "  %-24s %s\n", operation_table[i].name,
				operation_table[i].help);
	fputs("\nOptions: -x and --x alike, before or after the operation\n",
	      stream);
	for (size_t i = 0; i < option_count; i++)
		print_option(stream, &option_table[i]);
	fputs("\nEnvironment:\n"
	      "  ACME_ALPN_PROXY_PIDFILE    /var/run/acme-alpn-proxy.pid\n"
	      "  ACME_ALPN_PROXY_RULESPEC   the iptables rule, after -A "
	      "PREROUTING\n"
	      "  ACME_ALPN_PROXY_DISABLEV6  y: leave IPv6 alone\n"
	      "\nExit codes: 0 done, 1 failed, 2 usage, 3 status: not running\n",
	      stream);
}
