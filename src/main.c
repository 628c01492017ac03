// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/log_file.h"
#include "command/command.h"
#include "command/options.h"

static const char *environment(const char *name)
{
	return getenv(name);
}

/*
 * What a parent may hand down that would harm us: closed standard descriptors
 * (their numbers would go to sockets and to the pidfile), an ignored SIGCHLD
 * (no exit status of a child), and a death by the next line of log when its
 * reader has gone or a limit of file sizes is met.
 */
static bool set_right_what_was_inherited(void)
{
	const struct sigaction standard = { .sa_handler = SIG_DFL };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	int fd;

	sigaction(SIGCHLD, &standard, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
	do {
		fd = open_null();
	} while (fd >= 0 && fd <= STDERR_FILENO && fcntl(fd, F_SETFD, 0) == 0);
	if (fd < 0) {
		log_failure(fd, "cannot open /dev/null");
		return false;
	}
	close(fd);
	return true;
}

/* What was printed and cannot be written was not told. */
static int finish_output(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	log_error("cannot write to standard output");
	return EXIT_CODE_FAILED;
}

int command_help(const struct options *options)
{
	(void)options;
	options_print_help(stdout);
	return EXIT_CODE_DONE;
}

static int (*const commands[])(const struct options *options) = {
#define COMMAND(enumerator, name, help) command_##name,
	OPERATIONS(COMMAND)
#undef COMMAND
};

int main(int argc, char *argv[])
{
	char error[OPTIONS_ERROR_SIZE];
	struct options options;

	if (!set_right_what_was_inherited())
		return EXIT_CODE_FAILED;
	if (options_parse(&options, argc, argv, environment, error) < 0) {
		fprintf(stderr, "acme-alpn-proxy: %s\n", error);
		return EXIT_CODE_USAGE;
	}
	if (options.verbose)
		log_settings.level = LOG_LEVEL_DEBUG;
	log_settings.json = options.log_format == LOG_FORMAT_JSON;
	log_settings.priorities = log_file_is_journal();

	return finish_output(commands[options.operation](&options));
}
