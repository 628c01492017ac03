// SPDX-License-Identifier: MIT
#include "proxy/acceptor.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "proxy/connection.h"
#include "proxy/engine.h"
#include "proxy/peek.h"

/* Connections taken from one listener before the open ones get their turn. */
#define BATCH_MAXIMUM 64
/* One connection in this many is kept for those whose handshakes are under way
 * when we become full. */
#define HANDSHAKE_SHARE	  8
#define SHORTAGE_PAUSE_NS (100 * NS_PER_MS)
/* There may be no descriptors for all that wait, and the next start needs the
 * port: less than SUPERVISOR_CLOSE_MS. */
#define CLOSE_PATIENCE_NS (1 * NS_PER_S)

static int *listener_at(struct acceptor *acceptor, int fd)
{
	return fd == acceptor->listeners->ipv4 ? &acceptor->listeners->ipv4
					       : &acceptor->listeners->ipv6;
}

static void watch(struct engine *engine, int fd, bool on)
{
	if (fd >= 0)
		readiness_watch(&engine->readiness, fd,
				on ? READINESS_READ | READINESS_PINNED : 0);
}

static void watch_listeners(const struct acceptor *acceptor, bool on)
{
	watch(acceptor->engine, acceptor->listeners->ipv4, on);
	watch(acceptor->engine, acceptor->listeners->ipv6, on);
}

static void close_listener(struct engine *engine, int *fd)
{
	if (*fd >= 0)
		readiness_forget(&engine->readiness, *fd);
	close_fd_at(fd);
}

void acceptor_open(struct acceptor *acceptor, struct engine *engine,
		   struct listeners *listeners, size_t connection_limit)
{
	*acceptor = (struct acceptor){
		.engine = engine,
		.listeners = listeners,
		.connection_limit = connection_limit,
		.batch = 1,
	};
	watch_listeners(acceptor, true);
}

bool acceptor_is_open(const struct acceptor *acceptor)
{
	return acceptor->listeners->ipv4 >= 0 || acceptor->listeners->ipv6 >= 0;
}

bool acceptor_owns(const struct acceptor *acceptor, int fd)
{
	return fd == acceptor->listeners->ipv4 ||
	       fd == acceptor->listeners->ipv6;
}

static bool is_full(const struct acceptor *acceptor)
{
	return acceptor->engine->connection_count >= acceptor->connection_limit;
}

bool acceptor_is_nearly_full(const struct acceptor *acceptor)
{
	const size_t limit = acceptor->connection_limit;

	return acceptor->engine->connection_count >=
	       limit - limit / HANDSHAKE_SHARE;
}

/* A paused listener leaves the select() set, or the loop would spin on it. */
static void pause_accepting(struct acceptor *acceptor,
			    enum acceptor_pause pause)
{
	struct engine *engine = acceptor->engine;

	acceptor->pause = pause;
	acceptor->retry_ns = engine->now_ns + SHORTAGE_PAUSE_NS;
	counter_add(&engine->counters->accept_pauses, 1);
	watch_listeners(acceptor, false);
}

enum outcome {
	/* Accepted, or gone before we got to it. */
	OUTCOME_NEXT,
	OUTCOME_EMPTY,
	OUTCOME_PAUSED,
	OUTCOME_BROKEN,
};

/* Errors of the network belong to the connection, not to us (accept(2)). */
static enum outcome accept_failed(struct acceptor *acceptor, int err)
{
	switch (-err) {
	case EAGAIN:
		return OUTCOME_EMPTY;
	case ECONNABORTED:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case EINTR:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EPROTO:
		return OUTCOME_NEXT;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
		return OUTCOME_BROKEN;
	default:
		/* EMFILE, ENFILE, ENOBUFS, ENOMEM, and what nobody expects. */
		pause_accepting(acceptor, ACCEPTOR_SHORTAGE);
		return OUTCOME_PAUSED;
	}
}

/* False if there is no memory. */
static bool serve(struct engine *engine, int fd,
		  const struct sockaddr_storage *address)
{
	struct connection *connection = connection_open(engine, fd, address);

	if (connection)
		peek_begin(engine, connection);
	return connection;
}

static enum outcome accept_one(struct acceptor *acceptor, int listener)
{
	struct engine *engine = acceptor->engine;
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);
	int fd;

	/* Whoever waits when the listeners close would be reset. */
	if (is_full(acceptor) && !acceptor->closing) {
		pause_accepting(acceptor, ACCEPTOR_FULL);
		return OUTCOME_PAUSED;
	}
	fd = accept4(listener, (struct sockaddr *)&address, &size,
		     SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return accept_failed(acceptor, -errno);
	if ((size_t)fd >= engine->readiness.capacity) {
		close(fd);
		pause_accepting(acceptor, ACCEPTOR_SHORTAGE);
		return OUTCOME_PAUSED;
	}
	serve(engine, fd, &address);
	return OUTCOME_NEXT;
}

