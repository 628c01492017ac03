// SPDX-License-Identifier: MIT
#include "listen/latecomers.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"
#include "base/name.h"
#include "base/netlink.h"

/* For a busy machine. */
#define TURN_AWAY_MS 3000

struct search {
	bool (*is_ours)(const struct inet_diag_msg *handshake, void *context);
	void *context;
	bool found;
};

static int heed_handshake(const struct nlmsghdr *message, void *context)
{
	struct search *search = context;
	const struct inet_diag_msg *handshake =
		netlink_body(message, SOCK_DIAG_BY_FAMILY, sizeof(*handshake));

	search->found = handshake &&
			(!search->is_ours ||
			 search->is_ours(handshake, search->context));
	return search->found ? -ECANCELED : 0;
}

bool latecomers_exist(uint16_t port,
		      bool (*is_ours)(const struct inet_diag_msg *handshake,
				      void *context),
		      void *context)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct search search = { .is_ours = is_ours, .context = context };

	for (size_t i = 0; i < ARRAY_SIZE(families) && !search.found; i++) {
		const struct inet_diag_req_v2 request = {
			.sdiag_family = families[i],
			.sdiag_protocol = IPPROTO_TCP,
			.idiag_states = 1 << TCP_SYN_RECV,
			.id.idiag_sport = htons(port),
		};

		netlink_dump(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, &request,
			     sizeof(request), heed_handshake, &search);
	}
	return search.found;
}

/* The port's namespace is the name's as well. */
struct name {
	char text[40];
};

static struct name name_of(uint16_t port)
{
	struct name name;

	snprintf(name.text, sizeof(name.text), "acme-alpn-proxy latecomers %u",
		 port);
	return name;
}

int latecomers_expect(uint16_t port)
{
	return name_own(name_of(port).text);
}

/* The name is known to all, and the network namespace is a container's, too. */
int latecomers_hear(int fd)
{
	cleanup_fd int asking = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	struct ucred peer;
	socklen_t length = sizeof(peer);

	if (asking < 0 ||
	    getsockopt(asking, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return -1;
	return peer.uid == 0 || peer.uid == geteuid() ? steal_fd(&asking) : -1;
}

bool latecomers_are_expected(uint16_t port)
{
	return name_is_owned(name_of(port).text);
}

void latecomers_turn_away(uint16_t port)
{
	name_await_end(name_of(port).text, TURN_AWAY_MS);
}
