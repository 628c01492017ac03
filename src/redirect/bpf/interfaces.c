// SPDX-License-Identifier: MIT
#include "redirect/bpf/interfaces.h"

#include <fnmatch.h>
#include <string.h>
#include <sys/socket.h>

#include "base/netlink.h"

const char *interface_objection(const struct interface *interface,
				const char *const *patterns, size_t count)
{
	if (interface->loopback)
		return "loopback";
	if (interface->master && strcmp(interface->master_kind, "vrf") != 0)
		return "a port of another interface, which sees its packets";
	for (size_t i = 0; i < count; i++) {
		if (fnmatch(patterns[i], interface->name, 0) == 0)
			return NULL;
	}
	return count ? "not named by --interface" : NULL;
}

struct reading {
	interfaces_handler handler;
	void *context;
};

static int hand_over(const struct nlmsghdr *message, void *context)
{
	const size_t size = sizeof(struct ifinfomsg);
	const struct ifinfomsg *info = netlink_body(message, RTM_NEWLINK, size);
	const struct reading *reading = context;
	struct interface interface;

	if (!info)
		return 0;
	interface = (struct interface){
		.ifindex = (unsigned int)info->ifi_index,
		.loopback = info->ifi_flags & IFF_LOOPBACK,
		.master = netlink_u32(
			netlink_attribute(message, size, IFLA_MASTER)),
	};
	netlink_text(netlink_attribute(message, size, IFLA_IFNAME),
		     interface.name, sizeof(interface.name));
	netlink_text(
		netlink_nested(netlink_attribute(message, size, IFLA_LINKINFO),
			       IFLA_INFO_SLAVE_KIND),
		interface.master_kind, sizeof(interface.master_kind));
	return reading->handler(&interface, reading->context);
}

int interfaces_read(interfaces_handler handler, void *context)
{
	const struct ifinfomsg any = { .ifi_family = AF_UNSPEC };
	struct reading reading = { .handler = handler, .context = context };

	return netlink_dump(NETLINK_ROUTE, RTM_GETLINK, &any, sizeof(any),
			    hand_over, &reading);
}
