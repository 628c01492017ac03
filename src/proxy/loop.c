// SPDX-License-Identifier: MIT
/*
 * The loop. One thread, one select() a turn, no call that blocks.
 *
 * Each part calls only those behind it: loop -> acceptor -> peek -> connect ->
 * relay -> connection. What happens to a connection, an event or a timeout, the
 * loop gives to the part that the connection is in.
 *
 * Each connection has two flows, client to backend and back (flow.h). A flow
 * is watched for one thing: for reading at its source while it holds nothing,
 * or for writing at its sink while it does; never for both. So every event
 * has one reason and one consequence, a reader that stalls stops its writer
 * through TCP's own window, nothing is read that has no place to go, and a
 * socket that has sent its FIN leaves the read set at once. A socket may well
 * be in both sets, once for either flow.
 */
#include "proxy/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/control.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log_file.h"
#include "proxy/acceptor.h"
#include "proxy/connect.h"
#include "proxy/connection.h"
#include "proxy/engine.h"
#include "proxy/peek.h"
#include "proxy/proof.h"
#include "proxy/relay.h"

#define TICK_NS (NS_PER_S / 2)
/* Turns with many events renew the lease on their way. */
#define EVENTS_PER_TICK 256
/* Descriptors of the process that are looked for at start, and room for those
 * that it may open later on (a log file). */
#define INHERITED_MAXIMUM 1024
#define DESCRIPTORS_SPARE 4
/* One descriptor in this many goes to pipes. */
#define PIPE_SHARE 8

/* A duration is either of the two. */
static const struct {
	void (*expire)(struct engine *engine, struct connection *connection);
	uint64_t duration_ns;
	uint64_t hello_timeouts;
} timers[TIMER_COUNT] = {
	[TIMER_HELLO] = { peek_timeout, .hello_timeouts = 1 },
	/* With the above, 9 s by default: a CA gives 10 s for all. */
	[TIMER_BEGUN_HELLO] = { peek_give_up, .hello_timeouts = 2 },
	[TIMER_CONNECT] = { connect_timeout, .duration_ns = 2 * NS_PER_S },
	[TIMER_DOUBT] = { connect_doubt, .duration_ns = 200 * NS_PER_MS },
	[TIMER_RETRY] = { connect_retry, .duration_ns = 100 * NS_PER_MS },
	[TIMER_RESET] = { relay_reset_timeout, .duration_ns = 5 * NS_PER_S },
	/* What the kernel gives the client of a server that has closed (sysctl
	 * net.ipv4.tcp_fin_timeout). */
	[TIMER_SILENCE] = { relay_silence_timeout,
			    .duration_ns = 60 * NS_PER_S },
};

struct loop {
	struct proxy_environment *environment;
	struct engine engine;
	struct acceptor acceptor;
	struct proof proof;
	/* The supervisor knows of a doubt, and has not asked for a proof yet. */
	bool doubt_told;
	int signal_fd;
	uint64_t next_tick_ns;
	/* When the sockets were last looked at; all that was ready then has
	 * been served by the end of the turn. */
	uint64_t looked_ns;
	/* When the listeners close; UINT64_MAX while nobody says so. */
	uint64_t close_ns;
	/* When all ends that is left, if nobody else sees to it. */
	uint64_t end_ns;
	/* New visitors are to go to the web server. */
	bool full;
	bool draining;
	bool orphaned;
	bool listeners_closed;
	bool terminated;
};

static size_t count_descriptors(size_t limit)
{
	size_t count = 0;

	if (limit > INHERITED_MAXIMUM)
		limit = INHERITED_MAXIMUM;
	for (size_t fd = 0; fd < limit; fd++)
		count += fcntl((int)fd, F_GETFD) >= 0;
	return count;
}

/* Share out the descriptors that are left: most for connections, both ends of
 * each, so that an accepted one never waits for its backend's. */
