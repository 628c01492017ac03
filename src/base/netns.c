// SPDX-License-Identifier: MIT
#include "base/netns.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/netlink.h"

#define OWN "/proc/self/ns/net"

int netns_identify(const char *path, struct netns_id *id)
{
	struct stat own, status;

	*id = (struct netns_id){ .device = 0 };
	if (stat(OWN, &own) < 0 || stat(path, &status) < 0)
		return -errno;
	/* All namespaces are on one device of the kernel's. */
	if (status.st_dev != own.st_dev)
		return -EINVAL;
	*id = (struct netns_id){ .device = status.st_dev,
				 .inode = status.st_ino };
	return 0;
}

int netns_own(struct netns_id *id)
{
	return netns_identify(OWN, id);
}

bool netns_is(const struct netns_id *one, const struct netns_id *other)
{
	return one->device == other->device && one->inode == other->inode;
}

int netns_open(const char *path)
{
	struct netns_id id;
	cleanup_fd int fd = -1;
	int err = netns_identify(path, &id);

	if (err)
		return err;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET ? steal_fd(&fd)
							: -EINVAL;
}

struct call {
	int fd;
	int (*function)(void *context);
	void *context;
	int result;
};

static void *enter_and_call(void *context)
{
	struct call *call = context;

	call->result = setns(call->fd, CLONE_NEWNET) < 0
			       ? -errno
			       : call->function(call->context);
	return NULL;
}

int netns_call(int fd, int (*function)(void *context), void *context)
{
	struct call call = { .fd = fd,
			     .function = function,
			     .context = context };
	pthread_t thread;
	int err = pthread_create(&thread, NULL, enter_and_call, &call);

	if (err)
		return -err;
	pthread_join(thread, NULL);
	return call.result;
}

static int read_number(const struct nlmsghdr *message, void *context)
{
	const struct rtattr *number = NULL;

	if (netlink_body(message, RTM_NEWNSID, sizeof(struct rtgenmsg)))
		number = netlink_attribute(message, sizeof(struct rtgenmsg),
					   NETNSA_NSID);
	if (number)
		*(int32_t *)context = (int32_t)netlink_u32(number);
	return 0;
}

bool netns_is_linked(int fd)
{
	struct {
		struct nlmsghdr header;
		struct rtgenmsg body;
		_Alignas(NLMSG_ALIGNTO) struct rtattr attribute;
		int32_t fd;
	} request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = RTM_GETNSID },
		.attribute = { .rta_len = RTA_LENGTH(sizeof(request.fd)),
			       .rta_type = NETNSA_FD },
		.fd = fd,
	};
	int32_t number = NETNSA_NSID_NOT_ASSIGNED;
	cleanup_fd int route = netlink_open(NETLINK_ROUTE);

	return route >= 0 &&
	       netlink_ask(route, &request.header, read_number, &number) == 0 &&
	       number >= 0;
}

struct listing {
	netns_handler handler;
	void *context;
	struct netns_id own;
	/* Those that were handed over. */
	struct netns_id *known;
	size_t count;
};

static bool is_known(const struct listing *listing, const struct netns_id *id)
{
	for (size_t i = 0; i < listing->count; i++) {
		if (netns_is(&listing->known[i], id))
			return true;
	}
	return false;
}

static int look_at(struct listing *listing, const char *path)
{
	struct netns_id *grown;
	struct netns_id id;

	if (netns_identify(path, &id) || netns_is(&id, &listing->own) ||
	    is_known(listing, &id))
		return 0;
	grown = reallocarray(listing->known, listing->count + 1,
			     sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	listing->known = grown;
	grown[listing->count++] = id;
	return listing->handler(path, &id, listing->context);
}

/* Look at @folder/NAME@rest for each name in that folder; one that is not there
 * has none. */
static int look_below(struct listing *listing, const char *folder,
		      const char *rest, bool numbers_alone)
{
	DIR *directory = opendir(folder);
	const struct dirent *entry;
	char path[NETNS_PATH_SIZE];
	int err = 0;

	if (!directory)
		return 0;
	while (!err && (entry = readdir(directory))) {
		const char first = entry->d_name[0];

		if (first == '.' ||
		    (numbers_alone && (first < '1' || first > '9')))
			continue;
		if (snprintf(path, sizeof(path), "%s/%s%s", folder,
			     entry->d_name, rest) < (int)sizeof(path))
			err = look_at(listing, path);
	}
	closedir(directory);
	return err;
}

int netns_each(netns_handler handler, void *context)
{
	struct listing listing = { .handler = handler, .context = context };
	int err = netns_identify(OWN, &listing.own);

	/* Those with a name first: it stays the same for as long. */
	if (!err)
		err = look_below(&listing, "/run/netns", "", false);
	if (!err)
		err = look_below(&listing, "/run/docker/netns", "", false);
	if (!err)
		err = look_below(&listing, "/proc", "/ns/net", true);
	free(listing.known);
	return err;
}

struct finding {
	const struct netns_id *wanted;
	/* A descriptor, or why there is none. */
	int found;
};

static int find(const char *path, const struct netns_id *id, void *context)
{
	struct finding *finding = context;

	if (!netns_is(id, finding->wanted))
		return 0;
	finding->found = netns_open(path);
	/* What has just lost this name may have another. */
	return finding->found < 0 ? 0 : -EEXIST;
}

int netns_find(const struct netns_id *wanted)
{
	struct finding finding = { .wanted = wanted, .found = -ENOENT };

	netns_each(find, &finding);
	return finding.found;
}
