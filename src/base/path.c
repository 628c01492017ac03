// SPDX-License-Identifier: MIT
#include "base/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int path_beside(const char *pidfile, const char *suffix, char *path,
		size_t size)
{
	size_t stem = strlen(pidfile);
	int length;

	if (stem > 4 && strcmp(pidfile + stem - 4, ".pid") == 0)
		stem -= 4;
	length = snprintf(path, size, "%.*s%s", (int)stem, pidfile, suffix);
	return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}
