/* SPDX-License-Identifier: MIT */
/*
 * Giving up every right: what stands between a fault in the code that reads
 * strangers' bytes and the host.
 */
#ifndef SUPERVISOR_CONFINEMENT_H
#define SUPERVISOR_CONFINEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bits of what is in force. */
enum confinement {
	/* Another user than root, or the unprivileged one that started us. */
	CONFINED_USER = 1 << 0,
	/* No capability, and none to be had by execve(). */
	CONFINED_CAPABILITIES = 1 << 1,
	/* The root folder is one that is empty and was removed. Not with
	 * @unix_paths. */
	CONFINED_ROOT = 1 << 2,
	/* Landlock: no file can be opened (kernel 5.13). */
	CONFINED_FILES = 1 << 3,
	/* Landlock: TCP connects to the backends' ports only (6.7). */
	CONFINED_PORTS = 1 << 4,
	/* seccomp: only the system calls that the proxy makes. */
	CONFINED_CALLS = 1 << 5,
	/* Landlock: no signal to another process, and no abstract socket of one
	 * unless a backend's is (6.12). */
	CONFINED_PROCESSES = 1 << 6,
	CONFINED_BY_ALL = (1 << 7) - 1,
};

struct confinement_settings {
	/* Whom to become; ignored unless we are root. */
	uid_t uid;
	gid_t gid;
	/* The ports that connect() may go to: one for each backend. */
	uint16_t ports[2];
	size_t port_count;
	/* It may go to stream sockets of this host as well: to those with a
	 * path, or to abstract ones. */
	bool unix_paths;
	bool unix_names;
	/* It may choose the IPv4 address that it connects from. */
	bool own_sources;
};

/*
 * Confine this process for good. The first two must succeed, or it returns
 * negative errno; the others are left out where the kernel or a container
 * does not let us. Returns the bits in force.
 */
int confine(const struct confinement_settings *settings);

/* The name of the lowest bit in @bits, for logs and status. "" if there is
 * none. */
const char *confinement_name(unsigned int bits);

#endif
