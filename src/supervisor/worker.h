/* SPDX-License-Identifier: MIT */
/*
 * The worker process: forked by the supervisor, it gives up every right and
 * then runs the proxy (proxy.h).
 */
#ifndef SUPERVISOR_WORKER_H
#define SUPERVISOR_WORKER_H

#include <sys/types.h>

#include "instance/pidfile.h"
#include "proxy/messages.h"
#include "proxy/proxy.h"
#include "supervisor/confinement.h"

struct worker_settings {
	/* For the proxy; its counters and its control_fd are each worker's
	 * own. */
	struct proxy_environment proxy;
	/* See struct redirect, or -1. */
	int redirect_fd;
	const struct pidfile *pidfile;
	struct confinement_settings confinement;
};

struct worker {
	/* 0 when there is none. */
	pid_t pid;
	/* Becomes readable when the worker has a message or has died. */
	int control_fd;
};

/* Fork a worker. 0 or negative errno. PROXY_READY follows on control_fd. */
int worker_start(struct worker *worker, const struct worker_settings *settings);

/*
 * The next message: an enum proxy_message, 0 if none is there within
 * @timeout_ms, or -EPIPE if the worker has died.
 */
int worker_receive(const struct worker *worker, int timeout_ms);

/* Send a message, and @fd unless it is -1. 0 or negative errno (-EAGAIN: its
 * queue is full); a dead worker is noticed by worker_receive(). */
int worker_send(const struct worker *worker, enum proxy_message message,
		int fd);

/*
 * Forget a worker that has died or must: SIGKILL, reap, close. Returns its
 * wait status.
 */
int worker_reap(struct worker *worker);

#endif
