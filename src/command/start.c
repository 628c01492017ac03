// SPDX-License-Identifier: MIT
#include "command/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log_file.h"
#include "base/signals.h"
#include "base/spawn.h"
#include "command/own_port.h"
#include "instance/recovery.h"
#include "listen/listening.h"
#include "redirect/host.h"
#include "supervisor/pool.h"
#include "supervisor/supervisor.h"

#define DEFAULT_LOG_FILE "/var/log/acme-alpn-proxy.log"
/* An instance that starts or stops is waited for this long. */
#define OTHER_TIMEOUT_MS 30000
/* Without a word only for this long. */
#define OTHER_SILENT_MS 1000
/* Enough for 100,000 connections; more would only cost memory. */
#define MAX_DESCRIPTORS 262144

/* Whom to tell that the redirect is in place. */
struct caller {
	/* Written to by a --daemon child, or -1. */
	int notify_fd;
	/* Standard descriptors belong to a hook runner that waits for their
	 * end of file. */
	bool detach;
};

/*
 * Where the log goes: as told, else to a terminal or the journal if one of them
 * is there, else to a file. Sets caller->detach. 0, or negative errno (logged).
 */
static int open_log(const struct options *options, struct caller *caller)
{
	const bool terminal = isatty(STDOUT_FILENO) && isatty(STDERR_FILENO) &&
			      !options->daemon;
	const char *path = options->log_file;
	int err;

	/* The worker will not be able to read the time zone. */
	tzset();
	if (path ? strcmp(path, "-") == 0
		 : terminal || log_settings.priorities) {
		caller->detach = !path && !terminal;
		return 0;
	}
	if (!path)
		path = DEFAULT_LOG_FILE;
	err = log_file_open(path);
	if (err) {
		log_error("cannot open the log %s: %s (choose another with "
			  "--log-file; - is standard error)",
			  path, error_text(err));
		return err;
	}
	/* Until the redirect is in place, whoever started us reads along. */
	log_settings.echo_fd = STDERR_FILENO;
	log_settings.priorities = false;
	log_settings.timestamps = true;
	caller->detach = !terminal;
	return 0;
}

/*
 * The redirect is in place: release the hook runner, or our own parent. If that
 * was killed meanwhile, nobody would ever take the redirect away again.
 */
static int tell_caller(void *context)
{
	struct caller *caller = context;

	log_settings.echo_fd = -1;
	if (caller->detach)
		detach_standard_fds(log_settings.fd);
	if (caller->notify_fd >= 0 && write(caller->notify_fd, "", 1) < 0) {
		log_error("the process that started us is gone: stopping");
		return -EPIPE;
	}
	close_fd_at(&caller->notify_fd);
	return 0;
}

/*
 * In the parent of --daemon: the child's word that it is ready, or its exit
 * code if it ends before.
 */
static int wait_for_daemon(pid_t child, int notify_fd)
{
	ssize_t length;
	char byte;
	int status;

	do {
		length = read(notify_fd, &byte, 1);
	} while (length < 0 && errno == EINTR);
	if (length == 1)
		return EXIT_CODE_DONE;

	status = spawn_reap(child);
	if (status >= 0 && status <= SPAWN_SIGNALED)
		return status;
	log_error("killed by signal %d before the redirect was in place",
		  status - SPAWN_SIGNALED);
	return EXIT_CODE_FAILED;
}

/*
 * Fork for --daemon. Returns -1 in the process that goes on to serve, and the
 * exit code in the one that waited for it.
 */
static int daemonize(struct caller *caller)
{
	int pipe_fds[2];
	pid_t child;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
		log_failure(-errno, "cannot make a pipe");
		return EXIT_CODE_FAILED;
	}
	child = fork();
	if (child < 0) {
		log_failure(-errno, "cannot fork");
		return EXIT_CODE_FAILED;
	}
	if (child > 0) {
		close(pipe_fds[1]);
		return wait_for_daemon(child, pipe_fds[0]);
	}
	close(pipe_fds[0]);
	setsid();
	caller->notify_fd = pipe_fds[1];
	return -1;
}

static int resolve(const char *option, const char *text,
		   struct backend *backend)
{
	int err = backend_resolve(text, backend);

	switch (err) {
	case 0:
		break;
	case -EAGAIN:
		log_error("-%s %s: the name server does not answer; give the "
			  "address itself",
			  option, text);
		break;
	default:
		log_error("-%s %s: no such host", option, text);
	}
	return err;
}

/* Where there are others to take, also what is in its way counts. */
static int try_redirect(const struct redirect_ops *ops,
			const struct redirect_config *config, bool last,
			struct redirect **redirect, char *reason, size_t size)
{
	int err = ops->probe(config, redirect, reason, size);

