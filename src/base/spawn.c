// SPDX-License-Identifier: MIT
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/memory.h"

#define TIMEOUT_NS  (60 * NS_PER_S)
#define READ_CHUNK  4096
#define ADMIN_PATHS "/usr/local/sbin:/usr/sbin:/sbin"

/* What a program wrote to one of its streams, read from a pipe. */
struct capture {
	int fd;
	char *text;
	size_t length;
	size_t capacity;
};

enum {
	CAPTURE_OUTPUT,
	CAPTURE_ERROR,
	CAPTURE_COUNT,
};

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

/* Make room for @extra bytes and the terminator. */
static int capture_reserve(struct capture *capture, size_t extra)
{
	size_t capacity = capture->capacity ? capture->capacity : READ_CHUNK;
	char *text;

	while (capacity <= capture->length + extra)
		capacity *= 2;
	if (capacity == capture->capacity)
		return 0;
	text = realloc(capture->text, capacity);
	if (!text)
		return -ENOMEM;
	capture->text = text;
	capture->capacity = capacity;
	return 0;
}

static int capture_append(struct capture *capture, const char *text,
			  size_t length)
{
	int err;

	if (length > SPAWN_OUTPUT_SIZE - capture->length)
		length = SPAWN_OUTPUT_SIZE - capture->length;
	err = capture_reserve(capture, length);
	if (err)
		return err;
	if (length)
		memcpy(capture->text + capture->length, text, length);
	capture->length += length;
	capture->text[capture->length] = '\0';
	return 0;
}

/* Take all that is in the pipe now; the descriptor is closed at its end. */
static int capture_read(struct capture *capture)
{
	char chunk[READ_CHUNK];

	while (capture->fd >= 0) {
		ssize_t length = read(capture->fd, chunk, sizeof(chunk));

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (length == 0)
			close_fd_at(&capture->fd);
		else if (capture_append(capture, chunk, (size_t)length))
			return -ENOMEM;
	}
	return 0;
}

/* Only our end is non-blocking: the program expects an ordinary pipe. */
static int capture_open(struct capture *capture, int *write_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	capture->fd = ends[0];
	*write_end = ends[1];
	if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* posix_spawn functions return positive errno. */
static int set_streams(posix_spawn_file_actions_t *actions, int input,
		       int output, int error)
{
	int err =
		posix_spawn_file_actions_adddup2(actions, input, STDIN_FILENO);

	if (!err)
		err = posix_spawn_file_actions_adddup2(actions, output,
						       STDOUT_FILENO);
	if (!err)
		err = posix_spawn_file_actions_adddup2(actions, error,
						       STDERR_FILENO);
	/* Not every descriptor here is ours and close-on-exec: a hook runner
	 * leaves its own open. */
	if (!err)
		err = posix_spawn_file_actions_addclosefrom_np(
			actions, STDERR_FILENO + 1);
	return err;
}

static int set_signals(posix_spawnattr_t *attributes)
{
	sigset_t all, none;
	int err;

	sigfillset(&all);
	sigemptyset(&none);
	err = posix_spawnattr_setsigdefault(attributes, &all);
	if (!err)
		err = posix_spawnattr_setsigmask(attributes, &none);
	if (!err)
		err = posix_spawnattr_setpgroup(attributes, 0);
	if (!err)
		err = posix_spawnattr_setflags(attributes,
					       POSIX_SPAWN_SETSIGDEF |
						       POSIX_SPAWN_SETSIGMASK |
						       POSIX_SPAWN_SETPGROUP);
	return err;
}

/* Start the program with these streams; returns its pid or negative errno. */
static pid_t start(const char *path, char *const argv[], int output, int error)
{
	cleanup_fd int input = open_null();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	pid_t pid;
	int err;

	if (input < 0)
		return input;
	err = posix_spawn_file_actions_init(&actions);
	if (err)
		return -err;
	err = posix_spawnattr_init(&attributes);
	if (err)
		goto out_actions;

	err = set_streams(&actions, input, output, error);
	if (!err)
		err = set_signals(&attributes);
	if (!err)
		err = posix_spawn(&pid, path, &actions, &attributes, argv,
				  environ);

	posix_spawnattr_destroy(&attributes);
out_actions:
	posix_spawn_file_actions_destroy(&actions);
	return err ? -err : pid;
}

/*
 * Read what the program writes until it has ended. Its end is told by the
 * pidfd, not by end of file: something it left running may hold the pipes.
 */
static int follow(int pidfd, struct capture captures[static CAPTURE_COUNT])
{
	uint64_t deadline = monotonic_ns() + TIMEOUT_NS;

	for (;;) {
		struct pollfd polled[] = {
			{ .fd = pidfd, .events = POLLIN },
			{ .fd = captures[CAPTURE_OUTPUT].fd, .events = POLLIN },
			{ .fd = captures[CAPTURE_ERROR].fd, .events = POLLIN },
		};
		uint64_t now = monotonic_ns();

		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(polled, ARRAY_SIZE(polled),
			 (int)((deadline - now) / NS_PER_MS) + 1) < 0 &&
		    errno != EINTR)
			return -errno;

		for (int i = 0; i < CAPTURE_COUNT; i++) {
			int err = capture_read(&captures[i]);

			if (err)
				return err;
		}
		if (polled[0].revents)
			return 0;
	}
}

/* Returns the exit status as the shell counts it. */
static int reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* See a started program through to its end, killing it if we must. */
static int finish(pid_t pid, struct capture captures[static CAPTURE_COUNT])
{
	cleanup_fd int pidfd = pidfd_open(pid, 0);
	int err = pidfd < 0 ? -errno : follow(pidfd, captures);
	int status;

	/* Not yet reaped, so the number cannot belong to another. */
	if (err)
		kill(-pid, SIGKILL);
	status = reap(pid);
	return err ? err : status;
}

int spawn_wait(const char *path, char *const argv[], char **output)
{
	struct capture captures[CAPTURE_COUNT] = { { .fd = -1 }, { .fd = -1 } };
	struct capture *out = &captures[CAPTURE_OUTPUT];
	struct capture *error = &captures[CAPTURE_ERROR];
	cleanup_fd int output_end = -1;
	cleanup_fd int error_end = -1;
	int result;
	pid_t pid;

	if (output)
		*output = NULL;

	result = capture_open(out, &output_end);
	if (!result)
		result = capture_open(error, &error_end);
	if (result)
		goto out;

	pid = start(path, argv, output_end, error_end);
	if (pid < 0) {
		result = pid;
		goto out;
	}
	close_fd_at(&output_end);
	close_fd_at(&error_end);
	result = finish(pid, captures);

	if (capture_append(out, error->text, error->length)) {
		result = -ENOMEM;
		goto out;
	}
	if (output) {
		*output = out->text;
		out->text = NULL;
	}
out:
	for (int i = 0; i < CAPTURE_COUNT; i++) {
		close_fd_at(&captures[i].fd);
		free(captures[i].text);
	}
	return result;
}
