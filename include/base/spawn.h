/* SPDX-License-Identifier: MIT */
/* Run a program of the host (iptables) without a shell and wait for it. */
#ifndef BASE_SPAWN_H
#define BASE_SPAWN_H

#include <sys/types.h>

/*
 * So much of each stream is kept, and the rest dropped. Large enough for the
 * nat table of a Kubernetes node with thousands of services.
 */
#define SPAWN_OUTPUT_SIZE (16u << 20)

/*
 * Find @name in $PATH, then in the system's folders for administrators, which
 * cron's and a hook's PATH often lack. Returns an allocated path or NULL.
 */
char *spawn_find(const char *name);

/*
 * Run @path with @argv (NULL-terminated, argv[0] included), standard input
 * from /dev/null, signals at their defaults and none blocked, no descriptor of
 * ours, in a process group of its own: a Ctrl-C meant for us must not stop
 * iptables half-way. Its standard output, and its standard error after it, go
 * to @output if not NULL: an allocated, terminated string that the caller
 * frees, set also when the program failed; NULL if it was never run.
 *
 * Returns the exit status (see spawn_reap()), or negative errno if it
 * could not be run; -ETIMEDOUT if it was killed after a minute; -ECHILD if the
 * caller ignores SIGCHLD, which loses the exit status. Descriptors 0 to 2 must
 * be open.
 */
int spawn_wait(const char *path, char *const argv[], char **output);

/* The exit status of a process that a signal ended, but for its number: as the
 * shell counts. */
#define SPAWN_SIGNALED 128

/* Wait for the end of @child: its exit status, or negative errno. */
int spawn_reap(pid_t child);

#endif
