// SPDX-License-Identifier: MIT
#include "proxy/proof.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "proxy/backend_socket.h"
#include "proxy/connection.h"
#include "proxy/engine.h"

/* An accepted connection that lasts this long without a word is kept. */
#define KEPT_NS (50 * NS_PER_MS)

/* No visitor has an address of this block (RFC 5737). */
static const struct sockaddr_in some_visitor = {
	.sin_family = AF_INET,
	.sin_addr.s_addr = 0x010200c0,
};

/* Each address with a source of the visitor's own, where that is wished, and
 * each without. */
static size_t tries(const struct engine *engine)
{
	return engine->config->fallback.count *
	       (engine->config->own_sources ? 2 : 1);
}

static bool has_own_source(const struct engine *engine, size_t number)
{
	return engine->config->own_sources &&
	       number < engine->config->fallback.count;
}

static void hang_up(struct proof *proof, struct engine *engine)
{
	if (proof->fd < 0)
		return;
	readiness_forget(&engine->readiness, proof->fd);
	close_fd_at(&proof->fd);
}

/* Connected, -EINPROGRESS, or why not. */
static int call(struct proof *proof, struct engine *engine)
{
	const size_t number = proof->next_try++;
	const struct backend *fallback = &engine->config->fallback;

	return backend_socket_connect(
		&fallback->addresses[number % fallback->count],
		has_own_source(engine, number) ? (const void *)&some_visitor
					       : NULL,
		engine->readiness.capacity, &proof->fd);
}

static bool finish(struct proof *proof, struct engine *engine, int err)
{
	hang_up(proof, engine);
	proof->due_ns = UINT64_MAX;
	if (err) {
		atomic_store(&engine->counters->proof_err, err);
		proof->answer = PROXY_NOT_PROVED;
		return true;
	}
	engine->own_sources = has_own_source(engine, proof->next_try - 1);
	proof->answer = engine->own_sources == engine->config->own_sources
				? PROXY_PROVED
				: PROXY_PROVED_PLAIN;
	return true;
}

static void wait_until_kept(struct proof *proof, struct engine *engine)
{
	proof->accepted = true;
	proof->due_ns = engine_read_clock(engine) + KEPT_NS;
	readiness_watch(&engine->readiness, proof->fd,
			READINESS_READ | READINESS_PINNED);
}

/* The try before has failed by @err, or is none: 0. */
static bool try_next(struct proof *proof, struct engine *engine, int err)
{
	const size_t count = tries(engine);

	for (;;) {
		hang_up(proof, engine);
		if (!proof->err)
			proof->err = err;
		if (proof->next_try >= count)
			return finish(proof, engine, proof->err);
		err = call(proof, engine);
		/* A socket of the host whose queue is full has a server. */
		if (err == -EAGAIN)
			return finish(proof, engine, 0);
		if (!err || err == -EINPROGRESS)
			break;
	}
	proof->accepted = false;
	proof->due_ns = engine_read_clock(engine) +
			PROXY_PROOF_MS * NS_PER_MS / count - KEPT_NS;
	if (!err)
		wait_until_kept(proof, engine);
	else
		readiness_watch(&engine->readiness, proof->fd,
				READINESS_WRITE | READINESS_PINNED);
	return false;
}

bool proof_begin(struct proof *proof, struct engine *engine)
{
	if (proof->fd >= 0)
		return false;
	*proof = PROOF_NONE;
	return try_next(proof, engine, 0);
}

bool proof_go_on(struct proof *proof, struct engine *engine)
{
	struct pollfd ready = { .fd = proof->fd,
				.events = proof->accepted ? POLLIN : POLLOUT };
	char bytes[512];
	int err;

	if (poll(&ready, 1, 0) <= 0) {
		if (engine->now_ns < proof->due_ns)
			return false;
		return proof->accepted ? finish(proof, engine, 0)
				       : try_next(proof, engine, -ETIMEDOUT);
	}
	err = connection_failure(proof->fd);
	if (err)
		return try_next(proof, engine, err);
	if (!proof->accepted) {
		wait_until_kept(proof, engine);
		return false;
	}
	/* One that speaks first has it; what is not read would reset it. */
	if (recv(proof->fd, bytes, sizeof(bytes), 0) > 0)
		return finish(proof, engine, 0);
	return try_next(proof, engine, -ECONNRESET);
}

void proof_drop(struct proof *proof, struct engine *engine)
{
	hang_up(proof, engine);
}
