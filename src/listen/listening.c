// SPDX-License-Identifier: MIT
#include "listen/listening.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/netlink.h"

/* Of the thread that asks: it may be in another network namespace. */
static const char *const lists[] = { "/proc/thread-self/net/tcp",
				     "/proc/thread-self/net/tcp6" };

/* Each word of the address is printed as a number of this machine. */
static void parse_address(const char *text, struct in6_addr *address)
{
	const size_t words = strlen(text) / 8;
	char digits[9] = "";

	*address = ipv4_any;
	for (size_t i = 4 - words; i < 4; i++, text += 8) {
		memcpy(digits, text, 8);
		address->s6_addr32[i] = (uint32_t)strtoul(digits, NULL, 16);
	}
}

/*
 * "  0: 0100007F:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000
 *  0 0 4711 ...". Returns its state, or 0 if it is none.
 */
static unsigned int parse_entry(const char *line, unsigned int *port,
				struct listening *listening)
{
	unsigned int state;
	char address[33];

	if (sscanf(line,
		   " %*u: %32[0-9A-F]:%4x %*[0-9A-F:] %2x %*s %*s %*s %*u "
		   "%*u %lu",
		   address, port, &state, &listening->inode) != 4)
		return 0;
	parse_address(address, &listening->address);
	return state;
}

struct search {
	uint16_t port;
	struct listening *found;
	size_t most;
	size_t count;
	/* Of the first that was found. */
	unsigned int state;
};

static void add(struct search *search, const struct listening *listening,
		unsigned int state)
{
	if (search->count < search->most)
		search->found[search->count] = *listening;
	if (search->count++ == 0)
		search->state = state;
}

static int heed_answer(const struct nlmsghdr *message, void *context)
{
	struct search *search = context;
	const struct inet_diag_msg *answer =
		netlink_body(message, SOCK_DIAG_BY_FAMILY, sizeof(*answer));
	struct listening listening = { .address = ipv4_any };

	if (!answer || ntohs(answer->id.idiag_sport) != search->port)
		return 0;
	listening.inode = answer->idiag_inode;
	if (answer->idiag_family == AF_INET)
		listening.address.s6_addr32[3] = answer->id.idiag_src[0];
	else
		memcpy(&listening.address, answer->id.idiag_src,
		       sizeof(listening.address));
	add(search, &listening, TCP_LISTEN);
	return 0;
}

/* By sock_diag(7): 0, or negative errno where the kernel does not have it. */
static int ask(int family, struct search *search)
{
	const struct inet_diag_req_v2 request = {
		.sdiag_family = (uint8_t)family,
		.sdiag_protocol = IPPROTO_TCP,
		.idiag_states = 1 << TCP_LISTEN,
		.id.idiag_sport = htons(search->port),
	};

	return netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request,
			    sizeof(request), heed_answer, search);
}

/* Those that listen come first, and unless @any state will do, no more is read.
 * To find that no more do, the kernel goes through its whole table of
 * connections, which takes milliseconds. */
static void read_list(const char *path, bool any, struct search *search)
{
	FILE *file = fopen(path, "re");
	struct listening listening;
	unsigned int port, state;
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		state = parse_entry(line, &port, &listening);
		if (state && state != TCP_LISTEN && !any)
			break;
		/* Not the heading. */
		if (state && port == search->port)
			add(search, &listening, state);
	}
	if (file)
		fclose(file);
}

size_t listening_find(uint16_t port, struct listening *found, size_t most)
{
	struct search search = { .port = port, .found = found, .most = most };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		if (ask(i ? AF_INET6 : AF_INET, &search) < 0)
			read_list(lists[i], false, &search);
	}
	return search.count;
}

/* A socket that has @port, whatever it does, but one that listens if there is
 * one. Returns its state, or 0 if there is none. */
