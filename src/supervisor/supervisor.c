// SPDX-License-Identifier: MIT
#include "supervisor/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/notify.h"
#include "base/signals.h"
#include "instance/record.h"
#include "instance/record_file.h"
#include "instance/recovery.h"
#include "listen/latecomers.h"
#include "listen/listening.h"
#include "redirect/host.h"
#include "supervisor/aside.h"
#include "supervisor/pool.h"
#include "supervisor/privileges.h"
#include "supervisor/status_server.h"

/* Whatever it waits for, the supervisor looks after all else as often. */
#define TURN_NS NS_PER_S
/* The same where a redirect depends on our renewing it. */
#define RENEW_NS (400 * NS_PER_MS)
/* How often a drain is told of to those who watch, and how many times of these
 * go without a line of log. */
#define PROGRESS_NS	  NS_PER_S
#define PROGRESS_PER_LINE 10
/* Longer than a worker takes to prove that visitors are served. */
#define PROOF_PATIENCE_MS (PROXY_PROOF_MS + 300)
/* Until a redirect that would not go away is told to do so again. */
#define PAUSE_RETRY_MS 5000
/* Until a worker that did not hear that it is to drain is told again. */
#define TELL_RETRY_NS (100 * NS_PER_MS)
/* What the kernel gives the last handshake, by default; whoever goes on asking
 * for the listeners' own port does not keep them open. */
#define LATECOMERS_NS (64 * NS_PER_S)

/* See supervisor.h. */
enum phase {
	PHASE_STARTING,
	PHASE_SERVING,
	PHASE_STOPPING,
	PHASE_GRACE,
	PHASE_CLOSING,
	PHASE_DRAINING,
	PHASE_ENDING,
	PHASE_DONE,
};

struct supervisor {
	struct supervisor_settings *settings;
	enum phase phase;
	/* When the phase has something to do, and when it ends at the latest;
	 * UINT64_MAX for never. */
	uint64_t due_ns;
	uint64_t deadline_ns;
	/* How often a drain has been told of. */
	unsigned int told;
	/* Why it stops: 0 if somebody wants it so. */
	int err;
	struct redirect *redirect;
	/* Of all workers; the listeners are the supervisor's own as well. */
	struct worker_settings worker;
	struct worker_pool pool;
	struct aside aside;
	int signal_fd;
	/* While listeners stay open in the drain (latecomers.h), or -1; until
	 * when at most; and who waits for their end, or -1. */
	int latecomers_fd;
	uint64_t latecomers_until_ns;
	int next_fd;
	struct status_server status;
	/* What is made on the host; it is written there. */
	struct record_file record_file;
	bool recorded;
	/* New flows come to the listeners now. */
	bool attached;
	/* SIGQUIT: connections are not waited for. */
	bool at_once;
	/* Whoever sends more than one signal has been told. */
	bool repeated;
};

/* The phase has something to do now, and so long until it must end. */
static void enter(struct supervisor *supervisor, enum phase phase,
		  uint64_t timeout_ms)
{
	supervisor->phase = phase;
	supervisor->due_ns = 0;
	supervisor->deadline_ns = monotonic_ns() + timeout_ms * NS_PER_MS;
}

static const struct redirect_ops *ops_of(const struct supervisor *supervisor)
{
	return supervisor->settings->ops;
}

static int open_listeners(struct supervisor *supervisor)
{
	const struct supervisor_settings *settings = supervisor->settings;
	char holder[LISTENING_HOLDER_SIZE];
	int err = listeners_open(
		&supervisor->worker.proxy.listeners, settings->ops->scope,
		settings->redirect.listen_port, settings->redirect.ipv6);

	if (err == -EADDRINUSE) {
		listening_describe_holder(settings->redirect.listen_port,
					  holder);
		log_error("cannot listen on port %u: %s: %s; end it, or choose "
			  "another port with --listen",
			  settings->redirect.listen_port, error_text(err),
			  holder);
		return err;
	}
	return log_failure(err, "cannot listen on port %u",
			   settings->redirect.listen_port);
}

static int hand_over(void *context, int fd)
{
	struct supervisor *supervisor = context;

	return worker_pool_hand_over(&supervisor->pool, fd);
}

/*
 * Nobody who is served today may be turned away tomorrow. Where nobody is,
 * there may be no web server yet. A busy machine may let the worker wait, which
 * is no reason for a start to fail; once it serves, others wait for us.
 */
