// SPDX-License-Identifier: MIT
#include "command/command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/signals.h"
#include "base/spawn.h"

/* Longer than the drain may take to end after its timeout. */
#define DRAIN_MARGIN_MS 10000

static int exit_code_of(pid_t child)
{
	int status = spawn_reap(child);

	return status < 0 ? EXIT_CODE_FAILED : status;
}

/* `start --daemon` in a process of its own, which ends when it is ready. */
static int start_in_background(const struct options *options)
{
	struct options start = *options;
	pid_t child;

	start.operation = OPERATION_START;
	start.daemon = true;
	child = fork();
	if (child < 0) {
		log_failure(-errno, "cannot fork");
		return EXIT_CODE_FAILED;
	}
	if (child == 0)
		_exit(start_instance(&start));
	return exit_code_of(child);
}

/*
 * Pass stop signals on to the command, and outlive it whatever comes: the
 * redirect must be taken away.
 */
static void wait_and_forward(int process, int signal_fd)
{
	struct pollfd fds[] = {
		{ .fd = process, .events = POLLIN },
		{ .fd = signal_fd, .events = POLLIN },
	};
	int signal_number;
	bool typed;

	while (!(fds[0].revents & POLLIN)) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return;
		signal_number = signals_read(signal_fd, &typed);
		/* The command has got what was typed. */
		if (signal_number && !typed)
			pidfd_send_signal(process, signal_number, NULL, 0);
	}
}

static int run_command(void *context, const sigset_t *stop_signals,
		       int signal_fd)
{
	char *const *command = context;
	cleanup_fd int process = -1;
	posix_spawnattr_t attributes;
	sigset_t changed = *stop_signals;
	sigset_t none;
	pid_t child;
	int err;

	sigaddset(&changed, SIGPIPE);
	sigaddset(&changed, SIGXFSZ);
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &changed);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF);
	err = posix_spawnp(&child, command[0], NULL, &attributes, command,
			   environ);
	posix_spawnattr_destroy(&attributes);
	if (err) {
		log_failure(-err, "cannot run %s", command[0]);
		return EXIT_CODE_FAILED;
	}
	process = pidfd_open(child, 0);
	if (process >= 0)
		wait_and_forward(process, signal_fd);
	return exit_code_of(child);
}

/*
 * What still drains must not outlive us: a systemd unit, a container or a login
 * session that ends with us would end it at once.
 */
static int stop_and_wait(const struct options *options)
{
	struct options stop = *options;

	if (!stop.wait_ms)
		stop.wait_ms = stop.drain_timeout_ms + DRAIN_MARGIN_MS;
	return command_stop(&stop);
}

int while_serving(const struct options *options,
		  int (*work)(void *context, const sigset_t *stop_signals,
			      int signal_fd),
		  void *context)
{
	cleanup_fd int signal_fd = -1;
	sigset_t stop_signals;
	int start_code;
	int stop_code;
	int code;

	/* Before the start: one in the middle of it must not keep us from the
	 * stop. It goes to the work then. */
	signals_hold(&stop_signals);
	signal_fd = signals_open(0);
	start_code = start_in_background(options);
	if (start_code != EXIT_CODE_DONE &&
	    start_code != EXIT_CODE_ALREADY_RUNNING)
		return start_code;

	code = work(context, &stop_signals, signal_fd);
	/* Whoever started it before us will stop it. */
	if (start_code == EXIT_CODE_ALREADY_RUNNING)
		return code;
	stop_code = stop_and_wait(options);
	return code ? code : stop_code;
}

int command_run(const struct options *options)
{
	return while_serving(options, run_command, (void *)options->command);
}
