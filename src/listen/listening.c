// SPDX-License-Identifier: MIT
#include "listen/listening.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/netlink.h"

struct search {
	uint16_t port;
	struct listening *found;
	size_t most;
	size_t count;
};

/* Of the thread that asks: it may be in another network namespace. */
#define TCP_LIST  "/proc/thread-self/net/tcp"
#define TCP6_LIST "/proc/thread-self/net/tcp6"

/* Each word of the address is printed as a number of this machine. */
static bool parse_address(const char *text, struct listening *listening)
{
	const size_t words = listening->family == AF_INET ? 1 : 4;
	uint32_t word;

	if (strlen(text) != words * 8)
		return false;
	for (size_t i = 0; i < words; i++, text += 8) {
		char digits[9] = "";

		memcpy(digits, text, 8);
		word = (uint32_t)strtoul(digits, NULL, 16);
		memcpy(listening->address + i * 4, &word, sizeof(word));
	}
	return true;
}

/*
 * "  0: 0100007F:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000
 *  0 0 4711 ...". Returns whether it is an entry, with its state.
 */
static bool parse_entry(const char *line, struct listening *listening,
			unsigned int *port, unsigned int *state)
{
	char address[33];

	return sscanf(line,
		      " %*u: %32[0-9A-F]:%4x %*[0-9A-F:] %2x %*s %*s %*s %*u "
		      "%*u %lu",
		      address, port, state, &listening->inode) == 4 &&
	       parse_address(address, listening);
}

static void add(struct search *search, const struct listening *listening)
{
	if (search->count < search->most)
		search->found[search->count] = *listening;
	search->count++;
}

static int heed_answer(const struct nlmsghdr *message, void *context)
{
	struct search *search = context;
	const struct inet_diag_msg *answer =
		netlink_body(message, SOCK_DIAG_BY_FAMILY, sizeof(*answer));
	struct listening listening = { 0 };

	if (!answer || ntohs(answer->id.idiag_sport) != search->port)
		return 0;
	listening.family = answer->idiag_family;
	listening.inode = answer->idiag_inode;
	memcpy(listening.address, answer->id.idiag_src,
	       listening.family == AF_INET ? 4 : 16);
	add(search, &listening);
	return 0;
}

/* By sock_diag(7): 0, or negative errno where the kernel does not have it. */
static int ask(sa_family_t family, struct search *search)
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

/*
 * In the kernel's list those that listen come first. To find that no more come
 * the kernel goes through its whole table of connections, which takes
 * milliseconds.
 */
static void read_list(const char *path, sa_family_t family,
		      struct search *search)
{
	FILE *file = fopen(path, "re");
	unsigned int state = TCP_LISTEN;
	char line[256];

	if (!file)
		return;
	while (state == TCP_LISTEN && fgets(line, sizeof(line), file)) {
		struct listening listening = { .family = family };
		unsigned int local_port;

		/* Not the heading. */
		if (parse_entry(line, &listening, &local_port, &state) &&
		    state == TCP_LISTEN && local_port == search->port)
			add(search, &listening);
	}
	fclose(file);
}

size_t listening_find(uint16_t port, struct listening *found, size_t most)
{
	struct search search = { .port = port, .found = found, .most = most };

	if (ask(AF_INET, &search) < 0)
		read_list(TCP_LIST, AF_INET, &search);
	if (ask(AF_INET6, &search) < 0)
		read_list(TCP6_LIST, AF_INET6, &search);
	return search.count;
}

static unsigned int find_first(const char *path, sa_family_t family,
			       uint16_t port, struct listening *found)
{
	FILE *file = fopen(path, "re");
	unsigned int first = 0;
	unsigned int local_port;
	unsigned int state;
	char line[256];

	if (!file)
		return 0;
	while (!first && fgets(line, sizeof(line), file)) {
		*found = (struct listening){ .family = family };
		if (parse_entry(line, found, &local_port, &state) &&
		    local_port == port)
			first = state;
	}
	fclose(file);
	return first;
}

unsigned int listening_find_holder(uint16_t port, struct listening *holder)
{
	unsigned int state;

	if (listening_find(port, holder, 1))
		return TCP_LISTEN;
	state = find_first(TCP_LIST, AF_INET, port, holder);
	return state ? state : find_first(TCP6_LIST, AF_INET6, port, holder);
}

bool listeners_serve(uint16_t port)
{
	return listening_find(port, NULL, 0) > 0;
}

bool listening_takes(const struct listening *listening,
		     const struct sockaddr *address)
{
	static const uint8_t any[16];
	const void *bytes =
		address->sa_family == AF_INET
			? (const void *)&(
				  (const struct sockaddr_in *)(const void *)
					  address)
				  ->sin_addr
			: &((const struct sockaddr_in6 *)(const void *)address)
				   ->sin6_addr;
	const size_t size = address->sa_family == AF_INET ? 4 : 16;

	if (memcmp(listening->address, any, sizeof(any)) == 0)
		return listening->family == address->sa_family ||
		       listening->family == AF_INET6;
	return listening->family == address->sa_family &&
	       memcmp(listening->address, bytes, size) == 0;
}

static bool is_own_address(const struct listening *listening)
{
	const uint8_t *address = listening->address;

	return memcmp(address, &in6addr_any, sizeof(in6addr_any)) != 0 &&
	       (listening->family == AF_INET
			? address[0] != IN_LOOPBACKNET
			: memcmp(address, &in6addr_loopback,
				 sizeof(in6addr_loopback)) != 0);
}

bool listening_at_own_address(uint16_t port)
{
	struct listening found[64] = { { .family = AF_UNSPEC } };

	listening_find(port, found, ARRAY_SIZE(found));
	for (size_t i = 0; i < ARRAY_SIZE(found); i++)
		if (is_own_address(&found[i]))
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