static int prove(void *context, char *why, size_t size)
{
	struct supervisor *supervisor = context;
	const struct supervisor_settings *settings = supervisor->settings;
	const uint16_t port = settings->redirect.service_port;
	const int err = worker_pool_prove(&supervisor->pool,
					  supervisor->phase == PHASE_STARTING
						  ? WORKER_POOL_HUNG_MS
						  : PROOF_PATIENCE_MS);
	const char *advice = "use -fallback ", *more;
	struct served served;

	if (!err)
		supervisor->aside.proved = true;
	if (!err || !served_find(port, &served))
		return 0;
	more = served.fallback;
	if (!*more) {
		advice = "where this host itself can connect to the web "
			 "server, name that with -fallback";
		more = settings->ops->spares_visitors
			       ? ""
			       : "; else use --redirect handoff, which leaves "
				 "visitors alone";
	}
	snprintf(why, size,
		 "the fallback %s takes no visitors (%s), but port %u is "
		 "served %s: %s%s",
		 settings->proxy.fallback.text, error_text(err), port,
		 served.by, advice, more);
	return err;
}

static int prove_before(struct supervisor *supervisor)
{
	char why[1024];
	int err;

	if (!supervisor->redirect->proxies_visitors)
		return 0;
	err = prove(supervisor, why, sizeof(why));
	if (err)
		log_error("%s", why);
	return err;
}

/* What attach() will make, so that it can be undone if we are killed. */
static int record(void *context)
{
	struct supervisor *supervisor = context;
	const struct supervisor_settings *settings = supervisor->settings;
	struct record_file *file = &supervisor->record_file;
	struct record made = {
		.service_port = settings->redirect.service_port,
		.listen_port = settings->redirect.listen_port,
	};
	int err;

	strcpy(made.redirect, settings->ops->name);
	if (settings->ops->leftovers)
		settings->ops->leftovers(supervisor->redirect, &made.leftovers);
	err = record_file_name(file, settings->pidfile->path);
	if (!err)
		err = record_locate(&made);
	/* Without /proc nobody could tell later where it was made. */
	if (err == -ENOENT)
		return 0;
	if (!err)
		err = record_file_write(file, &made);
	supervisor->recorded |= !err;
	return log_failure(err,
			   "cannot write %s, which is to tell what is made on "
			   "this host",
			   file->path);
}

/*
 * Open everything that touches no packet, in the order of dependence: the
 * redirect assigns packets to the listeners, and the workers inherit both.
 */
static int prepare(struct supervisor *supervisor)
{
	struct supervisor_settings *settings = supervisor->settings;
	const struct redirect_ops *ops = settings->ops;
	struct worker_settings *worker = &supervisor->worker;
	int err;

	err = open_listeners(supervisor);
	if (err)
		return err;
	settings->redirect.context = supervisor;
	settings->redirect.hand_over = hand_over;
	settings->redirect.prove = prove;
	settings->redirect.record = record;
	err = ops->open(&settings->redirect, &worker->proxy.listeners,
			&supervisor->redirect);
	if (err)
		return err;
	worker->proxy.lease = supervisor->redirect->lease;
	worker->proxy.drain_when_orphaned = worker->proxy.lease != NULL;
	worker->redirect_fd = supervisor->redirect->worker_fd;
	return worker_pool_start(&supervisor->pool);
}

/* Once; the pidfile is still held: the next holder's has the same name. */
static void forget(struct supervisor *supervisor)
{
	if (supervisor->recorded)
		record_file_remove(&supervisor->record_file);
	supervisor->recorded = false;
}

/* Attaching has failed, and perhaps not all of it could be taken back. */
static void undo_what_is_left(struct supervisor *supervisor)
{
	const struct record_file *file = &supervisor->record_file;

	if (supervisor->recorded && recovery_undo(file))
		log_error("something is left, and %s tells what: stop tries "
			  "again to remove it",
			  file->path);
}

static void renew(struct supervisor *supervisor)
{
	const struct redirect_ops *ops = ops_of(supervisor);

	if (supervisor->attached && ops->renew)
		ops->renew(supervisor->redirect,
			   worker_pool_well(&supervisor->pool) > 0);
}

