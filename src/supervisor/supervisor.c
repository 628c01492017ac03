// SPDX-License-Identifier: MIT
#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "notify.h"
#include "status_server.h"
#include "stop_signals.h"
#include "support.h"
#include "worker.h"

/* A worker says that it is ready within this time, or never. */
#define READY_TIMEOUT_MS 5000
/* How often a drain tells of its progress. */
#define PROGRESS_INTERVAL_NS (10 * NS_PER_S)
/* A heartbeat is due twice a second; a worker this late is hung. */
#define HUNG_AFTER_NS (10 * NS_PER_S)
/* The watchdog looks once a second; if it did not, we did not run either. */
#define WATCH_GAP_NS (3 * NS_PER_S)
/* So many workers may die in a row, each this young, until we give up. */
#define RESPAWN_LIMIT	 5
#define RESPAWN_YOUNG_NS (10 * NS_PER_S)
/* Until a redirect that would not go away is told to do so again. */
#define PAUSE_RETRY_MS 5000

struct supervisor {
	const struct supervisor_settings *settings;
	struct listeners listeners;
	struct redirect *redirect;
	struct worker worker;
	struct worker_settings worker_settings;
	struct proxy_counters *counters;
	int signal_fd;
	struct status_server status;
	/* New flows come to the listeners now; have done so at any time. */
	bool attached;
	bool served;
	/* SIGQUIT: connections are not waited for. */
	bool at_once;
	unsigned int young_deaths;
	uint64_t worker_started_ns;
	/* When the watchdog looked last; since when it does so in time. */
	uint64_t watched_ns;
	uint64_t watching_since_ns;
	/* The only ones that a worker may connect to. */
	uint16_t backend_ports[2];
};

static const struct redirect_ops *ops_of(const struct supervisor *supervisor)
{
	return supervisor->settings->ops;
}

static void describe_death(int status)
{
	if (WIFSIGNALED(status))
		log_error("worker: killed by signal %d", WTERMSIG(status));
	else
		log_error("worker: ended with code %d", WEXITSTATUS(status));
}

