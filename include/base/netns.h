/* SPDX-License-Identifier: MIT */
/*
 * Network namespaces: those of the machine, and being in another one for a
 * moment. Entering needs CAP_SYS_ADMIN, seeing those of other users' processes
 * CAP_SYS_PTRACE.
 */
#ifndef BASE_NETNS_H
#define BASE_NETNS_H

#include <stdbool.h>
#include <stddef.h>
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

/* A descriptor for netns_enter(), which keeps the namespace alive, or negative
 * errno. */
int netns_open(const char *path);

/*
 * Be in the namespace @fd: sockets that are made from now on are that one's,
 * for good. Returns what netns_leave() takes, or negative errno: then nothing
 * has changed.
 */
int netns_enter(int fd);
/* Be where netns_enter() was called. Where that cannot be, the process ends: it
 * would go on somewhere else. */
void netns_leave(int before);

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
 * 0 or negative errno; *@hidden, how many processes do not let us look.
 */
int netns_each(netns_handler handler, void *context, size_t *hidden);

#endif
