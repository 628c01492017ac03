// SPDX-License-Identifier: MIT
#include "supervisor/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/notify.h"
#include "base/stop_signals.h"
#include "supervisor/pool.h"
#include "supervisor/privileges.h"
#include "supervisor/status_server.h"

/* Whatever it waits for, the supervisor looks after all else as often. */
#define TURN_MS 1000
/* How often a drain tells of its progress. */
#define PROGRESS_INTERVAL_NS (10 * NS_PER_S)
/* Until a redirect that would not go away is told to do so again. */
#define PAUSE_RETRY_MS 5000

struct supervisor {
	const struct supervisor_settings *settings;
	struct listeners listeners;
	struct redirect *redirect;
	struct worker_settings worker_settings;
	struct worker_pool pool;
	int signal_fd;
	/* Readable when the log file was rotated. */
	int rotation_fd;
	struct status_server status;
	/* New flows come to the listeners now; have done so at any time. */
	bool attached;
	bool served;
	/* SIGQUIT: connections are not waited for. */
	bool at_once;
	/* The only ones that a worker may connect to. */
	uint16_t backend_ports[2];
};

static const struct redirect_ops *ops_of(const struct supervisor *supervisor)
{
	return supervisor->settings->ops;
}

static int open_listeners(struct supervisor *supervisor)
{
	const struct supervisor_settings *settings = supervisor->settings;
	int err = listeners_open(&supervisor->listeners, settings->ops->scope,
				 settings->redirect.listen_port,
				 settings->redirect.ipv6);

	if (err)
		log_error("cannot listen on port %u: %s%s",
			  settings->redirect.listen_port, error_text(err),
			  err == -EADDRINUSE ? "; stop what listens there, or "
					       "choose another with --listen"
					     : "");
	return err;
}

/*
 * Open everything that touches no packet, in the order of dependence: the
 * redirect assigns packets to the listeners, and the workers inherit both.
 */
static int prepare(struct supervisor *supervisor)
{
	const struct supervisor_settings *settings = supervisor->settings;
	const struct redirect_ops *ops = settings->ops;
	int err;

	err = open_listeners(supervisor);
	if (err)
		return err;
	err = ops->open(&settings->redirect, &supervisor->listeners,
			&supervisor->redirect);
	if (err)
		return err;
	supervisor->worker_settings.lease =
		ops->lease ? ops->lease(supervisor->redirect) : NULL;
	supervisor->worker_settings.redirect_fd =
		ops->worker_fd ? ops->worker_fd(supervisor->redirect) : -1;
	return worker_pool_start(&supervisor->pool);
}

static int attach(struct supervisor *supervisor)
{
	int err = ops_of(supervisor)->attach(supervisor->redirect);

	if (err)
		return err;
	supervisor->attached = true;
	supervisor->served = true;
	return 0;
}

/* New flows to the web server, now. */
static int pause_redirect(struct supervisor *supervisor)
{
	int err;

	if (!supervisor->attached)
		return 0;
	err = ops_of(supervisor)->pause(supervisor->redirect);
	if (!err)
		supervisor->attached = false;
	return err;
}

/*
 * A worker that dies takes its connections along; the port must not die with
 * it. New flows go to the other workers, or to the web server where there is no
 * other: what waits in the listeners' queues is served by the next one. A pause
 * that fails is tried again for as long as nobody is there.
 */
static int tend_workers(struct supervisor *supervisor)
{
	struct worker_pool *pool = &supervisor->pool;
	const unsigned int died = worker_pool_receive(pool, 0);
	int err;

	if ((died && !worker_pool_well(pool)) || !worker_pool_running(pool))
		pause_redirect(supervisor);
	err = worker_pool_replace(pool);
	if (err < 0)
		return err;
	worker_pool_kill_hung(pool);
	if (supervisor->attached || !worker_pool_well(pool))
		return 0;
	return attach(supervisor);
}

/* After a rotation, all that we log goes to the new file. */
static void follow_rotation(struct supervisor *supervisor)
{
	int err;

	if (!log_file_asked(supervisor->rotation_fd) || !log_settings.path)
		return;
	err = log_file_reopen();
	if (err) {
		log_error("cannot open %s again: %s; logging to the old file",
			  log_settings.path, error_text(err));
		return;
	}
	log_info("log file opened again");
	worker_pool_send_log_file(&supervisor->pool);
}

