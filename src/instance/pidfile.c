// SPDX-License-Identifier: MIT
#include "instance/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

enum lock_byte {
	BYTE_INSTANCE = 0,
	BYTE_STOPPING = 1,
	BYTE_RUNNING = 2,
	BYTE_WORKER = 1000,
};

/* A pid in decimal, and a newline. */
#define PID_TEXT_SIZE 16
/* Attempts before a file that keeps being replaced is given up. */
#define ACQUIRE_ATTEMPTS 100

static int set_lock(int fd, short type, off_t byte)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = byte,
		.l_len = 1,
	};

	return fcntl(fd, F_SETLK, &lock) < 0 ? -errno : 0;
}

/* The first lock of another process in [@first, @first + @length); length 0
 * means to the end. 1 if there is one, 0 if not, or negative errno. */
static int find_lock(int fd, off_t first, off_t length, struct flock *found)
{
	*found = (struct flock){
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = first,
		.l_len = length,
	};
	if (fcntl(fd, F_GETLK, found) < 0)
		return -errno;
	return found->l_type != F_UNLCK;
}

/*
 * The same for [@first, end of file), but the one at the lowest byte: the
 * kernel tells of the one that was taken first.
 */
static int find_lowest_lock(int fd, off_t first, struct flock *found)
{
	struct flock lower;
	int held = find_lock(fd, first, 0, found);

	while (held > 0 && found->l_start > first) {
		held = find_lock(fd, first, found->l_start - first, &lower);
		if (held <= 0)
			return held < 0 ? held : 1;
		*found = lower;
	}
	return held;
}

/* May this file be ours? A mistyped path must not destroy what it names. */
static int check_file(int fd)
{
	char text[32];
	struct stat status;
	ssize_t length;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
	if (status.st_uid != geteuid())
		return -EPERM;
	length = pread(fd, text, sizeof(text) - 1, 0);
	if (length < 0)
		return -errno;
	text[length] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (strspn(text, "0123456789") != strlen(text) ||
	    status.st_size > PID_TEXT_SIZE)
		return -EINVAL;
	return 0;
}

static int query_open_file(int fd, struct pidfile_holder *holder)
{
	struct flock lock;
	int held;

	holder->state = PIDFILE_FREE;
	holder->pid = 0;
	held = find_lock(fd, BYTE_INSTANCE, 1, &lock);
	if (held <= 0)
		return held;
	holder->pid = lock.l_pid > 0 ? lock.l_pid : 0;

	holder->state = PIDFILE_STARTING;
	held = find_lock(fd, BYTE_RUNNING, 1, &lock);
	if (held > 0)
		holder->state = PIDFILE_RUNNING;
	if (held >= 0)
		held = find_lock(fd, BYTE_STOPPING, 1, &lock);
	if (held > 0)
		holder->state = PIDFILE_STOPPING;
	return held < 0 ? held : 0;
}

/* Was the file that we locked unlinked or replaced meanwhile? */
static bool still_named(int fd, const char *path)
{
	struct stat ours, named;

	return fstat(fd, &ours) == 0 && lstat(path, &named) == 0 &&
	       ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

/*
 * A killed instance's pid goes: nobody runs until we say so. And a full disk
 * is found out now, not when the redirect is in place. The mode is set whatever
 * the umask and whoever made the file: another user who can read it can lock
 * it, and keep us from ever starting.
 */
static int claim_file(int fd)
{
	if (fchmod(fd, 0600) < 0 || ftruncate(fd, 0) < 0)
		return -errno;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, PID_TEXT_SIZE) < 0 &&
	    errno == ENOSPC)
		return -errno;
	return 0;
}

