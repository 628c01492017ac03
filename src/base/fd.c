// SPDX-License-Identifier: MIT
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void close_fd_at(int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved_errno;
}

int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

/* Kernels before 5.9 do not know the call. */
void close_between(int first, int last)
{
	struct dirent *entry;
	DIR *descriptors;

	if (close_range((unsigned int)first, (unsigned int)last, 0) == 0)
		return;
	descriptors = opendir("/proc/self/fd");
	while (descriptors && (entry = readdir(descriptors))) {
		const int fd = atoi(entry->d_name);

		if (*entry->d_name != '.' && fd >= first && fd <= last &&
		    fd != dirfd(descriptors))
			close(fd);
	}
	if (descriptors)
		closedir(descriptors);
}

int open_null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fd = open("/", O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void detach_standard_fds(int kept)
{
	cleanup_fd int null_fd = open_null();

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fd != kept && null_fd >= 0)
			dup2(null_fd, fd);
	}
}