	if (!err && !last && ops->find_obstacle)
		err = ops->find_obstacle(config, reason, size);
	if (err && *redirect) {
		ops->close(*redirect);
		*redirect = NULL;
	}
	return err;
}

const struct redirect_ops *choose_redirect(const struct options *options,
					   const struct redirect_config *config,
					   struct redirect **redirect)
{
	/* Best first. */
	static const struct redirect_ops *const candidates[][4] = {
		[REDIRECT_AUTOMATIC] = { &redirect_handoff, &redirect_steer,
					 &redirect_iptables },
		[REDIRECT_BPF] = { &redirect_handoff, &redirect_steer },
		[REDIRECT_HANDOFF] = { &redirect_handoff },
		[REDIRECT_STEER] = { &redirect_steer },
		[REDIRECT_IPTABLES] = { &redirect_iptables },
		[REDIRECT_NONE] = { &redirect_none },
	};
	enum redirect_choice choice = options->redirect;
	/* With a rule of somebody else's. */
	char reason[256 + RULE_TEXT_SIZE] = "";

	if (choice == REDIRECT_AUTOMATIC && options->rulespec)
		choice = REDIRECT_IPTABLES;
	for (size_t i = 0; candidates[choice][i]; i++) {
		const struct redirect_ops *ops = candidates[choice][i];
		const bool last = !candidates[choice][i + 1];

		if (try_redirect(ops, config, last, redirect, reason,
				 sizeof(reason)) == 0)
			return ops;
		if (last)
			log_error("%s does not work here: %s", ops->name,
				  reason);
		else
			log_info("%s does not work here: %s", ops->name,
				 reason);
	}
	return NULL;
}

/* One turn of the wait for another instance. 0, or negative errno (logged) when
 * it is over. */
static int wait_for_other(const struct pidfile_holder *holder,
			  uint64_t began_ns, bool *told)
{
	const uint64_t passed_ms = (monotonic_ns() - began_ns) / NS_PER_MS;
	const char *what = holder->state == PIDFILE_STOPPING ? "stopping"
							     : "starting";
	int signal_number;

	if (passed_ms >= OTHER_TIMEOUT_MS) {
		log_error("process %d has been %s for too long", holder->pid,
			  what);
		return -ETIMEDOUT;
	}
	if (passed_ms >= OTHER_SILENT_MS && !*told) {
		log_info("process %d is %s: waiting for it, at most %llu s",
			 holder->pid, what,
			 (OTHER_TIMEOUT_MS - passed_ms + 999ull) / 1000);
		*told = true;
	}
	signal_number = signals_wait(20);
	if (signal_number) {
		log_error("signal %d: not started", signal_number);
		return -EINTR;
	}
	return 0;
}

/*
 * Become the one instance of this pidfile. One that stops is waited for, one
 * that starts until it serves. Returns 0, -EALREADY (one runs; said so), or
 * negative errno (logged). Stop signals are held from before the pidfile is
 * ours: whoever finds it held will send one.
 */
static int become_instance(const struct options *options,
			   struct pidfile *pidfile)
{
	const uint64_t began = monotonic_ns();
	struct pidfile_holder holder;
	bool told = false;
	int err;

	signals_hold(NULL);
	for (;;) {
		err = pidfile_acquire(pidfile, options->pidfile, &holder);
		if (!err)
			return 0;
		if (err != -EALREADY) {
			report_pidfile_error(options->pidfile, err);
			return err;
		}
		if (holder.state == PIDFILE_RUNNING) {
			log_info("already running as %d", holder.pid);
			return -EALREADY;
		}
		err = wait_for_other(&holder, began, &told);
		if (err)
			return err;
	}
}

/* Descriptors are what bounds the connections of each worker. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	/* Needs CAP_SYS_RESOURCE where the hard limit is lower. */
	if (limit.rlim_max < MAX_DESCRIPTORS &&
	    setrlimit(RLIMIT_NOFILE, &(struct rlimit){ MAX_DESCRIPTORS,
						       MAX_DESCRIPTORS }) == 0)
		return;
	limit.rlim_cur = limit.rlim_max < MAX_DESCRIPTORS ? limit.rlim_max
							  : MAX_DESCRIPTORS;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* One worker for each core, if that is wished; none without a connection. */
static unsigned int worker_count(const struct options *options)
{
	unsigned int count = options->workers;
	cpu_set_t cores[8];

	if (count == 0) {
		count = 1;
		if (sched_getaffinity(0, sizeof(cores), cores) == 0)
			count = (unsigned int)CPU_COUNT_S(sizeof(cores), cores);
	}
	if (count > WORKER_POOL_MAXIMUM)
		count = WORKER_POOL_MAXIMUM;
	if (count > options->max_connections)
		count = options->max_connections;
	return count;
}

/* A header tells the visitor's address, and is believed from 127.0.0.1. Another
 * host cannot answer. */
