// SPDX-License-Identifier: MIT
#include "proxy/acceptor.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/engine.h"

/* Connections taken from one listener before the open ones get their turn. */
#define BATCH_MAXIMUM	  64
#define SHORTAGE_PAUSE_NS (100 * NS_PER_MS)
/* Descriptors may be wanting for all that wait, and the next start wants the
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

static void watch_listeners(struct engine *engine, bool on)
{
	watch(engine, engine->acceptor.listeners->ipv4, on);
	watch(engine, engine->acceptor.listeners->ipv6, on);
}

static void close_listener(struct engine *engine, int *fd)
{
	if (*fd < 0)
		return;
	readiness_forget(&engine->readiness, *fd);
	close(*fd);
	*fd = -1;
}

void acceptor_open(struct engine *engine, struct listeners *listeners,
		   size_t connection_limit)
{
	engine->acceptor = (struct acceptor){
		.listeners = listeners,
		.connection_limit = connection_limit,
		.batch = 1,
	};
	watch_listeners(engine, true);
}

static void close_listeners(struct engine *engine)
{
	close_listener(engine, &engine->acceptor.listeners->ipv4);
	close_listener(engine, &engine->acceptor.listeners->ipv6);
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

/* A paused listener leaves the select() set, or the loop would spin on it. */
static void pause_accepting(struct engine *engine, enum acceptor_pause pause)
{
	struct acceptor *acceptor = &engine->acceptor;

	acceptor->pause = pause;
	acceptor->retry_ns = engine->now_ns + SHORTAGE_PAUSE_NS;
	counter_add(&engine->counters->accept_pauses, 1);
	watch_listeners(engine, false);
}

static void go_on_accepting(struct engine *engine)
{
	engine->acceptor.pause = ACCEPTOR_RUNS;
	watch_listeners(engine, true);
}

enum outcome {
	OUTCOME_ACCEPTED,
	/* That connection failed before we got to it. */
	OUTCOME_GONE,
	OUTCOME_EMPTY,
	OUTCOME_PAUSED,
	OUTCOME_BROKEN,
};

/* Errors of the network belong to the connection, not to us (accept(2)). */
static enum outcome accept_failed(struct engine *engine, int error)
{
	switch (error) {
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
		return OUTCOME_GONE;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
		return OUTCOME_BROKEN;
	default:
		/* EMFILE, ENFILE, ENOBUFS, ENOMEM, and what nobody expects. */
		pause_accepting(engine, ACCEPTOR_SHORTAGE);
		return OUTCOME_PAUSED;
	}
}

static enum outcome accept_one(struct engine *engine, int listener)
{
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof(address);
	int fd;

	/* Whoever waits when the listeners close would be reset. */
	if (engine->connection_count >= engine->acceptor.connection_limit &&
	    !engine->acceptor.closing) {
		pause_accepting(engine, ACCEPTOR_FULL);
		return OUTCOME_PAUSED;
	}
	fd = accept4(listener, (struct sockaddr *)&address, &size,
		     SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return accept_failed(engine, errno);
	if ((size_t)fd >= engine->readiness.capacity) {
		close(fd);
		pause_accepting(engine, ACCEPTOR_SHORTAGE);
		return OUTCOME_PAUSED;
	}
	connection_open(engine, fd, &address);
	return OUTCOME_ACCEPTED;
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

void acceptor_ready(struct engine *engine, int fd)
{
	struct acceptor *acceptor = &engine->acceptor;
	unsigned int batch =
		batch_of_this_turn(acceptor, engine->readiness.turn);
	enum outcome outcome = OUTCOME_GONE;

	for (unsigned int i = 0; i < batch && outcome <= OUTCOME_GONE; i++)
		outcome = accept_one(engine, fd);
	if (outcome <= OUTCOME_GONE)
		acceptor->filled_turn = engine->readiness.turn;
	if (outcome == OUTCOME_BROKEN) {
		log_error("a listener is gone: %s", error_text(-errno));
		close_listener(engine, listener_at(acceptor, fd));
	}
	if (outcome == OUTCOME_EMPTY && acceptor->closing)
		close_listener(engine, listener_at(acceptor, fd));
}

void acceptor_room_made(struct engine *engine)
{
	if (engine->acceptor.pause == ACCEPTOR_FULL)
		go_on_accepting(engine);
}

void acceptor_tick(struct engine *engine)
{
	struct acceptor *acceptor = &engine->acceptor;

	if (acceptor->pause == ACCEPTOR_SHORTAGE &&
	    engine->now_ns >= acceptor->retry_ns)
		go_on_accepting(engine);
	if (acceptor->closing && engine->now_ns >= acceptor->close_ns)
		close_listeners(engine);
	if (!acceptor->closing || acceptor->pause != ACCEPTOR_RUNS)
		return;
	if (acceptor->listeners->ipv4 >= 0)
		acceptor_ready(engine, acceptor->listeners->ipv4);
	if (acceptor->listeners->ipv6 >= 0 && acceptor->pause == ACCEPTOR_RUNS)
		acceptor_ready(engine, acceptor->listeners->ipv6);
}

void acceptor_finish(struct engine *engine)
{
	struct acceptor *acceptor = &engine->acceptor;

	acceptor->closing = true;
	acceptor->close_ns = engine->now_ns + CLOSE_PATIENCE_NS;
	if (acceptor->pause == ACCEPTOR_FULL)
		go_on_accepting(engine);
	acceptor_tick(engine);
}

uint64_t acceptor_deadline(const struct acceptor *acceptor)
{
	return acceptor->pause == ACCEPTOR_SHORTAGE ? acceptor->retry_ns
						    : UINT64_MAX;
}
