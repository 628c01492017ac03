// SPDX-License-Identifier: MIT
#include "supervisor/worker.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/control.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"

static int compare_fds(const void *left, const void *right)
{
	return *(const int *)left - *(const int *)right;
}

/* Leave no number below @highest free: both descriptors of a connection are
 * neighbours then, and closed by one call. */
static void fill_gaps(int highest)
{
	int fd;

	do {
		fd = dup(STDIN_FILENO);
	} while (fd >= 0 && fd < highest);
	close(fd);
}

/* Close all but @kept, which is sorted on the way; -1 entries are skipped. */
static void close_all_but(int *kept, size_t count)
{
	int first = 0;

	/* Equal entries (the log on standard error) do no harm below. */
	qsort(kept, count, sizeof(*kept), compare_fds);
	for (size_t i = 0; i < count; i++) {
		if (kept[i] < 0)
			continue;
		if (kept[i] > first)
			close_between(first, kept[i] - 1);
		first = kept[i] + 1;
	}
	close_between(first, INT_MAX);
}

/*
 * The terminal's signals are for the supervisor, which then tells us: in a
 * session of our own, not even Ctrl-Z keeps us from serving. SIGTERM is the
 * proxy's own.
 */
static void leave_terminal(void)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;

	setsid();
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGHUP, &ignore, NULL);
	sigaction(SIGQUIT, &ignore, NULL);
	/* The supervisor sends the new log file. */
	sigaction(SIGUSR1, &ignore, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

__attribute__((noreturn)) static void
run_worker(const struct worker_settings *settings, pid_t supervisor,
	   int control_fd)
{
	struct proxy_environment environment = settings->proxy;
	int err;

	environment.control_fd = control_fd;
	leave_terminal();
	/* The hook runner waits for the end of file on this one. */
	log_settings.echo_fd = -1;
	detach_standard_fds(log_settings.fd);
	int kept[] = { STDIN_FILENO,
		       STDOUT_FILENO,
		       STDERR_FILENO,
		       log_settings.fd,
		       environment.listeners.ipv4,
		       environment.listeners.ipv6,
		       control_fd,
		       settings->redirect_fd };
	close_all_but(kept, ARRAY_SIZE(kept));
	fill_gaps(kept[ARRAY_SIZE(kept) - 1]);
	/* Closing the supervisor's descriptor takes all locks along: so now. */
	err = pidfile_lock_worker(settings->pidfile);
	if (err < 0)
		log_warning("worker: cannot lock %s: %s",
			    settings->pidfile->path, error_text(err));
	/* Killed before the lock was there, by which we would be found. No
	 * redirect leads to a worker that is not ready. */
	if (getppid() != supervisor)
		_exit(EXIT_FAILURE);

	err = confine(&settings->confinement);
	if (err < 0) {
		log_failure(err, "worker: cannot give up its rights "
				 "(CAP_SETUID and CAP_SETGID are needed)");
		_exit(EXIT_FAILURE);
	}
	atomic_store(&environment.counters->confinement, (unsigned int)err);
	err = log_failure(proxy_run(&environment), "worker");
	_exit(err ? EXIT_FAILURE : EXIT_SUCCESS);
}

int worker_start(struct worker *worker, const struct worker_settings *settings)
{
	const pid_t supervisor = getpid();
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		       0, sockets) < 0)
		return -errno;
	worker->pid = fork();
	if (worker->pid < 0) {
		int err = -errno;

		close(sockets[0]);
		close(sockets[1]);
		worker->pid = 0;
		return err;
	}
	if (worker->pid == 0)
		run_worker(settings, supervisor, sockets[1]);
	close(sockets[1]);
	worker->control_fd = sockets[0];
	return 0;
}

int worker_receive(const struct worker *worker, int timeout_ms)
{
	struct pollfd waiting = { .fd = worker->control_fd, .events = POLLIN };
	unsigned char message;
	ssize_t length;

	if (poll(&waiting, 1, timeout_ms) <= 0)
		return 0;
	length = recv(worker->control_fd, &message, sizeof(message), 0);
	if (length == 1)
		return message;
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return -EPIPE;
}

int worker_send(const struct worker *worker, enum proxy_message message, int fd)
{
	int err;

	if (!worker->pid)
		return -ESRCH;
	err = control_send(worker->control_fd, (unsigned char)message, fd);
	if (err)
		log_debug("worker %d does not listen: %s", worker->pid,
			  error_text(err));
	return err;
}

int worker_reap(struct worker *worker)
{
	int status = 0;

	if (!worker->pid)
		return 0;
	kill(worker->pid, SIGKILL);
	while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	worker->pid = 0;
	close_fd_at(&worker->control_fd);
	return status;
}
