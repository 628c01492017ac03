// SPDX-License-Identifier: MIT
#include "redirect/bpf/interfaces.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
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

/* A new entry, or the one that an interrupted dump has left. */
static struct interface *take_entry(struct interface_list *list,
				    unsigned int ifindex)
{
	struct interface *items;

	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].ifindex == ifindex)
			return &list->items[i];
	}
	items = reallocarray(list->items, list->count + 1, sizeof(*items));
	if (!items)
		return NULL;
	list->items = items;
	return &list->items[list->count++];
}

static int add_interface(const struct nlmsghdr *message, void *context)
{
	const size_t size = sizeof(struct ifinfomsg);
	const struct ifinfomsg *info = netlink_body(message, RTM_NEWLINK, size);
	struct interface *interface;

	if (!info)
		return 0;
	interface = take_entry(context, (unsigned int)info->ifi_index);
	if (!interface)
		return -ENOMEM;

	*interface = (struct interface){
		.ifindex = (unsigned int)info->ifi_index,
		.loopback = info->ifi_flags & IFF_LOOPBACK,
		.master = netlink_u32(
			netlink_attribute(message, size, IFLA_MASTER)),
	};
	netlink_text(netlink_attribute(message, size, IFLA_IFNAME),
		     interface->name, sizeof(interface->name));
	netlink_text(
		netlink_nested(netlink_attribute(message, size, IFLA_LINKINFO),
			       IFLA_INFO_SLAVE_KIND),
		interface->master_kind, sizeof(interface->master_kind));
	return 0;
}

int interface_list_read(struct interface_list *list)
{
	const struct ifinfomsg any = { .ifi_family = AF_UNSPEC };
	int err;

	*list = (struct interface_list){ .count = 0 };
	err = netlink_dump(NETLINK_ROUTE, RTM_GETLINK, &any, sizeof(any),
			   add_interface, list);
	if (err)
		interface_list_free(list);
	return err;
}

void interface_list_free(struct interface_list *list)
{
	free(list->items);
	*list = (struct interface_list){ .count = 0 };
}

const struct interface *interface_list_find(const struct interface_list *list,
					    unsigned int ifindex)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].ifindex == ifindex)
			return &list->items[i];
	}
	return NULL;
}