static unsigned int find_holder(uint16_t port, struct listening *holder)
{
	struct search search = { .port = port, .found = holder, .most = 1 };

	if (listening_find(port, holder, 1))
		return TCP_LISTEN;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		read_list(lists[i], true, &search);
	return search.state;
}

bool listeners_serve(uint16_t port)
{
	return listening_find(port, NULL, 0) > 0;
}

bool listening_takes(const struct listening *listening,
		     const struct endpoint *endpoint)
{
	const struct in6_addr wanted = address_as_ipv6(&endpoint->address.any);

	if (IN6_IS_ADDR_UNSPECIFIED(&listening->address))
		return true;
	return IN6_ARE_ADDR_EQUAL(&listening->address, &wanted) ||
	       (address_is_any(&listening->address) &&
		IN6_IS_ADDR_V4MAPPED(&wanted));
}

bool listening_at_own_address(uint16_t port)
{
	struct listening found[64];
	const size_t count = listening_find(port, found, ARRAY_SIZE(found));

	for (size_t i = 0; i < count && i < ARRAY_SIZE(found); i++)
		if (!address_is_any(&found[i].address) &&
		    !address_is_loopback(&found[i].address))
			return true;
	return false;
}

/* Does a descriptor in the folder @process of /proc lead to @target? */
static bool has_open(int proc, const char *process, const char *target)
{
	char path[300];
	char link[64];
	bool found = false;
	DIR *descriptors;
	int fd;

	snprintf(path, sizeof(path), "%s/fd", process);
	fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	descriptors = fd < 0 ? NULL : fdopendir(fd);
	if (!descriptors) {
		close_fd_at(&fd);
		return false;
	}
	for (struct dirent *entry; !found && (entry = readdir(descriptors));) {
		ssize_t length =
			readlinkat(fd, entry->d_name, link, sizeof(link) - 1);

		link[length > 0 ? length : 0] = '\0';
		found = strcmp(link, target) == 0;
	}
	closedir(descriptors);
	return found;
}

static void read_name(int proc, const char *process, char *name, size_t size)
{
	cleanup_fd int fd = -1;
	ssize_t length;
	char path[300];

	snprintf(path, sizeof(path), "%s/comm", process);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	length = fd < 0 ? 0 : read(fd, name, size - 1);
	name[length > 0 ? length : 0] = '\0';
	name[strcspn(name, "\n")] = '\0';
}

pid_t listening_process(const struct listening *listening, char *name,
			size_t size)
{
	DIR *processes = opendir("/proc");
	char target[64];
	pid_t pid = 0;

	if (!processes)
		return 0;
	snprintf(target, sizeof(target), "socket:[%lu]", listening->inode);
	for (struct dirent *entry; !pid && (entry = readdir(processes));) {
		if (*entry->d_name < '1' || *entry->d_name > '9' ||
		    !has_open(dirfd(processes), entry->d_name, target))
			continue;
		pid = atoi(entry->d_name);
		read_name(dirfd(processes), entry->d_name, name, size);
	}
	closedir(processes);
	return pid;
}

void listening_describe_holder(uint16_t port,
			       char text[static LISTENING_HOLDER_SIZE])
{
	struct listening holder;
	const unsigned int state = find_holder(port, &holder);
	char name[32] = "";
	/* One that has ended is nobody's (TIME_WAIT). */
	const int pid = state && holder.inode
				? listening_process(&holder, name, sizeof(name))
				: 0;

	if (!state)
		snprintf(text, LISTENING_HOLDER_SIZE, "nobody is seen there");
	else if (!pid)
		snprintf(text, LISTENING_HOLDER_SIZE,
			 "%s of no process is there",
			 state == TCP_LISTEN ? "a listener" : "a connection");
	else if (state == TCP_LISTEN)
		snprintf(text, LISTENING_HOLDER_SIZE,
			 "%s (process %d) listens there", name, pid);
	else
		snprintf(text, LISTENING_HOLDER_SIZE,
			 "a connection of %s (process %d) is there", name, pid);
}