static int open_engine(struct loop *loop)
{
	struct proxy_environment *environment = loop->environment;
	struct engine *engine = &loop->engine;
	const struct proxy_config *config = environment->config;
	struct rlimit limit;
	size_t used, left, pipes, connections;
	int err;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -errno;
	used = count_descriptors(limit.rlim_cur) + DESCRIPTORS_SPARE;
	if (limit.rlim_cur < used + CONNECTION_DESCRIPTORS + PIPE_DESCRIPTORS)
		return -EMFILE;
	left = limit.rlim_cur - used;
	pipes = left / PIPE_SHARE / PIPE_DESCRIPTORS;
	if (pipes > config->max_pipes)
		pipes = config->max_pipes;
	connections =
		(left - pipes * PIPE_DESCRIPTORS) / CONNECTION_DESCRIPTORS;
	if (connections > config->max_connections)
		connections = config->max_connections;

	/* The kernel gives out the lowest free number. */
	err = readiness_open(
		&engine->readiness,
		INHERITED_MAXIMUM + used + pipes * PIPE_DESCRIPTORS +
			(connections + PROXY_RESERVE) * CONNECTION_DESCRIPTORS);
	if (err)
		return err;
	engine->connections =
		calloc(engine->readiness.capacity, sizeof(struct connection *));
	if (!engine->connections)
		return -ENOMEM;
	engine->config = config;
	engine->counters = environment->counters;
	engine->own_sources = config->own_sources;
	pipe_pool_init(&engine->tools.pipes, pipes);
	for (size_t i = 0; i < TIMER_COUNT; i++)
		deadline_queue_init(&engine->timers[i],
				    timers[i].duration_ns +
					    timers[i].hello_timeouts *
						    config->hello_timeout_ms *
						    NS_PER_MS);
	acceptor_open(&loop->acceptor, engine, &environment->listeners,
		      connections);
	return 0;
}

/*
 * SIGTERM is read from a descriptor, so that only an orphan heeds it: before,
 * the supervisor decides. Had it been inherited as ignored, it would never
 * arrive there.
 */
static int open_signals(struct loop *loop)
{
	const struct sigaction by_default = { .sa_handler = SIG_DFL };
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	/* splice() to a socket that is gone raises it. */
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGTERM, &by_default, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -errno;
	loop->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return loop->signal_fd < 0 ? -errno : 0;
}

static void watch_pinned(struct loop *loop, int fd)
{
	readiness_watch(&loop->engine.readiness, fd,
			READINESS_READ | READINESS_PINNED);
}

static void tell_supervisor(struct loop *loop, enum proxy_message message)
{
	/* If it is gone, reading says so. */
	if (!loop->orphaned)
		control_send(loop->environment->control_fd,
			     (unsigned char)message, -1);
}

static void write_lease(struct loop *loop, uint64_t until_ns)
{
	if (loop->environment->lease)
		*loop->environment->lease = until_ns;
}

static void tick(struct loop *loop)
{
	struct engine *engine = &loop->engine;

	if (engine_read_clock(engine) < loop->next_tick_ns)
		return;
	loop->next_tick_ns = engine->now_ns + TICK_NS;
	counter_set(&engine->counters->heartbeat_ns, engine->now_ns);
	log_tell_left_out();
	if (!loop->draining && !loop->full)
		write_lease(loop, engine->now_ns + PROXY_LEASE_NS);
}

/* Who finds no room would wait for others to leave. Where another worker has
 * room, that one renews the lease. */
static void follow_room(struct loop *loop)
{
	const bool full = acceptor_is_nearly_full(&loop->acceptor);

	if (full == loop->full)
		return;
	loop->full = full;
	atomic_store(&loop->engine.counters->full, full);
	if (!loop->draining)
		write_lease(loop,
			    full ? 0 : loop->engine.now_ns + PROXY_LEASE_NS);
}

static void drain(struct loop *loop)
{
	if (loop->draining)
		return;
	loop->draining = true;
	write_lease(loop, 0);
	/* Nobody who has vanished is to hold the drain open. */
	connection_probe_all(&loop->engine);
}

