// SPDX-License-Identifier: MIT
/*
 * wire NAMESPACE NAME: a tun device NAME here and one in that network
 * namespace, and what is sent on one is received on the other. Runs until it
 * is killed.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int open_tun(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR);

	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	return fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0 ? fd : -1;
}

static int enter(const char *namespace)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", namespace);
	fd = open(path, O_RDONLY);
	return fd >= 0 ? setns(fd, CLONE_NEWNET) : -1;
}

static void carry(int from, int to)
{
	char packet[65536];
	ssize_t size = read(from, packet, sizeof(packet));

	/* One that the other side does not take is lost, as on any wire. */
	if (size > 0 && write(to, packet, (size_t)size) < 0)
		return;
}

int main(int argc, char *argv[])
{
	struct pollfd ends[2] = { { .events = POLLIN }, { .events = POLLIN } };

	if (argc != 3) {
		fputs("usage: wire NAMESPACE NAME\n", stderr);
		return 2;
	}
	ends[0].fd = open_tun(argv[2]);
	if (ends[0].fd < 0 || enter(argv[1]) < 0 ||
	    (ends[1].fd = open_tun(argv[2])) < 0) {
		perror("wire");
		return 1;
	}
	while (poll(ends, 2, -1) > 0) {
		if (ends[0].revents)
			carry(ends[0].fd, ends[1].fd);
		if (ends[1].revents)
			carry(ends[1].fd, ends[0].fd);
	}
	return 1;
}
