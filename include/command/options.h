/* SPDX-License-Identifier: MIT */
/*
 * The command line and the environment, as declarative tables.
 *
 * Pure: reads its arguments, writes its result, does no I/O.
 */
#ifndef COMMAND_OPTIONS_H
#define COMMAND_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "hello/domain_list.h"
#include "proxy/proxy_header.h"

/* How often --interface and --netns may be said. */
#define OPTIONS_MAX_REPEATED 32
#define OPTIONS_MAX_NAMES    100

/*
 * The operations, once: X(ENUMERATOR, name, help), each done by the function
 * command_name() of command.h. Those without help are asked for by options.
 */
#define OPERATIONS(X)                                                        \
	X(START, start, "put the redirect in place and serve until stopped") \
	X(STOP, stop, "take the redirect away; what is open goes on")        \
	X(STATUS, status, "say whether it runs (exit code 3: no)")           \
	X(CHECK, check, "say whether a validation of NAME... can come here") \
	X(RUN, run, "start, run the command after --, stop; its exit code")  \
	X(HELP, help, NULL)                                                  \
	X(VERSION, version, NULL)

enum operation {
#define OPERATION(enumerator, name, help) OPERATION_##enumerator,
	OPERATIONS(OPERATION)
#undef OPERATION
};

enum redirect_choice {
	/* The first that works: handoff, steer, iptables. */
	REDIRECT_AUTOMATIC,
	/* In the order of --redirect's words. */
	REDIRECT_BPF,
	REDIRECT_HANDOFF,
	REDIRECT_STEER,
	REDIRECT_IPTABLES,
	REDIRECT_NONE,
};

enum log_format {
	LOG_FORMAT_TEXT,
	LOG_FORMAT_JSON,
};

struct options {
	enum operation operation;
	enum redirect_choice redirect;
	/* See backend_resolve(); not yet looked up. */
	const char *alpn;
	const char *fallback;
	/* It was not said. */
	bool default_fallback;
	enum proxy_protocol alpn_proxy_protocol;
	enum proxy_protocol fallback_proxy_protocol;
	const char *pidfile;
	const char *user;
	/* A path, "-" for standard error, or NULL: standard error if that is
	 * a terminal or the journal, else the default file. */
	const char *log_file;
	enum log_format log_format;
	/* ACME_ALPN_PROXY_RULESPEC, or NULL. */
	const char *rulespec;
	const char *interfaces[OPTIONS_MAX_REPEATED];
	size_t interface_count;
	const char *namespaces[OPTIONS_MAX_REPEATED];
	size_t namespace_count;
	struct domain_list domains;
	unsigned int service_port;
	unsigned int listen_port;
	/* --listen was not said: another will do. */
	bool any_listen_port;
	unsigned int drain_timeout_ms;
	unsigned int hello_timeout_ms;
	/* Of all workers together; UINT_MAX: as many as descriptors allow. */
	unsigned int max_connections;
	/* 0: one for each core that we may run on. */
	unsigned int workers;
	/* --wait: of stop, how long for the drain; of check --serve, for the
	 * proof; 0 without --wait. */
	unsigned int wait_ms;
	bool disable_ipv6;
	bool daemon;
	bool verbose;
	/* status: how it is written; both false is text. check: the first. */
	bool json;
	bool prometheus;
	/* status: again each second. */
	bool watch;
	/* check: whose validations; with @serve there is one. */
	const char *names[OPTIONS_MAX_NAMES];
	size_t name_count;
	bool serve;
	/* run: what comes after "--", NULL-terminated. */
	char *const *command;
};

/* What an option does. */
enum option_kind {
	/* Sets a bool. */
	OPTION_FLAG,
	/* Sets enum redirect_choice to @value; with an argument, like
	 * OPTION_CHOICE. */
	OPTION_REDIRECT,
	/* Sets enum operation to @value, whatever else is said. */
	OPTION_OPERATION,
	/* Sets a const char *. */
	OPTION_TEXT,
	/* The same; see address_split(). */
	OPTION_ADDRESS,
	/* Sets an enum: to @value for the first of the words of @argument,
	 * which | separates, and to the next ones for the others. */
	OPTION_CHOICE,
	/* Appends to interfaces[]. */
	OPTION_INTERFACE,
	/* Appends to namespaces[]. */
	OPTION_NAMESPACE,
	/* Appends to domains. */
	OPTION_DOMAIN,
	/* Sets an unsigned int from 1 to @value. */
	OPTION_NUMBER,
	/* The same, or "auto" for 0. */
	OPTION_NUMBER_OR_AUTO,
	/* Seconds, decimals allowed, kept in ms; up to @value seconds. */
	OPTION_SECONDS,
	/* The same with an optional "=SEC"; alone it means the most. */
	OPTION_OPTIONAL_SECONDS,
};

struct option_description {
	/* Of the options from this one on, in help; or NULL: as before. */
	const char *heading;
	const char *name;
	/* One more name, or NULL. */
	const char *alias;
	/* What help shows for the argument, or NULL if there is none. */
	const char *argument;
	const char *help;
	/* Bits (1 << enum operation) of those that take it. */
	unsigned int operations;
	/* Of what it sets in struct options. */
	size_t offset;
	enum option_kind kind;
	unsigned int value;
};

struct operation_description {
	const char *name;
	/* NULL: asked for by an option, and no word of the command line. */
	const char *help;
};

/* Every option and operation, once: what parsing, --help and the shells'
 * completion are made from. */
extern const struct option_description option_table[];
extern const size_t option_count;
/* By enum operation. */
extern const struct operation_description operation_table[];
extern const size_t operation_count;

/* Room for options_parse()'s message. */
#define OPTIONS_ERROR_SIZE 256

/*
 * Fill @options with defaults, then from the environment (@environment
 * answers like getenv(3)), then from @argv; later wins. All strings stay the
 * caller's. Returns 0, or -EINVAL with one line in @error.
 */
int options_parse(struct options *options, int argc, char *const argv[],
		  const char *(*environment)(const char *name),
		  char error[static OPTIONS_ERROR_SIZE]);

/* Print the help text, made from the same table. */
void options_print_help(FILE *stream);

#endif