/* Start a worker and wait until its loop runs. */
static int start_worker(struct supervisor *supervisor)
{
	struct worker *worker = &supervisor->worker;
	int message;
	int err;

	supervisor->worker_started_ns = monotonic_ns();
	err = worker_start(worker, &supervisor->worker_settings);
	if (err) {
		log_error("cannot start a worker process: %s", error_text(err));
		return err;
	}
	message = worker_receive(worker, READY_TIMEOUT_MS);
	if (message == PROXY_READY)
		return 0;
	if (message == 0)
		log_error("worker: not ready after %d ms", READY_TIMEOUT_MS);
	describe_death(worker_reap(worker));
	return -ECHILD;
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
 * redirect assigns packets to the listeners, and the worker inherits both.
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
	return start_worker(supervisor);
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
 * The worker is dead: its connections are lost, the port must not be. What
 * waits in the listeners' queues is served by the next worker.
 */
static int replace_worker(struct supervisor *supervisor)
{
	int err;

	describe_death(worker_reap(&supervisor->worker));
	pause_redirect(supervisor);
	atomic_store(&supervisor->counters->open_connections, 0);

	if (monotonic_ns() - supervisor->worker_started_ns > RESPAWN_YOUNG_NS)
		supervisor->young_deaths = 0;
	if (++supervisor->young_deaths > RESPAWN_LIMIT) {
		log_error("%d workers died one after the other: giving up",
			  RESPAWN_LIMIT + 1);
		return -ECHILD;
	}
	err = start_worker(supervisor);
	if (!err)
		err = attach(supervisor);
	if (!err)
		log_info("worker: replaced");
	return err;
}

/*
 * A worker that is alive but does not turn is as good as dead. But whoever
 * stopped it (Ctrl-Z, a frozen cgroup) may have stopped us as well: then it
 * gets its time anew.
 */
static void kill_hung_worker(struct supervisor *supervisor)
{
	uint64_t now = monotonic_ns();
	uint64_t beat = atomic_load(&supervisor->counters->heartbeat_ns);

	if (now - supervisor->watched_ns > WATCH_GAP_NS)
		supervisor->watching_since_ns = now;
	supervisor->watched_ns = now;
	if (beat + HUNG_AFTER_NS >= now ||
	    supervisor->worker_started_ns + HUNG_AFTER_NS >= now ||
	    supervisor->watching_since_ns + HUNG_AFTER_NS >= now)
		return;
	log_error("worker: hung for %llu s, killing it",
		  (unsigned long long)((now - beat) / NS_PER_S));
	kill(supervisor->worker.pid, SIGKILL);
}

static void answer_status(const struct supervisor *supervisor)
{
	const struct status_source source = {
		.supervisor = supervisor->settings,
		.listeners = &supervisor->listeners,
		.redirect = supervisor->redirect,
		.counters = supervisor->counters,
		.worker_pid = supervisor->worker.pid,
	};

	status_server_answer(&supervisor->status, &source);
}

/* Serve until a stop signal. 0, or the reason why it cannot go on. */
static int serve(struct supervisor *supervisor)
{
	const struct redirect_ops *ops = ops_of(supervisor);
	struct pollfd fds[] = {
		{ .fd = supervisor->signal_fd, .events = POLLIN },
		{ .fd = ops->event_fd ? ops->event_fd(supervisor->redirect)
				      : -1,
		  .events = POLLIN },
		{ .fd = supervisor->status.fd, .events = POLLIN },
		{ .events = POLLIN },
	};
	int signal_number;
	int err;

	for (;;) {
		fds[3].fd = supervisor->worker.control_fd;
		if (poll(fds, ARRAY_SIZE(fds), 1000) < 0 && errno != EINTR)
			return -errno;
		signal_number = stop_signals_read(supervisor->signal_fd);
		if (signal_number) {
			log_info("signal %d: stopping", signal_number);
			supervisor->at_once = signal_number == SIGQUIT;
			return 0;
		}
		if (worker_receive(&supervisor->worker, 0) == -EPIPE) {
			err = replace_worker(supervisor);
			if (err)
				return err;
			continue;
		}
		kill_hung_worker(supervisor);
		/* Also an error: of a queue that overflowed. */
		if (fds[1].revents) {
			err = ops->handle_event(supervisor->redirect);
			if (err)
				return err;
		}
		if (fds[2].revents & POLLIN)
			answer_status(supervisor);
	}
}

/* Tell the worker to drain, until it hears; and wait until it listens no
 * more. */
static void drain_listeners(struct supervisor *supervisor)
{
	const struct worker *worker = &supervisor->worker;
	const uint64_t deadline =
		monotonic_ns() +
		(SUPERVISOR_GRACE_MS + SUPERVISOR_CLOSE_MS) * NS_PER_MS;
	int err = worker_send(worker, PROXY_DRAIN);

	while (worker->pid && monotonic_ns() < deadline) {
		int message = worker_receive(worker, 100);

		if (message == PROXY_LISTENERS_CLOSED || message == -EPIPE)
			break;
		if (err)
			err = worker_send(worker, PROXY_DRAIN);
	}
}

/*
 * Let the worker finish the handshakes under way, then take the redirect out
 * of the packets' path and free the pidfile.
 */
static void end_redirect(struct supervisor *supervisor)
{
	const struct redirect_ops *ops = ops_of(supervisor);

	/* The worker's are the last ones open, so that its close is final. */
	listeners_close(&supervisor->listeners);
	drain_listeners(supervisor);
	ops->detach(supervisor->redirect);
	status_server_close(&supervisor->status);
	pidfile_release(supervisor->settings->pidfile);
}

static void report_drain(const struct supervisor *supervisor, uint64_t left_ns)
{
	uint64_t open = atomic_load(&supervisor->counters->open_connections);

	notify("STATUS=the redirect is gone; waiting for %llu connections",
	       (unsigned long long)open);
	if (open)
		log_info("waiting for %llu connections to end, closing them "
			 "in %llu s",
			 (unsigned long long)open,
			 (unsigned long long)(left_ns / NS_PER_S));
}

/* Wait until the worker has ended, at most for the drain timeout. */
static void drain(struct supervisor *supervisor)
{
	uint64_t now = monotonic_ns();
	uint64_t deadline =
		now +
		supervisor->settings->options->drain_timeout_ms * NS_PER_MS;
	uint64_t next_report = now;
	int signal_number;

	while (supervisor->worker.pid && now < deadline &&
	       !supervisor->at_once) {
		if (now >= next_report) {
			report_drain(supervisor, deadline - now);
			next_report = now + PROGRESS_INTERVAL_NS;
		}
		if (worker_receive(&supervisor->worker, 200) == -EPIPE)
			return;
		signal_number = stop_signals_read(supervisor->signal_fd);
		if (signal_number == SIGQUIT)
			supervisor->at_once = true;
		else if (signal_number)
			log_info("signal %d: already stopping; SIGQUIT ends "
				 "the remaining connections now",
				 signal_number);
		now = monotonic_ns();
	}
	if (supervisor->worker.pid) {
		log_warning("closing %llu connections that have not ended",
			    (unsigned long long)atomic_load(
				    &supervisor->counters->open_connections));
		worker_send(&supervisor->worker, PROXY_TERMINATE);
		worker_receive(&supervisor->worker, SUPERVISOR_CLOSE_MS);
	}
}

static void report_end(const struct supervisor *supervisor)
{
	const struct proxy_counters *counters = supervisor->counters;

	log_info("done: %llu connections, %llu to the ACME responder, %llu to "
		 "the web server",
		 (unsigned long long)atomic_load(&counters->accepted),
		 (unsigned long long)atomic_load(&counters->to_alpn),
		 (unsigned long long)atomic_load(&counters->to_fallback));
}

/* The pidfile says so from here on; whoever asked for it may go on. */
static int announce(struct supervisor *supervisor)
{
	const struct supervisor_settings *settings = supervisor->settings;
	int err;

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

/* Let a worker serve for as long as a pause is tried again. */
static void serve_meanwhile(struct supervisor *supervisor)
{
	struct worker *worker = &supervisor->worker;

	if (worker->pid && worker_receive(worker, PAUSE_RETRY_MS) != -EPIPE)
		return;
	if (worker->pid)
		describe_death(worker_reap(worker));
	if (start_worker(supervisor))
		poll(NULL, 0, PAUSE_RETRY_MS);
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

static int allocate_counters(struct supervisor *supervisor)
{
	void *page = mmap(NULL, sizeof(*supervisor->counters),
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);

	int err = page == MAP_FAILED ? -errno : 0;

	if (err) {
		log_error("cannot share memory with the worker: %s",
			  error_text(err));
		return err;
	}
	supervisor->counters = page;
	supervisor->worker_settings.counters = page;
	return 0;
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
	err = worker_find_user(user, &confinement->uid, &confinement->gid);
	if (err)
		log_error("user %s %s: name one with --user, or a number", user,
			  err == -ENOENT ? "does not exist" : "has all rights");
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
	worker_reap(&supervisor->worker);
	if (supervisor->redirect)
		ops_of(supervisor)->close(supervisor->redirect);
	status_server_close(&supervisor->status);
	pidfile_release(supervisor->settings->pidfile);
	listeners_close(&supervisor->listeners);
	close_fd_at(&supervisor->signal_fd);
	if (supervisor->counters)
		munmap(supervisor->counters, sizeof(*supervisor->counters));
}

int supervisor_run(const struct supervisor_settings *settings)
{
	struct supervisor supervisor = {
		.settings = settings,
		.listeners = LISTENERS_NONE,
		.status.fd = -1,
		.worker.control_fd = -1,
		.worker_settings = {
			.config = &settings->proxy,
			.listeners = &supervisor.listeners,
			.drain_when_orphaned = settings->ops->lease != NULL,
			.pidfile = settings->pidfile,
		},
	};
	int err;

	supervisor.signal_fd = stop_signals_open();
	err = supervisor.signal_fd < 0 ? supervisor.signal_fd : 0;
	if (err)
		log_error("cannot listen for signals: %s", error_text(err));
	else
		err = allocate_counters(&supervisor);
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
