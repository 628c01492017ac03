// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "log.h"
#include "options.h"

static const char *environment(const char *name)
{
	return getenv(name);
}

int main(int argc, char *argv[])
{
	char error[OPTIONS_ERROR_SIZE];
	struct options options;

	if (options_parse(&options, argc, argv, environment, error) < 0) {
		fprintf(stderr, "acme-alpn-proxy: %s\n", error);
		return EXIT_CODE_USAGE;
	}
	if (options.verbose)
		log_settings.level = LOG_LEVEL_DEBUG;

	switch (options.operation) {
	case OPERATION_START:
		return command_start(&options);
	case OPERATION_STOP:
		return command_stop(&options);
	case OPERATION_STATUS:
		return command_status(&options);
	case OPERATION_RUN:
		return command_run(&options);
	case OPERATION_HELP:
		options_print_help(stdout);
		return EXIT_CODE_DONE;
	case OPERATION_VERSION:
		printf("acme-alpn-proxy %s\n", VERSION);
		return EXIT_CODE_DONE;
	}
	return EXIT_CODE_USAGE;
}
