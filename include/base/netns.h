/* SPDX-License-Identifier: MIT */
/*
 * Network namespaces: those of the machine, and being in another one for a
 * moment. Entering needs CAP_SYS_ADMIN, seeing those of other users' processes
 * CAP_SYS_PTRACE.
 */
#ifndef BASE_NETNS_H
#define BASE_NETNS_H

#include <stdbool.h>
#include <sys/types.h>

/* Of a name of a namespace below /proc or /run. */
#define NETNS_PATH_SIZE 288

/* Which one it is, whatever its names. */
struct netns_id {
	dev_t device;
	ino_t inode;
};

/* 0, or negative errno: -EINVAL if @path is no network namespace. */
int netns_identify(const char *path, struct netns_id *id);
bool netns_is(const struct netns_id *one, const struct netns_id *other);

/* The one that this process is in. 0 or negative errno. */
int netns_own(struct netns_id *id);

/* A descriptor for netns_call(), which keeps the namespace alive, or negative
 * errno. */
int netns_open(const char *path);

/* The same of the namespace that is @wanted, found by any of its names
 * (netns_each()); -ENOENT: it has none that we can see. */
int netns_find(const struct netns_id *wanted);

/*
 * Call @function in the namespace @fd: sockets that it makes are that one's,
 * for good. A thread does it, which ends with it, so that the process is never
 * seen there: whoever ends what runs in a container would end it too. Returns
 * what the function does, or negative errno if it was not called.
 */
int netns_call(int fd, int (*function)(void *context), void *context);

/*
 * Does a device of our namespace have its other end in the namespace @fd (veth,
 * netkit)? To be asked after our devices have been listed, since only then the
 * kernel gives it a number here.
 */
bool netns_is_linked(int fd);

/* What it returns below 0 ends the listing. */
typedef int (*netns_handler)(const char *path, const struct netns_id *id,
			     void *context);

/*
 * Hand each namespace but our own to @handler, once: those of processes that
 * can be seen and those with a name in /run/netns or /run/docker/netns. Returns
 * 0 or negative errno.
 */
int netns_each(netns_handler handler, void *context);

#endif
