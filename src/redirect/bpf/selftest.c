// SPDX-License-Identifier: MIT
#include "redirect/bpf/selftest.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "redirect/bpf/tc.h"

/* No listener of ours has this port, by which instances are told apart. */
#define INSTANCE 1
/* For each step; a busy machine is no reason to do without. */
#define STEP_MS 1000
#define BULK	100000
#define PIECE	10000

/* A hello with one extension, ALPN, that offers what stands at its end. */
static const char hello[] = "\x16\x03\x01\0\x42\x01\0\0\x3e\x03\x03"
			    "0123456789abcdef0123456789abcdef"
			    "\0\0\x02\x13\x01\x01\0\0\x13\0\x10\0\x0f\0\x0d"
			    "\x0a"
			    "acme-tls/1"
			    "\x01x";
#define HELLO_SIZE (sizeof(hello) - 1)

struct trial {
	struct handoff *handoff;
	struct sockaddr_in address;
	int listener_fd;
	/* What was handed over, or -1. */
	int taken_fd;
	/* The step at hand, for the message. */
	const char *step;
};

static int keep(void *context, int fd)
{
	struct trial *trial = context;

	trial->taken_fd = dup(fd);
	return trial->taken_fd < 0 ? -errno : 0;
}

static bool wait_for(int fd)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };

	return poll(&readable, 1, STEP_MS) == 1;
}

static int listen_on_loopback(struct trial *trial)
{
	socklen_t size = sizeof(trial->address);
	const struct sockaddr_in any = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	trial->listener_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (trial->listener_fd < 0 ||
	    bind(trial->listener_fd, (const struct sockaddr *)&any,
		 sizeof(any)) < 0 ||
	    listen(trial->listener_fd, 2) < 0 ||
	    getsockname(trial->listener_fd, (struct sockaddr *)&trial->address,
			&size) < 0)
		return -errno;
	return 0;
}

/* A client whose hello offers @last_byte at the protocol's end. */
static int say_hello(const struct trial *trial, char last_byte)
{
	/* A firewall may close loopback, too. */
	const struct timeval limit = { .tv_sec = STEP_MS / 1000 };
	char bytes[HELLO_SIZE];
	cleanup_fd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(bytes, hello, HELLO_SIZE);
	bytes[HELLO_SIZE - 3] = last_byte;
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) <
		    0 ||
	    connect(fd, (const struct sockaddr *)&trial->address,
		    sizeof(trial->address)) < 0 ||
	    send(fd, bytes, HELLO_SIZE, MSG_NOSIGNAL) != HELLO_SIZE)
		return -errno;
	return steal_fd(&fd);
}

static int expect(int fd, const char *bytes, size_t length)
{
	char got[PIECE];

	for (size_t have = 0; have < length;) {
		ssize_t more = wait_for(fd) ? recv(fd, got, length - have, 0)
					    : -1;

		if (more <= 0 || memcmp(got, bytes + have, (size_t)more) != 0)
			return -EPROTO;
		have += (size_t)more;
	}
	return 0;
}

static int visit(struct trial *trial)
{
	cleanup_fd int client = say_hello(trial, '2');
	cleanup_fd int server = -1;

	trial->step = "an ordinary connection";
	if (client < 0 || !wait_for(trial->listener_fd))
		return client < 0 ? client : -ETIMEDOUT;
	server = accept4(trial->listener_fd, NULL, NULL, SOCK_CLOEXEC);
	handoff_receive(trial->handoff);
	if (trial->taken_fd >= 0)
		return -EPROTO;
	return expect(server, hello, HELLO_SIZE - 3);
}

static int exchange(int one, int other)
{
	char bytes[PIECE];
	int err = 0;

	for (size_t i = 0; i < 2 * BULK / PIECE && !err; i++) {
		const int from = i % 2 ? one : other;

		memset(bytes, (int)i, sizeof(bytes));
		if (send(from, bytes, sizeof(bytes), MSG_NOSIGNAL) !=
		    sizeof(bytes))
			return -EPROTO;
		err = expect(i % 2 ? other : one, bytes, sizeof(bytes));
	}
	return err;
}

static int challenge(struct trial *trial)
{
	cleanup_fd int client = say_hello(trial, '1');
	int err;

	trial->step = "a challenge";
	if (client < 0 || !wait_for(handoff_event_fd(trial->handoff)))
		return client < 0 ? client : -ETIMEDOUT;
	handoff_receive(trial->handoff);
	if (trial->taken_fd < 0)
		return trial->handoff->failed_err ? trial->handoff->failed_err
						  : -EPROTO;
	err = expect(trial->taken_fd, hello, HELLO_SIZE);
	return err ? err : exchange(client, trial->taken_fd);
}

static int set_switch(const struct trial *trial, bool enabled)
{
	const uint64_t until = monotonic_ns() + NS_PER_MS * 10 * STEP_MS;
	const struct program_switch wanted = {
		.supervised_until_ns = until,
		.enabled = enabled,
		.service_port = trial->address.sin_port,
	};

	*trial->handoff->program.lease = enabled ? until : 0;
	return program_switch(&trial->handoff->program, &wanted);
}

static int try_out(struct trial *trial)
{
	struct tc_attachment attachment;
	int err;

	trial->step = "attaching to loopback";
	err = tc_attach(&attachment, tc_best_way(), if_nametoindex("lo"),
			trial->handoff->program.fd, INSTANCE);
	if (err)
		return err;
	err = set_switch(trial, true);
	if (!err)
		err = visit(trial);
	if (!err)
		err = challenge(trial);
	set_switch(trial, false);
	tc_detach(&attachment);
	return err;
}

int selftest(struct handoff *handoff, char *why, size_t size)
{
	struct handoff before = *handoff;
	struct trial trial = { .handoff = handoff,
			       .listener_fd = -1,
			       .taken_fd = -1,
			       .step = "listening on loopback" };
	int err = listen_on_loopback(&trial);

	handoff->hand_over = keep;
	handoff->hand_over_context = &trial;
	handoff->quiet = true;
	if (!err)
		err = try_out(&trial);
	close_fd_at(&trial.taken_fd);
	close_fd_at(&trial.listener_fd);
	if (err)
		snprintf(why, size, "the trial on loopback failed at %s: %s",
			 trial.step,
			 err == -EADDRNOTAVAIL ? "a firewall drops inbound RST"
					       : error_text(err));
	/* Nothing of it is counted. */
	*handoff = before;
	return err;
}