/* -ESTALE: try again, the former holder removed the file under us. */
static int acquire_once(struct pidfile *pidfile, struct pidfile_holder *holder)
{
	cleanup_fd int fd = -1;
	int err;

	fd = open(pidfile->path,
		  O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	err = check_file(fd);
	if (err)
		return err;

	err = set_lock(fd, F_WRLCK, BYTE_INSTANCE);
	if (err == -EACCES || err == -EAGAIN) {
		err = query_open_file(fd, holder);
		if (err)
			return err;
		return holder->state == PIDFILE_FREE ? -ESTALE : -EALREADY;
	}
	if (err)
		return err;
	if (!still_named(fd, pidfile->path))
		return -ESTALE;
	err = claim_file(fd);
	if (err) {
		unlink(pidfile->path);
		return err;
	}
	pidfile->fd = steal_fd(&fd);
	return 0;
}

int pidfile_acquire(struct pidfile *pidfile, const char *path,
		    struct pidfile_holder *holder)
{
	int err = -ESTALE;

	pidfile->path = path;
	pidfile->fd = -1;
	for (int i = 0; i < ACQUIRE_ATTEMPTS && err == -ESTALE; i++)
		err = acquire_once(pidfile, holder);
	return err;
}

int pidfile_publish(const struct pidfile *pidfile)
{
	char text[PID_TEXT_SIZE];
	int length = snprintf(text, sizeof(text), "%d\n", getpid());
	ssize_t written = pwrite(pidfile->fd, text, (size_t)length, 0);

	if (written < 0)
		return -errno;
	if (written != length)
		return -ENOSPC;
	return set_lock(pidfile->fd, F_WRLCK, BYTE_RUNNING);
}

int pidfile_mark_stopping(const struct pidfile *pidfile)
{
	return set_lock(pidfile->fd, F_WRLCK, BYTE_STOPPING);
}

void pidfile_release(struct pidfile *pidfile)
{
	if (pidfile->fd < 0)
		return;
	/* Before the lock goes: the next holder must not lose its file. */
	if (still_named(pidfile->fd, pidfile->path))
		unlink(pidfile->path);
	close_fd_at(&pidfile->fd);
}

int pidfile_query(const char *path, struct pidfile_holder *holder)
{
	cleanup_fd int fd = -1;

	*holder = (struct pidfile_holder){ .state = PIDFILE_FREE };
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return query_open_file(fd, holder);
}

int pidfile_lock_worker(const struct pidfile *pidfile)
{
	cleanup_fd int fd = -1;
	int err;

	/* A new, read-only one: the worker must not be able to write. */
	fd = open(pidfile->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = set_lock(fd, F_RDLCK, BYTE_WORKER + getpid());
	return err ? err : steal_fd(&fd);
}

/*
 * Signal @pid if it still holds the lock at @byte. The pidfd is opened before
 * the second look, so that a pid used again in between is not hit.
 */
static int signal_lock_holder(int fd, off_t byte, pid_t pid, int signal_number,
			      int *process)
{
	cleanup_fd int pidfd = pidfd_open(pid, 0);
	struct flock lock;

	if (pidfd < 0)
		return -errno;
	if (find_lock(fd, byte, 1, &lock) <= 0 || lock.l_pid != pid)
		return -ESRCH;
	if (pidfd_send_signal(pidfd, signal_number, NULL, 0) < 0)
		return -errno;
	*process = steal_fd(&pidfd);
	return 0;
}

int pidfile_signal_holder(const char *path, const struct pidfile_holder *holder,
			  int signal_number, int *process)
{
	cleanup_fd int fd = -1;

	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return signal_lock_holder(fd, BYTE_INSTANCE, holder->pid, signal_number,
				  process);
}

static bool has_workers(int fd)
{
	struct flock lock;

	return find_lock(fd, BYTE_WORKER, 0, &lock) > 0;
}

bool pidfile_has_workers(const struct pidfile *pidfile)
{
	return has_workers(pidfile->fd);
}

int pidfile_leave(struct pidfile *pidfile)
{
	/* The file that the workers' locks are on has no name then. */
	int left = fcntl(pidfile->fd, F_DUPFD_CLOEXEC, 0);

	if (left < 0)
		left = -errno;
	pidfile_release(pidfile);
	return left;
}

int pidfile_wait_for_workers(int left, unsigned int timeout_ms)
{
	const uint64_t deadline = monotonic_ns() + timeout_ms * NS_PER_MS;

	while (has_workers(left)) {
		if (monotonic_ns() >= deadline)
			return -ETIMEDOUT;
		poll(NULL, 0, 20);
	}
	return 0;
}

unsigned int pidfile_signal_workers(const struct pidfile *pidfile,
				    int signal_number)
{
	off_t next = BYTE_WORKER;
	unsigned int count = 0;
	struct flock lock;

	while (find_lowest_lock(pidfile->fd, next, &lock) > 0) {
		cleanup_fd int process = -1;

		/* Locks side by side of one process are one to the kernel. */
		if (lock.l_len == 0)
			break;
		next = lock.l_start + lock.l_len;
		if (signal_lock_holder(pidfile->fd, lock.l_start, lock.l_pid,
				       signal_number, &process) == 0)
			count++;
	}
	return count;
}
