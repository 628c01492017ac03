/* SPDX-License-Identifier: MIT */
/* The host's network interfaces, and which of them packets come in on. */
#ifndef REDIRECT_BPF_INTERFACES_H
#define REDIRECT_BPF_INTERFACES_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

struct interface {
	unsigned int ifindex;
	char name[IFNAMSIZ];
	bool loopback;
	/* ifindex of the interface it is a port of, 0 if of none, and that
	 * one's kind ("bridge", "bond", "vrf", ...), empty if it has no kind. */
	unsigned int master;
	char master_kind[IFNAMSIZ];
};

/*
 * Why packets that come in on @interface should not be looked at, for messages;
 * NULL if they should. Not on loopback: what the host sends to itself goes to
 * its web server. Not on a port of a bridge, bond, team, Open vSwitch or the
 * like: its master sees the packet again, and what was done on the port is
 * undone on a bridge (br_netfilter). But on a port of a VRF: that master has no
 * ingress of its own. @patterns are for fnmatch(3); none means all. Pure.
 */
const char *interface_objection(const struct interface *interface,
				const char *const *patterns, size_t count);

/* What it returns below 0 ends the reading. */
typedef int (*interfaces_handler)(const struct interface *interface,
				  void *context);

/* Hand each interface of this network namespace to @handler, some perhaps
 * twice. Returns 0 or negative errno. */
int interfaces_read(interfaces_handler handler, void *context);

#endif
