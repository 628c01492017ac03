/* SPDX-License-Identifier: MIT */
/* The system calls that this process may make (seccomp(2)). */
#ifndef SUPERVISOR_SECCOMP_H
#define SUPERVISOR_SECCOMP_H

#include <stdbool.h>

/*
 * From now on only those that the proxy makes; with @unix_sockets, also those
 * by which it comes to a backend that is a socket of this host, and with
 * @own_sources, those by which it chooses the IPv4 address to connect from.
 * Needs privileges_drop() before. Returns whether the kernel lets us.
 */
bool seccomp_restrict(bool unix_sockets, bool own_sources);

#endif
