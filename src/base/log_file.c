// SPDX-License-Identifier: MIT
#include "base/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

static int open_file(const char *path)
{
	cleanup_fd int fd = -1;
	struct stat status;

	/* Non-blocking, or a path that is a FIFO would hang us here. */
	fd = open(path,
		  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
			  O_NOCTTY | O_NONBLOCK,
		  0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode))
		return -EINVAL;
	if (S_ISREG(status.st_mode) && status.st_uid != geteuid())
		return -EPERM;
	return steal_fd(&fd);
}

int log_file_open(const char *path)
{
	int fd = open_file(path);

	if (fd < 0)
		return fd;
	log_settings.fd = fd;
	log_settings.path = path;
	return 0;
}

int log_file_reopen(void)
{
	int fd;

	if (!log_settings.path)
		return 0;
	fd = open_file(log_settings.path);
	if (fd < 0)
		return fd;
	log_file_replace(fd);
	return 0;
}

void log_file_replace(int fd)
{
	close_fd_at(&log_settings.fd);
	log_settings.fd = fd;
}

bool log_file_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat status;
	char name[64];

	if (!stream || fstat(STDERR_FILENO, &status) < 0)
		return false;
	snprintf(name, sizeof(name), "%llu:%llu",
		 (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	return strcmp(stream, name) == 0;
}
