// SPDX-License-Identifier: MIT
/*
 * options_parse() on any command line and environment: an error always has
 * its one line, and what is taken is within the limits that the rest of the
 * program relies on.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "command/options.h"

#define MAXIMUM_WORDS 64
/* The variables that options_parse() asks for. */
#define VARIABLES 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *values[VARIABLES];

static void check(bool condition)
{
	if (!condition)
		abort();
}

static const char *environment(const char *name)
{
	static const char *const names[VARIABLES] = {
		"ACME_ALPN_PROXY_PIDFILE",
		"ACME_ALPN_PROXY_RULESPEC",
		"ACME_ALPN_PROXY_DISABLEV6",
	};

	for (size_t i = 0; i < VARIABLES; i++) {
		if (strcmp(name, names[i]) == 0)
			return values[i];
	}
	return NULL;
}

static void check_result(const struct options *options)
{
	check(options->alpn && *options->alpn);
	check(options->fallback && *options->fallback);
	check(options->fallback_proxy_protocol <= PROXY_PROTOCOL_V2);
	check(options->alpn_proxy_protocol <= PROXY_PROTOCOL_V2);
	check(options->pidfile && *options->pidfile);
	check(options->user && *options->user);
	check(!options->log_file || *options->log_file);
	check(!options->rulespec || *options->rulespec);
	check(options->interface_count <= OPTIONS_MAX_REPEATED);
	check(options->domains.count <= DOMAIN_LIST_MAX);
	check(options->service_port >= 1 && options->service_port <= 65535);
	check(options->listen_port >= 1 && options->listen_port <= 65535);
	check(options->service_port != options->listen_port);
	check(options->drain_timeout_ms >= 1);
	check(options->hello_timeout_ms >= 1 &&
	      options->hello_timeout_ms <= 3600999);
	check(options->max_connections >= 1);
	check(options->max_connections <= 1000000 ||
	      options->max_connections == UINT_MAX);
	check(!(options->json && options->prometheus));
	check(options->operation != OPERATION_RUN ||
	      (options->command && *options->command));
}

/* Words end with a zero byte: three values, then the arguments. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[] = "acme-alpn-proxy";
	char *words[MAXIMUM_WORDS + 2] = { name };
	char error[OPTIONS_ERROR_SIZE] = "";
	char *text = malloc(size + 1);
	struct options options;
	size_t position = 0;
	int count = 1;
	int err;

	check(text);
	memcpy(text, data, size);
	text[size] = '\0';
	for (size_t i = 0; i < VARIABLES; i++) {
		values[i] = position < size ? text + position : NULL;
		position += position < size ? strlen(text + position) + 1 : 0;
	}
	while (position < size && count <= MAXIMUM_WORDS) {
		words[count++] = text + position;
		position += strlen(text + position) + 1;
	}

	err = options_parse(&options, count, words, environment, error);
	check(err == 0 || err == -EINVAL);
	if (err)
		check(*error && memchr(error, '\0', sizeof(error)));
	else
		check_result(&options);
	free(text);
	return 0;
}
