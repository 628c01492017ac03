// SPDX-License-Identifier: MIT
#include "base/spawn.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

#define TIMEOUT_NS (60 * NS_PER_S)
/* As the shell has it. */
#define EXIT_NOT_RUN 127
#define ADMIN_PATHS  "/usr/local/sbin:/usr/sbin:/sbin"

static bool is_program(const char *path)
{
	return access(path, X_OK) == 0;
}

static char *find_in(const char *folders, const char *name)
{
	while (folders && *folders) {
		size_t length = strcspn(folders, ":");
		char *path;

		/* An empty entry means the working directory; root does not
		 * look for programs there. */
		if (folders[0] == '/') {
			if (asprintf(&path, "%.*s/%s", (int)length, folders,
				     name) < 0)
				return NULL;
			if (is_program(path))
				return path;
			free(path);
		}
		folders += length;
		folders += *folders == ':';
	}
	return NULL;
}

char *spawn_find(const char *name)
{
	char *path = find_in(getenv("PATH"), name);

	return path ? path : find_in(ADMIN_PATHS, name);
}

/*
 * In the child. Not every descriptor here is ours and close-on-exec: a hook
 * runner leaves its own open. If @parent is killed, it ends as well: whoever
 * undoes what that has made does not expect more of it to come.
 */
static _Noreturn void become(pid_t parent, const char *path, char *const argv[],
			     int input, int output, int error)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_NOT_RUN);
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	dup2(input, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(error, STDERR_FILENO);
	close_between(STDERR_FILENO + 1, INT_MAX);
	execv(path, argv);
	_exit(EXIT_NOT_RUN);
}

/* Start the program with these streams; returns its pid or negative errno. */
static pid_t start(const char *path, char *const argv[], int output, int error)
{
	cleanup_fd int input = open_null();
	const pid_t parent = getpid();
	pid_t pid;

	if (input < 0)
		return input;
	if (!is_program(path))
		return -errno;
	pid = fork();
	if (pid == 0)
		become(parent, path, argv, input, output, error);
	return pid < 0 ? -errno : pid;
}

int spawn_reap(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : SPAWN_SIGNALED + WTERMSIG(status);
}

/*
 * See a started program through to its end, killing it if we must. Returns the
 * exit status as the shell counts it, or negative errno.
 */
static int finish(pid_t pid)
{
	cleanup_fd int pidfd = pidfd_open(pid, 0);
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	const uint64_t deadline = monotonic_ns() + TIMEOUT_NS;
	int err = pidfd < 0 ? -errno : 0;
	int status;

	while (!err && !ended.revents) {
		const int left_ms = ms_until(deadline);

		if (left_ms == 0)
			err = -ETIMEDOUT;
		else if (poll(&ended, 1, left_ms) < 0 && errno != EINTR)
			err = -errno;
	}
	/* Not yet reaped, so the number cannot belong to another. */
	if (err)
		kill(-pid, SIGKILL);
	status = spawn_reap(pid);
	return err ? err : status;
}

/* How much of what was written to @fd is kept. */
static size_t kept_of(int fd)
{
	const off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		return 0;
	return end > SPAWN_OUTPUT_SIZE ? SPAWN_OUTPUT_SIZE : (size_t)end;
}

/* Both streams, one after the other, as a string. */
static char *join(int output, int error)
{
	const size_t size = kept_of(output);
	const size_t error_size = kept_of(error);
	char *text = malloc(size + error_size + 1);

	if (!text)
		return NULL;
	if (pread(output, text, size, 0) != (ssize_t)size ||
	    pread(error, text + size, error_size, 0) != (ssize_t)error_size) {
		free(text);
		return NULL;
	}
	text[size + error_size] = '\0';
	return text;
}

int spawn_wait(const char *path, char *const argv[], char **output)
{
	/* Not pipes: nobody has to read while it runs, and nobody waits for
	 * what it leaves running. */
	cleanup_fd int output_fd = memfd_create("output", MFD_CLOEXEC);
	cleanup_fd int error_fd = memfd_create("error", MFD_CLOEXEC);
	int result;
	pid_t pid;

	if (output)
		*output = NULL;
	if (output_fd < 0 || error_fd < 0)
		return -errno;
	pid = start(path, argv, output_fd, error_fd);
	if (pid < 0)
		return pid;
	result = finish(pid);
	if (output) {
		*output = join(output_fd, error_fd);
		if (!*output)
			return -ENOMEM;
	}
	return result;
}