static bool may_have_own_sources(const struct backend *fallback)
{
	bool loopback = false;

	if (fallback->proxy_protocol != PROXY_PROTOCOL_NONE)
		return false;
	for (size_t i = 0; i < fallback->count; i++) {
		const struct sockaddr *address =
			&fallback->addresses[i].address.any;
		struct in6_addr mapped;

		if (address->sa_family != AF_INET)
			continue;
		mapped = address_as_ipv6(address);
		if (!address_is_loopback(&mapped))
			return false;
		loopback = true;
	}
	return loopback;
}

/* Everything that may fail before the first thing is touched. */
static int examine(const struct options *options,
		   struct supervisor_settings *settings)
{
	int err;

	if (options->redirect != REDIRECT_NONE && !caps_have(CAP_NET_ADMIN)) {
		log_error("must be root (or have CAP_NET_ADMIN) to redirect "
			  "port %u",
			  options->service_port);
		return -EPERM;
	}
	err = resolve("alpn", options->alpn, &settings->proxy.alpn);
	if (!err)
		err = resolve("fallback", options->fallback,
			      &settings->proxy.fallback);
	if (err)
		return err;
	settings->proxy.alpn.proxy_protocol = options->alpn_proxy_protocol;
	settings->proxy.fallback.proxy_protocol =
		options->fallback_proxy_protocol;
	settings->proxy.at_visited_address =
		options->default_fallback &&
		listening_at_own_address((uint16_t)options->service_port);
	settings->ops = choose_redirect(options, &settings->redirect,
					&settings->probed);
	if (!settings->ops)
		return -EOPNOTSUPP;
	settings->proxy.own_sources =
		settings->ops != &redirect_none &&
		may_have_own_sources(&settings->proxy.fallback);
	return 0;
}

/*
 * Be the one instance, on a host that holds nothing of another. The backends
 * come last: to one that runs already they make no difference.
 */
static int prepare(const struct options *options,
		   struct supervisor_settings *settings)
{
	const struct recovery recovery = {
		.pidfile = settings->pidfile,
		.config = &settings->redirect,
		.with_rules = settings->ops != &redirect_none,
		.set_aside = true,
		.timeout_ms = SUPERVISOR_GRACE_MS + SUPERVISOR_CLOSE_MS,
	};
	int err = become_instance(options, settings->pidfile);

	if (err)
		return err;
	err = recover(&recovery);
	if (err) {
		/* By the file the next attempt finds a killed one's workers. */
		if (pidfile_has_workers(settings->pidfile))
			close_fd_at(&settings->pidfile->fd);
		else
			pidfile_release(settings->pidfile);
		return err;
	}
	err = own_port_choose(options, settings);
	if (!err)
		err = own_port_check_backends(settings);
	if (err)
		pidfile_release(settings->pidfile);
	return err;
}

/* An address is told as the name that a validation of it asks for. */
static void log_domains(const struct domain_list *domains)
{
	for (size_t i = 0; i < domains->count; i++)
		log_debug("taking challenges for %s", domains->names[i]);
}

static int start(const struct options *options, struct caller *caller)
{
	struct pidfile pidfile = { .fd = -1 };
	struct supervisor_settings settings = {
		.user = options->user,
		.redirect = redirect_config_of(options),
		.proxy = {
			.domains = options->domains,
			.hello_timeout_ms = options->hello_timeout_ms,
			.grace_ms = SUPERVISOR_GRACE_MS,
			.drain_timeout_ms = options->drain_timeout_ms,
			.max_connections = options->max_connections,
		},
		.worker_count = worker_count(options),
		.pidfile = &pidfile,
		.ready = tell_caller,
		.ready_context = caller,
	};
	int err;

	err = examine(options, &settings);
	if (!err)
		err = prepare(options, &settings);
	if (err) {
		if (settings.probed)
			settings.probed->ops->close(settings.probed);
		return err;
	}
	log_domains(&options->domains);
	raise_descriptor_limit();
	return supervisor_run(&settings);
}

int start_instance(const struct options *options)
{
	struct caller caller = { .notify_fd = -1 };
	int code;
	int err;

	/* Whatever else the hook runner left open is not ours. */
	close_between(STDERR_FILENO + 1, INT_MAX);
	if (open_log(options, &caller) < 0)
		return EXIT_CODE_FAILED;
	if (options->daemon) {
		code = daemonize(&caller);
		if (code >= 0)
			return code;
	}
	err = start(options, &caller);
	if (err == -EALREADY)
		return EXIT_CODE_ALREADY_RUNNING;
	return err ? EXIT_CODE_FAILED : EXIT_CODE_DONE;
}

int command_start(const struct options *options)
{
	int code = start_instance(options);

	return code == EXIT_CODE_ALREADY_RUNNING ? EXIT_CODE_DONE : code;
}
