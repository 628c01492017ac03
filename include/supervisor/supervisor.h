/* SPDX-License-Identifier: MIT */
/*
 * The root process: brings redirect and proxy together, watches both, and
 * undoes everything in the right order. It never reads a byte that a stranger
 * sent.
 *
 *   STARTING -> SERVING -> DRAINING -> done
 *
 * SERVING: a worker that dies is replaced; if there is no other, new flows go
 * to the web server until its successor is ready. DRAINING begins with SIGINT,
 * SIGTERM or SIGHUP (SIGQUIT: without waiting for connections): first the
 * redirect goes, then, after the grace period for handshakes under way, the
 * listeners and the pidfile, at last the connections.
 */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>

#include "command/options.h"
#include "instance/pidfile.h"
#include "proxy/proxy.h"
#include "redirect/redirect.h"

struct supervisor_settings {
	const struct options *options;
	/* As each worker can; their shares of --max-connections come off it. */
	struct proxy_config proxy;
	unsigned int worker_count;
	struct redirect_config redirect;
	const struct redirect_ops *ops;
	/* By its probe(); closed by supervisor_run(). */
	struct redirect *probed;
	/* Acquired; released by supervisor_run(). */
	struct pidfile *pidfile;
	/* Called once the redirect is in place and verified; an error (logged)
	 * takes it away again. */
	int (*ready)(void *context);
	void *ready_context;
};

/*
 * Serve until told to stop and drained. The caller holds the stop signals (see
 * stop_signals.h). Returns 0, or negative errno after
 * everything was undone and the reason logged.
 */
int supervisor_run(const struct supervisor_settings *settings);

/* Handshakes that began before the redirect went have this long to end. */
#define SUPERVISOR_GRACE_MS 3000
/* Beyond that, for a worker on a busy machine to close its listeners. */
#define SUPERVISOR_CLOSE_MS 2000

#endif
