// SPDX-License-Identifier: MIT
#include "command/command.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/signals.h"
#include "instance/pidfile.h"
#include "instance/recovery.h"
#include "status/report.h"
#include "supervisor/supervisor.h"

/* The grace, and an iptables that waits long for its lock. */
#define STOP_TIMEOUT_MS 90000
/* The pidfile is looked at so often, and a line shown every few times. */
#define TURN_MS	     20
#define TURNS_A_LINE 25

static int report_still_open(const struct options *options)
{
	log_error("connections are still open after %u s; they go on, and end "
		  "with the drain timeout at the latest",
		  options->wait_ms / 1000);
	return EXIT_CODE_FAILED;
}

/* Nobody runs and we hold the pidfile: leave nothing behind. */
static int clean_up(const struct options *options, struct pidfile *pidfile)
{
	const struct redirect_config config = redirect_config_of(options);
	const struct recovery recovery = {
		.pidfile = pidfile,
		.config = &config,
		.with_rules = options->redirect != REDIRECT_NONE,
		.timeout_ms = SUPERVISOR_GRACE_MS + SUPERVISOR_CLOSE_MS,
	};

	cleanup_fd int left = -1;

	/* A pidfile that stays tells the next attempt that work is left. */
	if (recover(&recovery)) {
		close_fd_at(&pidfile->fd);
		return EXIT_CODE_FAILED;
	}
	left = pidfile_leave(pidfile);
	if (!options->wait_ms)
		return EXIT_CODE_DONE;
	/* Another stop took us for an instance while we held the pidfile. */
	while (signals_wait(0))
		;
	signals_release();
	return pidfile_wait_for_workers(left, options->wait_ms)
		       ? report_still_open(options)
		       : EXIT_CODE_DONE;
}

/*
 * One line, written over and over; gone when there is nothing to wait for any
 * more. Nothing is left of the grace where others delay the end.
 */
static void show_grace(uint64_t began_ns)
{
	const uint64_t passed_ms = (monotonic_ns() - began_ns) / NS_PER_MS;

	fprintf(stderr,
		"\rwaiting for handshakes that are under way, seconds left: "
		"%llu\x1b[K",
		passed_ms < SUPERVISOR_GRACE_MS
			? (SUPERVISOR_GRACE_MS - passed_ms + 999ull) / 1000
			: 0ull);
}

static void clear_line(void)
{
	fputs("\r\x1b[K", stderr);
}

/* Wait until @first holds the pidfile no more, at most until @deadline. */
static int wait_for_release(const char *path,
			    const struct pidfile_holder *first,
			    uint64_t deadline)
{
	const uint64_t began = monotonic_ns();
	const bool terminal = isatty(STDERR_FILENO);
	struct pidfile_holder holder;
	unsigned int turn = 0;
	int err;

	for (;;) {
		err = pidfile_query(path, &holder);
		if (err || holder.state == PIDFILE_FREE ||
		    holder.pid != first->pid)
			break;
		if (monotonic_ns() >= deadline) {
			err = -ETIMEDOUT;
			break;
		}
		if (terminal && turn++ % TURNS_A_LINE == 0)
			show_grace(began);
		poll(NULL, 0, TURN_MS);
	}
	if (turn)
		clear_line();
	return err;
}

/* What is told of the drain, and to whom. */
struct progress {
	/* A connection to the instance's status, or -1. */
	int fd;
	/* One line is written over and over, rather than one for all. */
	bool terminal;
	bool silent;
	bool told;
	/* As the last report has it; some before the first one. */
	uint64_t open;
};

static void open_progress(const struct options *options,
			  struct progress *progress)
{
	struct status_report first;
	char path[BACKEND_TEXT_SIZE];
	cleanup_fd int fd = -1;

	*progress = (struct progress){
		.fd = -1,
		.terminal = isatty(STDERR_FILENO),
		.open = 1,
	};
	/* Who calls run does not expect that it waits. */
	progress->silent = !progress->terminal &&
			   options->operation != OPERATION_RUN;
	if (!options->wait_ms ||
	    status_socket_path(options->pidfile, path, sizeof(path)) < 0)
		return;
	fd = status_socket_connect(path);
	/* An instance that has answered will tell more. */
	if (fd >= 0 && status_socket_read(fd, &first) == 0)
		progress->fd = steal_fd(&fd);
}

