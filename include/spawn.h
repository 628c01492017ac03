/* SPDX-License-Identifier: MIT */
/* Run a program of the host (iptables) without a shell and wait for it. */
#ifndef SPAWN_H
#define SPAWN_H

#include <stddef.h>

/* Output kept for messages; what is longer is cut. */
#define SPAWN_OUTPUT_SIZE 65536

/*
 * Find @name in $PATH, then in the system's folders for administrators, which
 * cron's and a hook's PATH often lack. Returns an allocated path or NULL.
 */
char *spawn_find(const char *name);

/*
 * Run @path with @argv (NULL-terminated, argv[0] included), standard input
 * from /dev/null, signals at their defaults, no descriptor of ours. Its
 * standard output, and its standard error behind it, go to @output if not
 * NULL: an allocated, terminated string that the caller frees, set also when
 * the program failed. Returns the exit status (128 + signal if killed), or
 * negative errno if it could not be run or took longer than a minute.
 */
int spawn_wait(const char *path, char *const argv[], char **output);

#endif