static struct status_source status_source(const struct supervisor *supervisor)
{
	return (struct status_source){
		.supervisor = supervisor->settings,
		.listeners = &supervisor->listeners,
		.redirect = supervisor->redirect,
		.pool = &supervisor->pool,
	};
}

/* What serve() waits for, in this order. */
#define FIRST_STATUS 3
#define FIRST_WORKER (FIRST_STATUS + STATUS_SERVER_FDS)

/* Serve until a stop signal. 0, or the reason why it cannot go on. */
static int serve(struct supervisor *supervisor)
{
	const struct redirect_ops *ops = ops_of(supervisor);
	struct pollfd fds[FIRST_WORKER + WORKER_POOL_MAXIMUM] = {
		{ .fd = supervisor->signal_fd, .events = POLLIN },
		{ .fd = ops->event_fd ? ops->event_fd(supervisor->redirect)
				      : -1,
		  .events = POLLIN },
		{ .fd = supervisor->rotation_fd, .events = POLLIN },
	};
	struct status_source source;
	int signal_number;
	int err;

	for (;;) {
		status_server_watch_fds(&supervisor->status,
					fds + FIRST_STATUS);
		worker_pool_watch_fds(&supervisor->pool, fds + FIRST_WORKER);
		if (poll(fds, FIRST_WORKER + supervisor->pool.count, TURN_MS) <
			    0 &&
		    errno != EINTR)
			return -errno;
		signal_number = stop_signals_read(supervisor->signal_fd);
		if (signal_number) {
			log_info("signal %d: stopping", signal_number);
			supervisor->at_once = signal_number == SIGQUIT;
			return 0;
		}
		follow_rotation(supervisor);
		err = tend_workers(supervisor);
		if (err)
			return err;
		if (ops->handle_event) {
			err = ops->handle_event(supervisor->redirect);
			if (err)
				return err;
		}
		source = status_source(supervisor);
		status_server_serve(&supervisor->status, fds + FIRST_STATUS,
				    &source);
	}
}

/*
 * Tell the workers to drain, and wait until they listen no more: the next start
 * wants the port. One that hangs is killed in that time.
 */
static void drain_listeners(struct supervisor *supervisor)
{
	struct worker_pool *pool = &supervisor->pool;
	const uint64_t deadline =
		monotonic_ns() + (SUPERVISOR_GRACE_MS + SUPERVISOR_CLOSE_MS +
				  WORKER_POOL_HUNG_MS) *
					 NS_PER_MS;

	while (worker_pool_drain(pool) && monotonic_ns() < deadline) {
		worker_pool_receive(pool, 100);
		worker_pool_kill_hung(pool);
	}
}

/*
 * Let the workers finish the handshakes under way, then take the redirect out
 * of the packets' path and free the pidfile.
 */
static void end_redirect(struct supervisor *supervisor)
{
	const struct redirect_ops *ops = ops_of(supervisor);

	/* The workers' are the last ones open, so that their close is final. */
	listeners_close(&supervisor->listeners);
	drain_listeners(supervisor);
	ops->detach(supervisor->redirect);
	status_server_close(&supervisor->status);
	pidfile_release(supervisor->settings->pidfile);
}

/* For those who watch `stop --wait`. */
static void tell_watchers(struct supervisor *supervisor, uint64_t left_ns)
{
	const struct status_source source = status_source(supervisor);

	status_server_tell(&supervisor->status, &source,
			   (uint32_t)(left_ns / NS_PER_MS));
}

static void report_drain(const struct supervisor *supervisor, uint64_t left_ns)
{
	uint64_t open = worker_pool_sum(&supervisor->pool, open_connections);

	notify("STATUS=the redirect is gone; waiting for %llu connections",
	       (unsigned long long)open);
	if (open)
		log_info("waiting for %llu connections to end, closing them "
			 "in %llu s",
			 (unsigned long long)open,
			 (unsigned long long)(left_ns / NS_PER_S));
}