static void show_progress(struct progress *progress,
			  const struct status_report *report, uint64_t left_ms)
{
	const unsigned long long open = report->totals.open_connections;
	unsigned long long left_s;

	progress->open = open;
	if (progress->silent)
		return;
	if (report->drain_left_ms < left_ms)
		left_ms = report->drain_left_ms;
	left_s = (left_ms + 999) / 1000;
	if (progress->terminal && !open)
		fputs("\rwaiting for handshakes that are under way\x1b[K",
		      stderr);
	else if (progress->terminal)
		fprintf(stderr,
			"\rconnections left: %llu, seconds left: %llu\x1b[K",
			open, left_s);
	else if (open && !progress->told)
		log_info("waiting for %llu connections to end, at most %llu s",
			 open, left_s);
	progress->told |= progress->terminal || open;
}

/* The line on a terminal is gone when there is nothing to tell. */
static void end_progress(struct progress *progress)
{
	if (progress->terminal && progress->told)
		clear_line();
	close_fd_at(&progress->fd);
}

/* Show how it goes, until the process ends or @deadline. Returns whether it has
 * ended. */
static bool watch_drain(int process, struct progress *progress,
			uint64_t deadline)
{
	struct pollfd fds[] = {
		{ .fd = process, .events = POLLIN },
		{ .fd = progress->fd, .events = POLLIN },
	};
	struct status_report report;
	int left_ms;

	while ((left_ms = ms_until(deadline)) > 0) {
		if (poll(fds, ARRAY_SIZE(fds), left_ms) < 0)
			continue;
		if (fds[0].revents & POLLIN)
			return true;
		if (!fds[1].revents)
			continue;
		if (status_socket_read(progress->fd, &report) < 0)
			fds[1].fd = -1;
		else
			show_progress(progress, &report, (uint64_t)left_ms);
	}
	return false;
}

static int wait_for_drain(const struct options *options, int process,
			  struct progress *progress)
{
	uint64_t deadline = monotonic_ns() + options->wait_ms * NS_PER_MS;
	bool ended;

	if (!options->wait_ms)
		return EXIT_CODE_DONE;
	ended = watch_drain(process, progress, deadline);
	end_progress(progress);
	/* A handshake that is under way may be nobody's. */
	return ended || !progress->open ? EXIT_CODE_DONE
					: report_still_open(options);
}

static int stop_running(const struct options *options,
			const struct pidfile_holder *holder)
{
	uint64_t deadline = monotonic_ns() + STOP_TIMEOUT_MS * NS_PER_MS;
	cleanup_fd int process = -1;
	struct progress progress;
	int err;

	if (!holder->pid) {
		log_error("%s is held by a process of another pid namespace: "
			  "stop it there",
			  options->pidfile);
		return EXIT_CODE_FAILED;
	}
	open_progress(options, &progress);
	err = pidfile_signal_holder(options->pidfile, holder, SIGINT, &process);
	signals_release();
	if (err && err != -ESRCH) {
		log_failure(err, "cannot stop process %d", holder->pid);
		return EXIT_CODE_FAILED;
	}
	err = wait_for_release(options->pidfile, holder, deadline);
	if (err) {
		log_error("process %d does not stop (%s): its log says why",
			  holder->pid, error_text(err));
		return EXIT_CODE_FAILED;
	}
	if (process < 0)
		return EXIT_CODE_DONE;
	log_info("stopped: the redirect is gone");
	return wait_for_drain(options, process, &progress);
}

/*
 * While we hold the pidfile, another stop takes us for an instance and sends
 * us SIGINT, which must not end the cleaning half way. Nor may any other signal
 * come before the instance is told to stop.
 */
static int acquire_undisturbed(struct pidfile *pidfile, const char *path,
			       struct pidfile_holder *holder)
{
	signals_hold(NULL);
	return pidfile_acquire(pidfile, path, holder);
}

int command_stop(const struct options *options)
{
	struct pidfile_holder holder;
	struct pidfile pidfile;
	int code;
	int err;

	if (!caps_have(CAP_NET_ADMIN) && options->redirect != REDIRECT_NONE) {
		log_error("must be root (or have CAP_NET_ADMIN) to stop");
		return EXIT_CODE_FAILED;
	}
	err = acquire_undisturbed(&pidfile, options->pidfile, &holder);
	if (err == -EALREADY) {
		code = stop_running(options, &holder);
		if (code != EXIT_CODE_DONE)
			return code;
		/* It may have been killed on the way, or another started. */
		err = acquire_undisturbed(&pidfile, options->pidfile, &holder);
		if (err == -EALREADY)
			return EXIT_CODE_DONE;
	} else if (!err) {
		log_info("not running");
	}
	if (!err)
		return clean_up(options, &pidfile);
	report_pidfile_error(options->pidfile, err);
	return EXIT_CODE_FAILED;
}