/*
 * One try finds out that the backlog is empty only by failing, which is a
 * system call for each quiet visitor. So a turn tries as often as the last
 * ones say is worth it: once, and twice as often each time that the very next
 * turn finds more waiting.
 */
static unsigned int batch_of_this_turn(struct acceptor *acceptor, uint32_t turn)
{
	if (turn - acceptor->filled_turn > 1)
		acceptor->batch = 1;
	else if (acceptor->batch < BATCH_MAXIMUM)
		acceptor->batch *= 2;
	return acceptor->closing ? BATCH_MAXIMUM : acceptor->batch;
}

void acceptor_ready(struct acceptor *acceptor, int fd)
{
	const uint32_t turn = acceptor->engine->readiness.turn;
	const unsigned int batch = batch_of_this_turn(acceptor, turn);
	enum outcome outcome = OUTCOME_NEXT;

	for (unsigned int i = 0; i < batch && outcome == OUTCOME_NEXT; i++)
		outcome = accept_one(acceptor, fd);
	if (outcome == OUTCOME_NEXT)
		acceptor->filled_turn = turn;
	if (outcome == OUTCOME_BROKEN)
		log_error("a listener is gone: %s", error_text(-errno));
	if (outcome == OUTCOME_BROKEN ||
	    (outcome == OUTCOME_EMPTY && acceptor->closing))
		close_listener(acceptor->engine, listener_at(acceptor, fd));
}

/* Challenges are taken until the lease ends, and then some are on their way. */
static bool is_full_to_the_last(const struct acceptor *acceptor)
{
	return acceptor->engine->connection_count >=
	       acceptor->connection_limit + PROXY_RESERVE;
}

static bool take(struct acceptor *acceptor, int fd)
{
	struct engine *engine = acceptor->engine;
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);
	cleanup_fd int taken = fd;
	const int on = 1;

	if (fd < 0 || (size_t)fd >= engine->readiness.capacity ||
	    is_full_to_the_last(acceptor))
		return false;
	if (ioctl(fd, FIONBIO, &on) < 0 || listeners_set_inherited(fd) < 0 ||
	    getpeername(fd, (struct sockaddr *)&address, &size) < 0)
		return false;
	return serve(engine, steal_fd(&taken), &address);
}

void acceptor_take(struct acceptor *acceptor, int fd)
{
	struct proxy_counters *counters = acceptor->engine->counters;

	counter_add(take(acceptor, fd) ? &counters->handed_over
				       : &counters->handed_over_refused,
		    1);
}

/* While the listeners are to close, there may be too many. */
static bool may_go_on(const struct acceptor *acceptor)
{
	if (acceptor->pause == ACCEPTOR_FULL)
		return acceptor->closing || !is_full(acceptor);
	return acceptor->pause == ACCEPTOR_SHORTAGE &&
	       acceptor->engine->now_ns >= acceptor->retry_ns;
}

void acceptor_tick(struct acceptor *acceptor)
{
	struct engine *engine = acceptor->engine;
	struct listeners *listeners = acceptor->listeners;

	if (may_go_on(acceptor)) {
		acceptor->pause = ACCEPTOR_RUNS;
		watch_listeners(acceptor, true);
	}
	if (!acceptor->closing)
		return;
	if (engine->now_ns >= acceptor->close_ns) {
		close_listener(engine, &listeners->ipv4);
		close_listener(engine, &listeners->ipv6);
	}
	if (listeners->ipv4 >= 0 && acceptor->pause == ACCEPTOR_RUNS)
		acceptor_ready(acceptor, listeners->ipv4);
	if (listeners->ipv6 >= 0 && acceptor->pause == ACCEPTOR_RUNS)
		acceptor_ready(acceptor, listeners->ipv6);
}

void acceptor_finish(struct acceptor *acceptor)
{
	acceptor->closing = true;
	acceptor->close_ns = acceptor->engine->now_ns + CLOSE_PATIENCE_NS;
	acceptor_tick(acceptor);
}

uint64_t acceptor_deadline(const struct acceptor *acceptor)
{
	return acceptor->pause == ACCEPTOR_SHORTAGE ? acceptor->retry_ns
						    : UINT64_MAX;
}
