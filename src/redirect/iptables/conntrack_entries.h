/* SPDX-License-Identifier: MIT */
/*
 * What conntrack remembers of redirected connections that have ended.
 *
 * An ended connection's entry, with the translation of its ports, stays for up
 * to two minutes (TIME_WAIT). While packets are tracked that does no harm: a
 * client that uses the same port again begins with a SYN, which replaces the
 * entry. But if only our hold (conntrack_hold.h) keeps tracking on, the entries
 * outlive it, that SYN is not seen, and the next start, which turns tracking on
 * again, would translate packets of a running connection.
 */
#ifndef REDIRECT_IPTABLES_CONNTRACK_ENTRIES_H
#define REDIRECT_IPTABLES_CONNTRACK_ENTRIES_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Is @message, one of a ctnetlink dump, a TCP connection that was led to
 * @listen_port (host byte order) from another port, and has it ended on both
 * sides, so that nothing has to be translated any more?
 */
bool conntrack_entry_has_ended(const struct nlmsghdr *message,
			       uint16_t listen_port);

/*
 * Delete all entries of @family (AF_INET, AF_INET6) that are so. Connections
 * that still live, also another instance's, keep theirs. Returns 0 or negative
 * errno (-EPROTONOSUPPORT, -EINVAL: a kernel without ctnetlink).
 */
int conntrack_entries_delete_ended(sa_family_t family, uint16_t listen_port);

#endif
