/* SPDX-License-Identifier: MIT */
/*
 * Conntrack has seen the RST by which a challenge was taken, and forgets the
 * connection after ten seconds without a packet. Behind a firewall that accepts
 * what is established, or NAT, it would then be cut off.
 */
#ifndef REDIRECT_BPF_CONNTRACK_REVIVE_H
#define REDIRECT_BPF_CONNTRACK_REVIVE_H

#include <stdbool.h>

#include <linux/types.h>
#include "bpf/shared.h"

/* For connections of the network namespace that the process is in: a
 * descriptor, or negative errno; nothing has to be done then. */
int conntrack_revive_open(void);

/* The connection is established again, if conntrack knows it. 0 or negative
 * errno: -EINVAL if this kernel cannot do it at all (ctnetlink is not there). */
int conntrack_revive(int fd, const struct handoff_flow *flow);

/* Is it a connection that both ends have agreed on, which has not ended, and
 * which NAT leads elsewhere? A lone segment is none, whatever it says. */
bool conntrack_leads_away(int fd, const struct handoff_flow *flow);

#endif
