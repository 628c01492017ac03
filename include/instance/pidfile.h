/* SPDX-License-Identifier: MIT */
/*
 * Who runs, told by locks that the kernel takes away with their process: never
 * by a name, and safe against pids that were used again.
 *
 * The file is empty while an instance starts and holds "PID\n" once its
 * redirect is in place, for people to read. POSIX record locks on single bytes
 * say it all:
 *
 *   byte 0           held by the supervisor from its first step until its
 *                    redirect is gone
 *   byte 1           held by it too from the moment it begins to stop
 *   byte 2           held by it once its redirect is in place
 *   byte WORKER+pid  held by each worker, to the end of its drain; how the
 *                    workers of a killed supervisor are found
 *
 * A process loses such locks when it closes any descriptor of the file, so
 * only this module opens it. Whoever can read the file can lock it: its mode
 * is 0600.
 */
#ifndef INSTANCE_PIDFILE_H
#define INSTANCE_PIDFILE_H

#include <stdbool.h>
#include <sys/types.h>

enum pidfile_state {
	/* Nobody holds it; what a killed instance left may be there. */
	PIDFILE_FREE,
	PIDFILE_STARTING,
	PIDFILE_RUNNING,
	PIDFILE_STOPPING,
};

struct pidfile {
	const char *path;
	int fd;
};

struct pidfile_holder {
	enum pidfile_state state;
	/* 0 if the holder lives in a pid namespace that we do not see. */
	pid_t pid;
};

/*
 * Become the holder of byte 0; the file is made if it is not there. @path must
 * outlive @pidfile. Returns 0; -EALREADY with @holder filled in if another
 * process is; -ELOOP, -EISDIR, -EPERM (not ours) or -EINVAL (holds something
 * else than a pid) for a file that must not be touched; other negative errno.
 */
int pidfile_acquire(struct pidfile *pidfile, const char *path,
		    struct pidfile_holder *holder);

/* Say that the redirect is in place. 0 or negative errno (-ENOSPC). */
int pidfile_publish(const struct pidfile *pidfile);

/* Say that this instance stops. 0 or negative errno. */
int pidfile_mark_stopping(const struct pidfile *pidfile);

/* Remove the file and give up the locks; safe when not acquired. */
void pidfile_release(struct pidfile *pidfile);

/* Who holds @path now? 0 or negative errno; no file means PIDFILE_FREE. */
int pidfile_query(const char *path, struct pidfile_holder *holder);

/*
 * In a worker: take this process's worker lock on the file that @pidfile has
 * open. Returns a read-only descriptor to keep open, or negative errno.
 */
int pidfile_lock_worker(const struct pidfile *pidfile);

/*
 * Send @signal_number to the process that holds @path as @holder says, and to
 * no other: -ESRCH if it does not any more. *@process becomes a pidfd (kernel
 * 5.3), readable when the process has ended, which the caller closes.
 */
int pidfile_signal_holder(const char *path, const struct pidfile_holder *holder,
			  int signal_number, int *process);

/* Did a killed supervisor leave workers? */
bool pidfile_has_workers(const struct pidfile *pidfile);

/*
 * As pidfile_release(), but returns a descriptor by which the workers that a
 * killed supervisor left can still be waited for, or negative errno.
 */
int pidfile_leave(struct pidfile *pidfile);
/* Until the last of them has ended: 0, or -ETIMEDOUT after @timeout_ms. */
int pidfile_wait_for_workers(int left, unsigned int timeout_ms);

/*
 * Send @signal_number to the workers that a killed supervisor left, found by
 * their locks on @pidfile. Returns how many there are.
 */
unsigned int pidfile_signal_workers(const struct pidfile *pidfile,
				    int signal_number);

#endif
