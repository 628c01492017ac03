// SPDX-License-Identifier: MIT
#include "redirect/bpf/repair.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"

/* Not in glibc 2.36. */
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#define TCP_OPTION_SEGMENT_SIZE	  2
#define TCP_OPTION_WINDOW_SCALE	  3
#define TCP_OPTION_SELECTIVE_ACKS 4
#define TCP_OPTION_TIMESTAMPS	  8
#define OPTIONS_MOST		  4

/*
 * The RST takes the web server's socket away on the CPU that has seen it,
 * mostly before we are told; later where that CPU is a virtual one that has to
 * wait for a real one; or never. What waits behind one that fails gets old in
 * the same time, so that many of them cost no more of it than one.
 */
#define SOON_NS	     (1 * NS_PER_MS)
#define SOON_STEP_NS (NS_PER_MS / 20)
#define STEP_NS	     NS_PER_MS
#define PATIENCE_NS  (100 * NS_PER_MS)

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno
									: 0;
}

/* IPv4 comes as ::ffff:a.b.c.d. */
static socklen_t name(const struct handoff_event *event,
		      const struct host_address *from, uint16_t port,
		      struct sockaddr_storage *to)
{
	struct sockaddr_in ipv4 = { .sin_family = AF_INET, .sin_port = port };
	struct sockaddr_in6 ipv6 = { .sin6_family = AF_INET6,
				     .sin6_port = port };

	memcpy(&ipv6.sin6_addr, from, sizeof(ipv6.sin6_addr));
	if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
		ipv4.sin_addr.s_addr = from->words[3];
		memcpy(to, &ipv4, sizeof(ipv4));
		return sizeof(ipv4);
	}
	if (IN6_IS_ADDR_LINKLOCAL(&ipv6.sin6_addr))
		ipv6.sin6_scope_id = event->ifindex;
	memcpy(to, &ipv6, sizeof(ipv6));
	return sizeof(ipv6);
}

void repair_client(const struct handoff_event *event,
		   struct sockaddr_storage *address, socklen_t *length)
{
	*length = name(event, &event->flow.client, event->flow.client_port,
		       address);
}

/* Where each direction begins. */
static int set_sequences(int fd, const struct handoff_event *event)
{
	int err = set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);

	if (!err)
		err = set(fd, IPPROTO_TCP, TCP_QUEUE_SEQ,
			  (int)event->send_next);
	if (!err)
		err = set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	if (!err)
		err = set(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, (int)event->sequence);
	return err;
}

/* Under repair that sends nothing; it needs the name that the web server's
 * socket has until the RST has come there. */
static int take_name(int fd, const struct sockaddr *client, socklen_t length,
		     uint64_t seen_ns)
{
	for (;;) {
		const uint64_t age = monotonic_ns() - seen_ns;
		const struct timespec pause = {
			.tv_nsec = age < SOON_NS ? SOON_STEP_NS : STEP_NS,
		};

		if (connect(fd, client, length) == 0)
			return 0;
		if (errno != EADDRNOTAVAIL || age >= PATIENCE_NS)
			return -errno;
		nanosleep(&pause, NULL);
	}
}

/*
 * What both ends had agreed on. The scale is always given, also if there is
 * none: connect() leaves one of its own.
 */
static int set_options(int fd, const struct handoff_event *event)
{
	struct tcp_repair_opt options[OPTIONS_MOST] = {
		{ TCP_OPTION_SEGMENT_SIZE, event->segment_size },
		{ TCP_OPTION_WINDOW_SCALE,
		  event->window_scaling
			  ? event->send_window_scale |
				    (uint32_t)event->receive_window_scale << 16
			  : 0 },
	};
	socklen_t count = 2;
	int err = 0;

	if (event->selective_acks)
		options[count++].opt_code = TCP_OPTION_SELECTIVE_ACKS;
	if (event->timestamps)
		options[count++].opt_code = TCP_OPTION_TIMESTAMPS;
	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options,
		       count * (socklen_t)sizeof(*options)) < 0)
		return -errno;
	/* Not back in time; the lowest bit means microseconds (6.7). */
	if (event->timestamps)
		err = set(fd, IPPROTO_TCP, TCP_TIMESTAMP,
			  (int)((event->timestamp + 1) & ~1u));
	return err;
}

static int set_window(int fd, const struct handoff_event *event)
{
	const struct tcp_repair_window window = {
		.snd_wl1 = event->last_sequence,
		.snd_wnd = event->send_window,
		.max_window = event->send_window,
		.rcv_wnd = event->receive_window,
		.rcv_wup = event->receive_window_at,
	};

	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window,
			  sizeof(window)) < 0
		       ? -errno
		       : 0;
}

int repair_receive(int fd, const uint8_t *bytes, size_t length)
{
	ssize_t taken = send(fd, bytes, length, 0);

	if (taken < 0)
		return -errno;
	return (size_t)taken == length ? 0 : -ENOBUFS;
}

int repair_begin(const struct handoff_event *event)
{
	struct sockaddr_storage server, client;
	socklen_t length =
		name(event, &event->server, event->server_port, &server);
	cleanup_fd int fd = -1;
	int err = 0;

	name(event, &event->flow.client, event->flow.client_port, &client);
	fd = socket(server.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (event->bound_ifindex)
		err = set(fd, SOL_SOCKET, SO_BINDTOIFINDEX,
			  (int)event->bound_ifindex);
	if (!err)
		err = set(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_ON);
	if (!err)
		err = set_sequences(fd, event);
	if (!err && bind(fd, (const struct sockaddr *)&server, length) < 0)
		err = -errno;
	if (!err)
		err = take_name(fd, (const struct sockaddr *)&client, length,
				event->seen_ns);
	if (!err)
		err = set_options(fd, event);
	if (!err)
		err = set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_RECV_QUEUE);
	if (!err)
		err = repair_receive(fd, event->bytes, event->length);
	if (!err)
		err = set_window(fd, event);
	return err ? err : steal_fd(&fd);
}

/*
 * Reusable, as the sockets that the web server accepts are: else it could not
 * bind its port anew while this one is there, if only in TIME_WAIT. Only now,
 * because the end of the repair takes that away.
 */
int repair_end(int fd)
{
	int err = set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_NO_QUEUE);

	if (!err)
		err = set(fd, IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF);
	if (!err)
		err = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!err)
		err = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!err)
		err = set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	return err;
}
