/* SPDX-License-Identifier: MIT */
/* Names of the files that stand beside the pidfile. */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <stddef.h>

/*
 * "x.pid" -> "x" and @suffix; any other name gets it behind. Returns 0, or
 * -ENAMETOOLONG if that does not fit into @size.
 */
int path_beside(const char *pidfile, const char *suffix, char *path,
		size_t size);

#endif
