/* SPDX-License-Identifier: MIT */
/* The operations of the command line; each returns the exit code. */
#ifndef COMMAND_COMMAND_H
#define COMMAND_COMMAND_H

#include <signal.h>

#include "command/options.h"
#include "redirect/redirect.h"

enum exit_code {
	EXIT_CODE_DONE = 0,
	EXIT_CODE_FAILED = 1,
	EXIT_CODE_USAGE = 2,
	/* status only */
	EXIT_CODE_NOT_RUNNING = 3,
	/* start_instance() only: users get EXIT_CODE_DONE for it. */
	EXIT_CODE_ALREADY_RUNNING = 4,
};

/* command_start(), command_stop(), ... as the command line names them. */
#define COMMAND(enumerator, name, help) \
	int command_##name(const struct options *options);
OPERATIONS(COMMAND)
#undef COMMAND

/* As command_start(), but tells whether the instance that serves is another's. */
int start_instance(const struct options *options);

/*
 * Start in the background, unless an instance runs, do @work, and stop what was
 * started. Returns the start's exit code if it failed, or that of @work, or if
 * it is 0 the stop's. Stop signals are held, and read from @signal_fd.
 */
int while_serving(const struct options *options,
		  int (*work)(void *context, const sigset_t *stop_signals,
			      int signal_fd),
		  void *context);

/*
 * The redirect that start takes: the best of those that were asked for which
 * works here; why the better ones do not is logged. NULL (logged) if none does.
 * *@redirect is what its probe() left, for open() or close(), or NULL.
 */
const struct redirect_ops *choose_redirect(const struct options *options,
					   const struct redirect_config *config,
					   struct redirect **redirect);

/* What the options say of the redirect; strings stay the options'. */
struct redirect_config redirect_config_of(const struct options *options);

/* One clear message for a pidfile that cannot be used. */
void report_pidfile_error(const char *path, int err);

#endif
