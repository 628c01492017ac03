/* SPDX-License-Identifier: MIT */
/* The supervisor's end of `status` (see status/report.h). */
#ifndef SUPERVISOR_STATUS_SERVER_H
#define SUPERVISOR_STATUS_SERVER_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "redirect/redirect.h"
#include "supervisor/pool.h"

/* Of those who asked, so many may stay to see a drain. */
#define STATUS_SERVER_WATCHERS 4
/* What it waits for: who asks, and those who stay. */
#define STATUS_SERVER_FDS (1 + STATUS_SERVER_WATCHERS)

/* Where the answer comes from. */
struct status_source {
	const struct redirect_config *config;
	const struct redirect *redirect;
	const struct worker_pool *pool;
	/* Why the redirect is paused; "" if it is not. */
	const char *paused;
};

struct status_server {
	struct status_source source;
	/* Readable when somebody asks; -1 when not open. */
	int fd;
	/* Who asked last could not be let in. */
	bool refused;
	char path[BACKEND_TEXT_SIZE];
	/* When it was opened, CLOCK_REALTIME in seconds. */
	int64_t since;
	/* The last who asked, or -1 each. */
	int watchers[STATUS_SERVER_WATCHERS];
	unsigned int next_watcher;
};

#define STATUS_SERVER_NONE                                \
	{                                                 \
		.fd = -1, .watchers = { -1, -1, -1, -1 }, \
	}

/*
 * Listen beside the pidfile, which must be held. `status` is a convenience: if
 * it cannot be had, that is logged and the service goes on. What @source points
 * to must outlive the server.
 */
void status_server_open(struct status_server *server,
			struct status_source source);

/* Fill in what is to be waited for. */
void status_server_watch_fds(struct status_server *server,
			     struct pollfd fds[static STATUS_SERVER_FDS]);

/* Hang up on who has left, and answer one who asks. */
void status_server_serve(struct status_server *server,
			 const struct pollfd fds[static STATUS_SERVER_FDS]);

/* Tell those who stayed how the drain goes, which ends in @left_ms. */
void status_server_tell(struct status_server *server, uint32_t left_ms);

/* Remove the socket, while the pidfile is still held: the next holder's has
 * the same name. Who asked before may still be told. Safe when not open. */
void status_server_close(struct status_server *server);
/* Hang up on all. */
void status_server_leave(struct status_server *server);

#endif
