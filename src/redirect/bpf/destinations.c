// SPDX-License-Identifier: MIT
#include "redirect/bpf/destinations.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/netlink.h"
#include "redirect/bpf/routes.h"

int destinations_open(struct destinations *self)
{
	static const unsigned int groups[] = {
		RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE,
		RTNLGRP_IPV4_RULE,
		RTNLGRP_IPV6_RULE,
	};
	int fd = netlink_subscribe(NETLINK_ROUTE, groups, ARRAY_SIZE(groups));

	*self = (struct destinations){ .watch_fd = fd };
	return fd < 0 ? log_failure(fd, "cannot watch the routes") : 0;
}

void destinations_close(struct destinations *self)
{
	close_fd_at(&self->watch_fd);
}

int destinations_changed(const struct destinations *self)
{
	return netlink_drain(self->watch_fd);
}

struct listing {
	int map_fd;
	uint32_t round;
};

static int add(const struct host_prefix *prefix, void *context)
{
	const struct listing *listing = context;

	return bpf_map_update_elem(listing->map_fd, prefix, &listing->round,
				   BPF_ANY);
}

/* Those that were not seen in this round are no longer ours. */
static void forget_old(const struct listing *listing)
{
	const int fd = listing->map_fd;
	struct host_prefix key;
	struct host_prefix next;
	bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;
	uint32_t round;

	while (more) {
		key = next;
		more = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (bpf_map_lookup_elem(fd, &key, &round) == 0 &&
		    round != listing->round)
			bpf_map_delete_elem(fd, &key);
	}
}

int destinations_list(struct destinations *self, const struct program *program)
{
	struct listing listing = { .map_fd = program->destinations_fd,
				   .round = ++self->round };
	int err = routes_list_local(add, &listing);

	if (!err)
		forget_old(&listing);
	return err;
}

/*
 * May other network namespaces share devices of ours, link address and all?
 * Those are not in our list of interfaces, only the modules that do it are to
 * be seen; built into the kernel, not even they.
 */
static bool have_shared_devices(void)
{
	return access("/sys/module/ipvlan", F_OK) == 0 ||
	       access("/sys/module/macvlan", F_OK) == 0;
}

int destinations_follow(struct destinations *self,
			const struct program *program)
{
	const bool shared = have_shared_devices();
	const int marked = routes_depend_on_marks();
	int err = marked < 0 ? marked : 0;

	if (!err && (shared || marked))
		err = destinations_list(self, program);
	if (err)
		return log_failure(err, "cannot tell this host's addresses to "
					"the eBPF program");
	if (shared == self->shared_devices && marked == self->marked_rules)
		return 0;
	self->shared_devices = shared;
	self->marked_rules = marked;
	log_debug("steering %s%s%s",
		  shared || marked ? "only what a local route leads to"
				   : "whatever is not routed on",
		  shared ? "; ipvlan or macvlan may be in use" : "",
		  marked ? "; a policy rule asks for a mark" : "");
	return 1;
}