static int attach(struct supervisor *supervisor)
{
	int err = ops_of(supervisor)->attach(supervisor->redirect);

	if (err)
		return err;
	supervisor->attached = true;
	renew(supervisor);
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

static void stop(struct supervisor *supervisor, int err)
{
	supervisor->err = err;
	enter(supervisor, PHASE_STOPPING, 0);
	pidfile_mark_stopping(supervisor->settings->pidfile);
	notify("STOPPING=1\nSTATUS=taking the redirect away");
}

/* After a rotation, all that we log goes to the new file. */
static void follow_rotation(struct supervisor *supervisor)
{
	int err;

	if (!log_settings.path)
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

static void read_signal(struct supervisor *supervisor)
{
	const int signal_number = signals_read(supervisor->signal_fd, NULL);

	if (signal_number == SIGQUIT)
		supervisor->at_once = true;
	if (!signal_number) {
		return;
	} else if (signal_number == SIGUSR1) {
		follow_rotation(supervisor);
	} else if (supervisor->phase == PHASE_SERVING) {
		log_info("signal %d: stopping", signal_number);
		stop(supervisor, 0);
	} else if (signal_number != SIGQUIT && !supervisor->repeated) {
		supervisor->repeated = true;
		log_info("signal %d: already stopping; SIGQUIT ends the "
			 "remaining connections now",
			 signal_number);
	}
}

/*
 * Whoever proxies visitors steps aside where they are not served. A redirect
 * that cannot be paused is the one error that is worth an end: then the
 * supervisor goes on trying.
 */
static int step_aside(struct supervisor *supervisor)
{
	struct aside *aside = &supervisor->aside;
	int err = 0;

	switch (aside_look(aside, &supervisor->pool,
			   &supervisor->worker.proxy.listeners,
			   supervisor->redirect, supervisor->attached)) {
	case ASIDE_STAY:
		break;
	case ASIDE_PAUSE:
		err = pause_redirect(supervisor);
		log_error("%s: new connections go past the proxy, challenges "
			  "too, until it is tried again in %llu ms",
			  aside->why,
			  (unsigned long long)(aside->pause_ns / NS_PER_MS));
		notify("STATUS=paused: %s", aside->why);
		break;
	case ASIDE_RESUME:
		err = attach(supervisor);
		if (!err)
			*aside->why = '\0';
		if (!err)
			log_info("the redirect is back in place");
		break;
	}
	return err;
}

/*
 * A worker that dies takes its connections along; the port must not die with
 * it. New flows go to the other workers, or to the web server where there is no
 * other: what waits in the listeners' queues is served by the next one. A pause
 * that fails is tried again until somebody is ready.
 */
static void serve(struct supervisor *supervisor, unsigned int died)
{
	struct worker_pool *pool = &supervisor->pool;
	int err;

	if ((died && !worker_pool_well(pool)) || !worker_pool_ready(pool))
		pause_redirect(supervisor);
	err = worker_pool_replace(pool);
	if (!err)
		err = supervisor->attached || !worker_pool_well(pool) ||
				      *supervisor->aside.why
			      ? 0
			      : attach(supervisor);
	if (!err &&
	    (supervisor->redirect->proxies_visitors || *supervisor->aside.why))
		err = step_aside(supervisor);
	if (err)
		stop(supervisor, err);
}

static bool needs_grace(const struct supervisor *supervisor)
{
	return !ops_of(supervisor)->spares_visitors ||
	       supervisor->redirect->proxies_visitors;
}

/*
 * While this fails, visitors still come to the listeners, so that the only safe
 * thing is to go on serving.
 */
static void take_redirect_away(struct supervisor *supervisor)
{
	const uint64_t now = monotonic_ns();

	if (now < supervisor->due_ns) {
		worker_pool_replace(&supervisor->pool);
		return;
	}
	if (pause_redirect(supervisor) == 0) {
		/* The workers' are the last ones open then, so that their
		 * close is final. */
		listeners_close(&supervisor->worker.proxy.listeners);
		enter(supervisor, PHASE_GRACE,
		      needs_grace(supervisor)
			      ? supervisor->settings->proxy.grace_ms
			      : 0);
		return;
	}
	log_error("the redirect is still there: serving on, and trying again "
		  "in %d s",
		  PAUSE_RETRY_MS / 1000);
	supervisor->pool.must_serve = true;
	supervisor->due_ns = now + PAUSE_RETRY_MS * NS_PER_MS;
	supervisor->deadline_ns = UINT64_MAX;
}

/* The redirect goes out of the packets' path, and the pidfile is free. */
static void let_go(struct supervisor *supervisor)
{
	ops_of(supervisor)->detach(supervisor->redirect);
	status_server_close(&supervisor->status);
	forget(supervisor);
	pidfile_release(supervisor->settings->pidfile);
	enter(supervisor, PHASE_DRAINING,
	      supervisor->settings->proxy.drain_timeout_ms);
}

static bool has_latecomers(const struct supervisor *supervisor)
{
	const struct redirect_ops *ops = ops_of(supervisor);

	return ops->has_latecomers
		       ? ops->has_latecomers(supervisor->redirect)
		       : latecomers_exist(
				 supervisor->settings->redirect.listen_port,
				 NULL, NULL);
}

static void wait_for_handshakes(struct supervisor *supervisor)
{
	const uint64_t now = monotonic_ns();

	if (worker_pool_drain(&supervisor->pool, false) &&
	    now < supervisor->deadline_ns) {
		supervisor->due_ns = now + TELL_RETRY_NS;
		return;
	}
	if (!supervisor->at_once && has_latecomers(supervisor))
		supervisor->latecomers_fd = log_failure(
			latecomers_expect(
				supervisor->settings->redirect.listen_port),
			"cannot wait for handshakes that are under way");
	if (supervisor->latecomers_fd < 0) {
		enter(supervisor, PHASE_CLOSING,
		      SUPERVISOR_CLOSE_MS + WORKER_POOL_HUNG_MS);
		return;
	}
	log_info("handshakes are still under way: listening on until they end");
	supervisor->latecomers_until_ns = now + LATECOMERS_NS;
	let_go(supervisor);
}

/* Wait until the workers listen no more: the next start wants the port. One
 * that hangs is killed in that time. */
static void close_listeners(struct supervisor *supervisor)
{
	const uint64_t now = monotonic_ns();

	if (worker_pool_drain(&supervisor->pool, true) &&
	    now < supervisor->deadline_ns)
		supervisor->due_ns = now + TELL_RETRY_NS;
	else
		let_go(supervisor);
}

/* Until the last of them is served, or given up by the kernel, or somebody
 * wants the port. */
static void attend_to_latecomers(struct supervisor *supervisor, bool asked)
{
	if (supervisor->latecomers_fd < 0)
		return;
	if (asked)
		supervisor->next_fd =
			latecomers_hear(supervisor->latecomers_fd);
	if (supervisor->next_fd >= 0 && supervisor->latecomers_until_ns)
		log_info("port %u is wanted: listening no more",
			 supervisor->settings->redirect.listen_port);
	if (supervisor->next_fd >= 0 ||
	    monotonic_ns() >= supervisor->latecomers_until_ns ||
	    !has_latecomers(supervisor))
		supervisor->latecomers_until_ns = 0;
	if (supervisor->latecomers_until_ns ||
	    worker_pool_drain(&supervisor->pool, true))
		return;
	close_fd_at(&supervisor->latecomers_fd);
	close_fd_at(&supervisor->next_fd);
}

static void report_drain(struct supervisor *supervisor, uint64_t left_ns)
{
	const unsigned long long open =
		worker_pool_totals(&supervisor->pool).open_connections;

	status_server_tell(&supervisor->status,
			   (uint32_t)(left_ns / NS_PER_MS));
	if (supervisor->told++ % PROGRESS_PER_LINE)
		return;
	notify("STATUS=the redirect is gone; waiting for %llu connections%s",
	       open,
	       supervisor->latecomers_fd < 0 ? "" : " and for handshakes");
	if (open)
		log_info("waiting for %llu connections to end, closing them "
			 "in %llu s",
			 open, (unsigned long long)(left_ns / NS_PER_S));
}

static void drain(struct supervisor *supervisor)
{
	struct worker_pool *pool = &supervisor->pool;
	const unsigned long long open =
		worker_pool_totals(pool).open_connections;
	const uint64_t now = monotonic_ns();

	if (worker_pool_running(pool) && now < supervisor->deadline_ns &&
	    !supervisor->at_once) {
		if (now < supervisor->due_ns)
			return;
		report_drain(supervisor, supervisor->deadline_ns - now);
		supervisor->due_ns = now + PROGRESS_NS;
		return;
	}
	if (open)
		log_warning("closing %llu connections that have not ended",
			    open);
	if (worker_pool_running(pool))
		worker_pool_terminate(pool);
	enter(supervisor, PHASE_ENDING, SUPERVISOR_CLOSE_MS);
}

static void end(struct supervisor *supervisor)
{
	supervisor->due_ns = supervisor->deadline_ns;
	if (!worker_pool_running(&supervisor->pool) ||
	    monotonic_ns() >= supervisor->deadline_ns)
		supervisor->phase = PHASE_DONE;
}

/* Until the phase is due, but not too long for all else. In ms. */
static int time_to_wait(const struct supervisor *supervisor)
{
	const uint64_t now = monotonic_ns();
	uint64_t next = now + (ops_of(supervisor)->renew ? RENEW_NS : TURN_NS);

	if (supervisor->due_ns < next)
		next = supervisor->due_ns;
	if (supervisor->phase == PHASE_SERVING &&
	    aside_due(&supervisor->aside) < next)
		next = aside_due(&supervisor->aside);
	if (supervisor->deadline_ns < next)
		next = supervisor->deadline_ns;
	return ms_until(next);
}

/* What is waited for, in this order. */
enum {
	FD_REDIRECT,
	FD_SIGNAL,
	FD_LATECOMERS,
	FD_STATUS,
	FD_WORKERS = FD_STATUS + STATUS_SERVER_FDS,
};

/* Wait once, and look after everything. */
static void turn(struct supervisor *supervisor)
{
	const struct redirect_ops *ops = ops_of(supervisor);
	struct worker_pool *pool = &supervisor->pool;
	struct pollfd fds[FD_WORKERS + WORKER_POOL_MAXIMUM] = {
		[FD_REDIRECT] = { .fd = supervisor->redirect->event_fd,
				  .events = POLLIN },
		[FD_SIGNAL] = { .fd = supervisor->signal_fd, .events = POLLIN },
		[FD_LATECOMERS] = { .fd = supervisor->phase == PHASE_DRAINING &&
							  supervisor->next_fd <
								  0
						  ? supervisor->latecomers_fd
						  : -1,
				    .events = POLLIN },
	};
	unsigned int died;
	int err = 0;

	status_server_watch_fds(&supervisor->status, fds + FD_STATUS);
	worker_pool_watch_fds(pool, fds + FD_WORKERS);
	if (poll(fds, FD_WORKERS + pool->count, time_to_wait(supervisor)) < 0 &&
	    errno != EINTR)
		err = -errno;
	/* First: a visitor may wait for it. */
	if (!err && ops->handle_event)
		err = ops->handle_event(supervisor->redirect);
	if (err && supervisor->phase == PHASE_SERVING)
		stop(supervisor, err);
	read_signal(supervisor);
	died = worker_pool_receive(pool, 0);
	worker_pool_kill_hung(pool);
	status_server_serve(&supervisor->status, fds + FD_STATUS);
	switch (supervisor->phase) {
	case PHASE_SERVING:
		renew(supervisor);
		serve(supervisor, died);
		break;
	case PHASE_STOPPING:
		take_redirect_away(supervisor);
		break;
	case PHASE_GRACE:
		wait_for_handshakes(supervisor);
		break;
	case PHASE_CLOSING:
		close_listeners(supervisor);
		break;
	case PHASE_DRAINING:
		attend_to_latecomers(supervisor, fds[FD_LATECOMERS].revents);
		drain(supervisor);
		break;
	case PHASE_ENDING:
		end(supervisor);
		break;
	case PHASE_STARTING:
	case PHASE_DONE:
		break;
	}
}

static void report_end(const struct supervisor *supervisor)
{
	const struct proxy_totals totals =
		worker_pool_totals(&supervisor->pool);

	log_info("done: %llu connections, %llu to the ACME responder, %llu to "
		 "the web server",
		 (unsigned long long)totals.accepted,
		 (unsigned long long)totals.to_alpn,
		 (unsigned long long)totals.to_fallback);
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
	status_server_open(&supervisor->status,
			   (struct status_source){
				   .config = &settings->redirect,
				   .redirect = supervisor->redirect,
				   .pool = &supervisor->pool,
				   .paused = supervisor->aside.why,
			   });
	err = pidfile_publish(settings->pidfile);
	if (err)
		return log_failure(err, "cannot write %s",
				   settings->pidfile->path);
	if (settings->ops->spares_visitors)
		log_info("ready: %s of port %u is in place; acme-tls/1 to %s, "
			 "all others stay with the web server",
			 settings->ops->name, settings->redirect.service_port,
			 settings->proxy.alpn.text);
	else
		log_info("ready: %s redirect of port %u to port %u is in "
			 "place; acme-tls/1 to %s, all others to %s",
			 settings->ops->name, settings->redirect.service_port,
			 settings->redirect.listen_port,
			 settings->proxy.alpn.text,
			 settings->proxy.fallback.text);
	err = notify("READY=1\nSTATUS=%s redirect of port %u is in place",
		     settings->ops->name, settings->redirect.service_port);
	if (err < 0)
		log_warning("cannot tell the service manager: %s",
			    error_text(err));
	return settings->ready(settings->ready_context);
}

/* Of what the worker may connect to. */
static void allow_backend(struct supervisor *supervisor,
			  const struct backend *backend)
{
	struct confinement_settings *confinement =
		&supervisor->worker.confinement;

	if (!backend_is_unix(backend))
		confinement->ports[confinement->port_count++] =
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
		&supervisor->worker.confinement;
	const char *user = settings->user;
	int err;

	allow_backend(supervisor, &settings->proxy.alpn);
	allow_backend(supervisor, &settings->proxy.fallback);
	confinement->own_sources = settings->proxy.own_sources;

	if (geteuid() != 0)
		return 0;
	err = privileges_find_user(user, &confinement->uid, &confinement->gid);
	if (err == -ENOENT || err == -EPERM)
		log_error("user %s %s: name one with --user, or a number", user,
			  err == -ENOENT ? "does not exist" : "has all rights");
	else
		log_failure(err, "cannot look up user %s", user);
	return err;
}

static int open_signals(struct supervisor *supervisor)
{
	const int fd = signals_open(SIGUSR1);

	supervisor->signal_fd = fd;
	return fd < 0 ? log_failure(fd, "cannot listen for signals") : 0;
}

/* A stop that came while all this was prepared: nothing is in place yet. */
static int stopped_already(struct supervisor *supervisor)
{
	int signal_number = signals_read(supervisor->signal_fd, NULL);

	if (signal_number == SIGUSR1)
		follow_rotation(supervisor);
	if (!signal_number || signal_number == SIGUSR1)
		return 0;
	log_error("signal %d: not started", signal_number);
	return -EINTR;
}

static void release(struct supervisor *supervisor)
{
	worker_pool_close(&supervisor->pool);
	close_fd_at(&supervisor->latecomers_fd);
	close_fd_at(&supervisor->next_fd);
	if (supervisor->redirect)
		ops_of(supervisor)->close(supervisor->redirect);
	undo_what_is_left(supervisor);
	status_server_close(&supervisor->status);
	status_server_leave(&supervisor->status);
	pidfile_release(supervisor->settings->pidfile);
	listeners_close(&supervisor->worker.proxy.listeners);
	close_fd_at(&supervisor->signal_fd);
}

static int start(struct supervisor *supervisor)
{
	int err = open_signals(supervisor);

	if (!err)
		err = worker_pool_open(&supervisor->pool,
				       supervisor->settings->worker_count,
				       &supervisor->worker);
	if (!err)
		err = set_up_confinement(supervisor);
	if (!err)
		err = prepare(supervisor);
	if (!err)
		err = prove_before(supervisor);
	if (!err)
		err = stopped_already(supervisor);
	if (!err)
		err = record(supervisor);
	return err ? err : attach(supervisor);
}

int supervisor_run(struct supervisor_settings *settings)
{
	struct supervisor supervisor = {
		.settings = settings,
		.due_ns = UINT64_MAX,
		.deadline_ns = UINT64_MAX,
		.redirect = settings->probed,
		.latecomers_fd = -1,
		.next_fd = -1,
		.status = STATUS_SERVER_NONE,
		.worker = {
			.proxy = {
				.config = &settings->proxy,
				.listeners = LISTENERS_NONE,
			},
			.redirect_fd = -1,
			.pidfile = settings->pidfile,
		},
	};
	int err = start(&supervisor);

	if (!err) {
		supervisor.phase = PHASE_SERVING;
		err = announce(&supervisor);
		if (err)
			stop(&supervisor, err);
		while (supervisor.phase != PHASE_DONE)
			turn(&supervisor);
		err = supervisor.err;
		if (!err)
			report_end(&supervisor);
	}
	release(&supervisor);
	return err;
}
