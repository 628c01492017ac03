/* SPDX-License-Identifier: MIT */
/* What the host's routing says of destinations that are its own. */
#ifndef REDIRECT_BPF_ROUTES_H
#define REDIRECT_BPF_ROUTES_H

#include <linux/types.h>
#include "bpf/shared.h"

/* What it returns below 0 ends the reading. */
typedef int (*routes_handler)(const struct host_prefix *prefix, void *context);

/*
 * Hand each destination of a route of type local, in all tables and both
 * families, to @handler, some perhaps twice. They are the addresses of
 * interfaces, and what was made this host's by a route alone, as load
 * balancers of clouds want it. A local default route is none of them: it names
 * no host, it is there for transparent proxies (TPROXY). Returns 0 or negative
 * errno.
 */
int routes_list_local(routes_handler handler, void *context);

/*
 * Does a policy rule look at the packet's mark, which a firewall sets behind TC
 * ingress? Then what the kernel says there of a packet's way may be wrong.
 * Returns 1, 0 or negative errno.
 */
int routes_depend_on_marks(void);

#endif
