// SPDX-License-Identifier: MIT
#include "instance/record_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/path.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
/* What it is called in addition while it is written. */
#define NEW_SUFFIX ".new"
/* A rule fits into an argument of execve(2), and each of its bytes may need
 * four here; there are two of them. */
#define SIZE_LIMIT (2 * 4 * 131072 + 4096)

int record_file_name(struct record_file *file, const char *pidfile)
{
	return path_beside(pidfile, ".state", file->path, sizeof(file->path));
}

int record_locate(struct record *record)
{
	cleanup_fd int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	if (fd < 0)
		return -errno;
	length = read(fd, record->boot, sizeof(record->boot) - 1);
	if (length < 0)
		return -errno;
	record->boot[length] = '\0';
	record->boot[strcspn(record->boot, "\n")] = '\0';
	return netns_own(&record->network);
}

/* With the name of another file that stands beside it. */
static int name_another(const struct record_file *file, const char *suffix,
			char another[static PATH_MAX])
{
	int length = snprintf(another, PATH_MAX, "%s%s", file->path, suffix);

	return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int write_new(const char *path, const char *text)
{
	const size_t length = strlen(text);
	cleanup_fd int fd = -1;
	ssize_t written;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		  0600);
	if (fd < 0)
		return -errno;
	written = write(fd, text, length);
	if (written < 0)
		return -errno;
	if ((size_t)written != length)
		return -ENOSPC;
	return fchmod(fd, 0600) < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* A power cut may not bring back a name that was replaced. Some file systems
 * have nothing to do for that, and say so by an error. */
static void sync_folder(const struct record_file *file)
{
	char path[PATH_MAX];
	cleanup_fd int fd = -1;

	strcpy(path, file->path);
	fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fsync(fd);
}

int record_file_write(const struct record_file *file,
		      const struct record *record)
{
	cleanup_free char *text = NULL;
	char path[PATH_MAX];
	int err = name_another(file, NEW_SUFFIX, path);

	if (!err)
		err = record_format(record, &text);
	if (err)
		return err;
	err = write_new(path, text);
	if (!err && rename(path, file->path) < 0)
		err = -errno;
	if (err)
		unlink(path);
	else
		sync_folder(file);
	return err;
}

void record_file_remove_unfinished(const struct record_file *file)
{
	char path[PATH_MAX];

	if (name_another(file, NEW_SUFFIX, path) == 0)
		unlink(path);
}

/* May it be ours? Its size, or negative errno. */
static ssize_t check_file(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) || status.st_size > SIZE_LIMIT)
		return -EINVAL;
	if (status.st_uid != geteuid() || status.st_mode & 022)
		return -EPERM;
	return status.st_size;
}

int record_file_read(const struct record_file *file, struct record *record)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -1;
	ssize_t length;
	ssize_t size;

	*record = (struct record){ 0 };
	fd = open(file->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	size = check_file(fd);
	if (size < 0)
		return (int)size;
	text = malloc((size_t)size + 1);
	if (!text)
		return -ENOMEM;
	length = read(fd, text, (size_t)size + 1);
	if (length < 0)
		return -errno;
	return record_parse(text, (size_t)length, record);
}

void record_file_remove(const struct record_file *file)
{
	unlink(file->path);
}

int record_file_set_aside(const struct record_file *file)
{
	char path[PATH_MAX];
	int err = name_another(file, ".old", path);

	if (err)
		return err;
	return rename(file->path, path) < 0 ? -errno : 0;
}