static void close_listeners(struct loop *loop, unsigned int grace_ms)
{
	drain(loop);
	loop->close_ns = loop->engine.now_ns + grace_ms * NS_PER_MS;
}

/* Nobody is there who would end the drain. */
static void drain_alone(struct loop *loop)
{
	if (loop->end_ns != UINT64_MAX)
		return;
	close_listeners(loop, loop->environment->config->grace_ms);
	loop->end_ns = loop->engine.now_ns +
		       loop->environment->config->drain_timeout_ms * NS_PER_MS;
}

static void orphan(struct loop *loop)
{
	/* Killed in the middle of a drain, too. */
	const bool drains = loop->environment->drain_when_orphaned ||
			    loop->draining;

	log_warning("the supervisor died; %s",
		    drains ? "serving the open connections to their end"
			   : "serving on until SIGTERM");
	loop->orphaned = true;
	readiness_forget(&loop->engine.readiness,
			 loop->environment->control_fd);
	if (drains)
		drain_alone(loop);
}

static void prove(struct loop *loop)
{
	loop->doubt_told = false;
	loop->engine.doubtful = false;
	if (proof_begin(&loop->proof, &loop->engine))
		tell_supervisor(loop, loop->proof.answer);
}

static void go_on_proving(struct loop *loop)
{
	if (proof_go_on(&loop->proof, &loop->engine))
		tell_supervisor(loop, loop->proof.answer);
}

static void tell_doubt(struct loop *loop)
{
	if (!loop->engine.doubtful || loop->doubt_told)
		return;
	loop->doubt_told = true;
	tell_supervisor(loop, PROXY_DOUBT);
}

static void read_control(struct loop *loop)
{
	cleanup_fd int fd = -1;
	int message = control_receive(loop->environment->control_fd, &fd);

	if (message == -EPIPE)
		orphan(loop);
	else if (message == PROXY_DRAIN)
		drain(loop);
	else if (message == PROXY_CLOSE)
		close_listeners(loop, 0);
	else if (message == PROXY_TAKE)
		acceptor_take(&loop->acceptor, steal_fd(&fd));
	else if (message == PROXY_PROVE)
		prove(loop);
	else if (message == PROXY_TERMINATE)
		loop->terminated = true;
	else if (message == PROXY_LOG_FILE && fd >= 0)
		log_file_replace(steal_fd(&fd));
}