/* Wait until all workers have ended, at most for the drain timeout. */
static void drain(struct supervisor *supervisor)
{
	struct worker_pool *pool = &supervisor->pool;
	uint64_t now = monotonic_ns();
	uint64_t deadline =
		now +
		supervisor->settings->options->drain_timeout_ms * NS_PER_MS;
	uint64_t next_report = now;
	uint64_t next_tell = now;
	int signal_number;

	while (worker_pool_running(pool) && now < deadline &&
	       !supervisor->at_once) {
		if (now >= next_report) {
			report_drain(supervisor, deadline - now);
			next_report = now + PROGRESS_INTERVAL_NS;
		}
		if (now >= next_tell) {
			tell_watchers(supervisor, deadline - now);
			next_tell = now + NS_PER_S;
		}
		worker_pool_receive(pool, 200);
		worker_pool_kill_hung(pool);
		follow_rotation(supervisor);
		signal_number = stop_signals_read(supervisor->signal_fd);
		if (signal_number == SIGQUIT)
			supervisor->at_once = true;
		else if (signal_number)
			log_info("signal %d: already stopping; SIGQUIT ends "
				 "the remaining connections now",
				 signal_number);
		now = monotonic_ns();
	}
	if (worker_pool_running(pool)) {
		log_warning("closing %llu connections that have not ended",
			    (unsigned long long)worker_pool_sum(
				    pool, open_connections));
		worker_pool_terminate(pool, SUPERVISOR_CLOSE_MS);
	}
}

static void report_end(const struct supervisor *supervisor)
{
	const struct worker_pool *pool = &supervisor->pool;

	log_info("done: %llu connections, %llu to the ACME responder, %llu to "
		 "the web server",
		 (unsigned long long)worker_pool_sum(pool, accepted),
		 (unsigned long long)worker_pool_sum(pool, to_alpn),
		 (unsigned long long)worker_pool_sum(pool, to_fallback));
}

/* At start only: those who replace the first worker are confined like it. */
static void report_confinement(const struct worker_pool *pool)
{
	unsigned int missing = CONFINED_BY_ALL & ~worker_pool_confinement(pool);
	char names[128] = "";

	if (!missing)
		return;
	for (unsigned int bits = missing; bits; bits &= bits - 1) {
		strcat(names, " ");
		strcat(names, confinement_name(bits));
	}
	log_info("workers are not confined by%s: the kernel, our rights or a "
		 "backend's path do not allow it",
		 names);
}

/* The pidfile says so from here on; whoever asked for it may go on. */
static int announce(struct supervisor *supervisor)
{
	const struct supervisor_settings *settings = supervisor->settings;
	int err;

	report_confinement(&supervisor->pool);
	status_server_open(&supervisor->status, settings->pidfile->path);
	err = pidfile_publish(settings->pidfile);
	if (err) {
		log_error("cannot write %s: %s", settings->pidfile->path,
			  error_text(err));
		return err;
	}
	log_info("ready: %s redirect of port %u to port %u is in place; "
		 "acme-tls/1 to %s, all others to %s",
		 settings->ops->name, settings->redirect.service_port,
		 settings->redirect.listen_port, settings->proxy.alpn.text,
		 settings->proxy.fallback.text);
	err = notify("READY=1\nSTATUS=%s redirect of port %u is in place",
		     settings->ops->name, settings->redirect.service_port);
	if (err < 0)
		log_warning("cannot tell the service manager: %s",
			    error_text(err));
	return settings->ready(settings->ready_context);
}

/* Let the workers serve for as long as a pause is tried again. */
static void serve_meanwhile(struct supervisor *supervisor)
{
	const uint64_t deadline = monotonic_ns() + PAUSE_RETRY_MS * NS_PER_MS;
	struct worker_pool *pool = &supervisor->pool;

	pool->must_serve = true;
	do {
		worker_pool_receive(pool, TURN_MS);
		worker_pool_replace(pool);
		worker_pool_kill_hung(pool);
		follow_rotation(supervisor);
	} while (monotonic_ns() < deadline);
}

/*
 * Take the redirect away. While that fails, visitors still come to the
 * listeners, so that the only safe thing is to go on serving.
 */
