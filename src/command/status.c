// SPDX-License-Identifier: MIT
#include "command.h"

#include <stdio.h>

#include "pidfile.h"

int command_status(const struct options *options)
{
	static const char *const state_text[] = {
		[PIDFILE_FREE] = "not running",
		[PIDFILE_STARTING] = "starting",
		[PIDFILE_RUNNING] = "running",
		[PIDFILE_STOPPING] = "stopping",
	};
	struct pidfile_holder holder;
	int err;

	err = pidfile_query(options->pidfile, &holder);
	if (err) {
		report_pidfile_error(options->pidfile, err);
		return EXIT_CODE_FAILED;
	}
	if (holder.pid)
		printf("%s as %d\n", state_text[holder.state], holder.pid);
	else
		printf("%s\n", state_text[holder.state]);
	return holder.state == PIDFILE_RUNNING ? EXIT_CODE_DONE
					       : EXIT_CODE_NOT_RUNNING;
}
