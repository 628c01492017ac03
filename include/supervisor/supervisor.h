/* SPDX-License-Identifier: MIT */
/*
 * The root process: brings redirect and proxy together, watches both, and
 * undoes everything in the right order. It never reads a byte that a stranger
 * sent.
 *
 *   STARTING -> SERVING -> STOPPING -> GRACE -> CLOSING -> DRAINING -> ENDING
 *   -> DONE
 *
 *   SERVING   a worker that dies is replaced; if there is no other, new flows
 *             go to the web server until its successor is ready
 *   STOPPING  begins with SIGINT, SIGTERM or SIGHUP (SIGQUIT: no connection is
 *             waited for), or with an error: the redirect is taken away. While
 *             that fails, visitors still come, so that the workers serve on
 *   GRACE     handshakes under way have time to end
 *   CLOSING   the workers close the listeners. At its end nothing of the
 *             redirect is left, and the pidfile is free
 *   DRAINING  what is open goes on, for the drain timeout at most. Where
 *             handshakes need longer than the grace, it follows at once, and
 *             the listeners are among what is open
 *   ENDING    the workers close what is left
 */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include "instance/pidfile.h"
#include "proxy/proxy.h"
#include "redirect/redirect.h"

struct supervisor_settings {
	/* Its max_connections are those of all workers together. */
	struct proxy_config proxy;
	unsigned int worker_count;
	/* Whom the workers become; ignored unless we are root. */
	const char *user;
	/* Whom to hand sockets over to is filled in by supervisor_run(). */
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
 * base/signals.h). Returns 0, or negative errno after everything was undone and
 * the reason logged.
 */
int supervisor_run(struct supervisor_settings *settings);

/* Handshakes that began before the redirect went have this long to end before
 * the pidfile is free. */
#define SUPERVISOR_GRACE_MS 3000
/* Beyond that, for a worker on a busy machine to close its listeners. */
#define SUPERVISOR_CLOSE_MS 2000

#endif