static void stop_redirecting(struct supervisor *supervisor)
{
	pidfile_mark_stopping(supervisor->settings->pidfile);
	notify("STOPPING=1\nSTATUS=taking the redirect away");
	while (pause_redirect(supervisor) < 0) {
		log_error("the redirect is still there: serving on, and trying "
			  "again in %d s",
			  PAUSE_RETRY_MS / 1000);
		serve_meanwhile(supervisor);
	}
}

/* Of what the worker may connect to. */
static void allow_backend(struct supervisor *supervisor,
			  const struct backend *backend)
{
	struct confinement_settings *confinement =
		&supervisor->worker_settings.confinement;

	if (!backend_is_unix(backend))
		supervisor->backend_ports[confinement->port_count++] =
			endpoint_port(&backend->addresses[0]);
	else if (backend_has_path(backend))
		confinement->unix_paths = true;
	else
		confinement->unix_names = true;
}

static int set_up_confinement(struct supervisor *supervisor)
{
	const struct supervisor_settings *settings = supervisor->settings;
	struct confinement_settings *confinement =
		&supervisor->worker_settings.confinement;
	const char *user = settings->options->user;
	int err;

	confinement->ports = supervisor->backend_ports;
	allow_backend(supervisor, &settings->proxy.alpn);
	allow_backend(supervisor, &settings->proxy.fallback);

	if (geteuid() != 0)
		return 0;
	err = privileges_find_user(user, &confinement->uid, &confinement->gid);
	if (err)
		log_error("user %s %s: name one with --user, or a number", user,
			  err == -ENOENT ? "does not exist" : "has all rights");
	return err;
}

static int open_signals(struct supervisor *supervisor)
{
	int err = 0;

	supervisor->signal_fd = stop_signals_open();
	supervisor->rotation_fd = log_file_watch();
	if (supervisor->signal_fd < 0)
		err = supervisor->signal_fd;
	else if (supervisor->rotation_fd < 0)
		err = supervisor->rotation_fd;
	if (err)
		log_error("cannot listen for signals: %s", error_text(err));
	return err;
}

/* A stop that came while all this was prepared: nothing is in place yet. */
static int stopped_already(const struct supervisor *supervisor)
{
	int signal_number = stop_signals_read(supervisor->signal_fd);

	if (!signal_number)
		return 0;
	log_error("signal %d: not started", signal_number);
	return -EINTR;
}

static void release(struct supervisor *supervisor)
{
	worker_pool_close(&supervisor->pool);
	if (supervisor->redirect)
		ops_of(supervisor)->close(supervisor->redirect);
	status_server_close(&supervisor->status);
	status_server_leave(&supervisor->status);
	pidfile_release(supervisor->settings->pidfile);
	listeners_close(&supervisor->listeners);
	close_fd_at(&supervisor->signal_fd);
	close_fd_at(&supervisor->rotation_fd);
}

int supervisor_run(const struct supervisor_settings *settings)
{
	struct supervisor supervisor = {
		.settings = settings,
		.redirect = settings->probed,
		.listeners = LISTENERS_NONE,
		.status = STATUS_SERVER_NONE,
		.pool.max_connections = settings->options->max_connections,
		.worker_settings = {
			.config = &settings->proxy,
			.listeners = &supervisor.listeners,
			.drain_when_orphaned = settings->ops->lease != NULL,
			.pidfile = settings->pidfile,
		},
	};
	int err;

	err = open_signals(&supervisor);
	if (!err)
		err = worker_pool_open(&supervisor.pool, settings->worker_count,
				       &supervisor.worker_settings);
	if (!err)
		err = set_up_confinement(&supervisor);
	if (!err)
		err = prepare(&supervisor);
	if (!err)
		err = stopped_already(&supervisor);
	if (!err)
		err = attach(&supervisor);
	if (!err)
		err = announce(&supervisor);
	if (!err)
		err = serve(&supervisor);

	if (supervisor.served) {
		stop_redirecting(&supervisor);
		end_redirect(&supervisor);
		drain(&supervisor);
		if (!err)
			report_end(&supervisor);
	}
	release(&supervisor);
	return err;
}