static void read_signal(struct loop *loop)
{
	struct signalfd_siginfo signal;

	if (read(loop->signal_fd, &signal, sizeof(signal)) == sizeof(signal) &&
	    loop->orphaned)
		drain_alone(loop);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t time_to_wait(const struct loop *loop, uint64_t now_ns)
{
	const struct engine *engine = &loop->engine;
	uint64_t next = earlier(loop->next_tick_ns, loop->close_ns);

	next = earlier(next, loop->end_ns);
	next = earlier(next, loop->proof.due_ns);
	for (size_t i = 0; i < TIMER_COUNT; i++)
		next = earlier(next, deadline_next(&engine->timers[i]));
	next = earlier(next, acceptor_deadline(&loop->acceptor));
	/* Rounded up to what select() counts in, so as not to wake too early
	 * and turn for nothing. */
	return next > now_ns ? next - now_ns + 1000 : 0;
}

/*
 * A deadline strikes a connection that nothing had happened to when it was
 * over, not one that we were late for: stopped, starved, or asleep with the
 * whole machine. So what counts is the time at which the sockets were looked
 * at.
 */
static void run_deadlines(struct engine *engine, uint64_t looked_ns)
{
	struct deadline *deadline;

	for (size_t i = 0; i < TIMER_COUNT; i++)
		while ((deadline = deadline_expired(&engine->timers[i],
						    looked_ns)))
			timers[i].expire(engine,
					 deadline_owner(deadline,
							struct connection,
							deadline));
}

static void run_timers(struct loop *loop)
{
	struct engine *engine = &loop->engine;

	run_deadlines(engine, loop->looked_ns);
	if (engine->now_ns >= loop->proof.due_ns)
		go_on_proving(loop);
	tell_doubt(loop);
	follow_room(loop);
	if (engine->now_ns >= loop->close_ns) {
		loop->close_ns = UINT64_MAX;
		acceptor_finish(&loop->acceptor);
	}
	if (engine->now_ns >= loop->end_ns)
		loop->terminated = true;
	acceptor_tick(&loop->acceptor);
	if (loop->draining && !loop->listeners_closed &&
	    !acceptor_is_open(&loop->acceptor)) {
		loop->listeners_closed = true;
		tell_supervisor(loop, PROXY_LISTENERS_CLOSED);
	}
}

static void connection_event(struct engine *engine,
			     struct connection *connection, int fd,
			     unsigned int events)
{
	switch ((enum connection_state)connection->state) {
	case CONNECTION_PEEK:
		peek_read(engine, connection);
		break;
	case CONNECTION_CONNECT:
		connect_event(engine, connection, fd);
		break;
	case CONNECTION_RELAY:
		relay_event(engine, connection, fd, events);
		break;
	}
}

static void handle(struct loop *loop, int fd, unsigned int events)
{
	struct engine *engine = &loop->engine;

	if (engine->connections[fd])
		connection_event(engine, engine->connections[fd], fd, events);
	else if (acceptor_owns(&loop->acceptor, fd))
		acceptor_ready(&loop->acceptor, fd);
	else if (fd == loop->environment->control_fd)
		read_control(loop);
	else if (fd == loop->signal_fd)
		read_signal(loop);
	else if (fd == loop->proof.fd)
		go_on_proving(loop);
}

static int look(struct loop *loop)
{
	uint64_t now_ns = monotonic_ns();
	int err = readiness_wait(&loop->engine.readiness,
				 time_to_wait(loop, now_ns));

	if (!err)
		loop->looked_ns = now_ns;
	return err == -EAGAIN ? 0 : err;
}

static int run(struct loop *loop)
{
	struct engine *engine = &loop->engine;

	while (!loop->terminated &&
	       !(loop->listeners_closed && engine->connection_count == 0)) {
		unsigned int handled = 0;
		unsigned int events;
		int fd;
		int err = look(loop);

		if (err)
			return err;
		tick(loop);
		while ((fd = readiness_next(&engine->readiness, &events)) >=
		       0) {
			handle(loop, fd, events);
			if (++handled % EVENTS_PER_TICK == 0)
				tick(loop);
		}
		run_timers(loop);
	}
	return 0;
}

static void close_loop(struct loop *loop)
{
	struct engine *engine = &loop->engine;

	write_lease(loop, 0);
	proof_drop(&loop->proof, engine);
	if (engine->connections)
		connection_release_all(engine);
	log_tell_left_out();
	pipe_pool_close(&engine->tools.pipes);
	free(engine->connections);
	readiness_close(&engine->readiness);
	listeners_close(&loop->environment->listeners);
	close_fd_at(&loop->signal_fd);
	free(loop);
}

int proxy_run(struct proxy_environment *environment)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	int err;

	if (!loop)
		return -ENOMEM;
	loop->environment = environment;
	loop->signal_fd = -1;
	loop->proof = PROOF_NONE;
	loop->close_ns = UINT64_MAX;
	loop->end_ns = UINT64_MAX;
	loop->engine.readiness.epoll_fd = -1;

	err = open_signals(loop);
	if (!err)
		err = open_engine(loop);
	if (!err) {
		watch_pinned(loop, environment->control_fd);
		watch_pinned(loop, loop->signal_fd);
		tick(loop);
		tell_supervisor(loop, PROXY_READY);
		err = run(loop);
	}
	close_loop(loop);
	return err;
}
