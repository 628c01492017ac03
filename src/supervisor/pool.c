// SPDX-License-Identifier: MIT
#include "supervisor/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"

/* A worker says that it is ready within this time, or never. */
#define READY_TIMEOUT_MS 5000
#define READY_TIMEOUT_NS (READY_TIMEOUT_MS * NS_PER_MS)
/* A heartbeat is due twice a second. */
#define HUNG_AFTER_NS (WORKER_POOL_HUNG_MS * NS_PER_MS)
/* The watchdog looks once a second; if it did not, we did not run either. */
#define WATCH_GAP_NS (3 * NS_PER_S)
/* So many workers may die in a row, each this young, until we give up. */
#define RESPAWN_LIMIT	 5
#define RESPAWN_YOUNG_NS (10 * NS_PER_S)
#define RESPAWN_RETRY_S	 1
/* A member's proof before it was asked for one. */
#define NOT_ASKED 1
/*
 * Pipes of all workers together: their 512 KiB each are half of the pages that
 * a user may have in pipes by default (pipe-user-pages-soft, pipe(7)). For very
 * many workers all of them.
 */
#define PIPES	    64
#define PIPES_LEAST 2

unsigned int worker_pool_share(unsigned int total, unsigned int count,
			       unsigned int index)
{
	return total / count + (index < total % count);
}

static int map_counters(struct pool_member *member)
{
	void *page = mmap(NULL, sizeof(*member->counters),
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			  -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	member->counters = page;
	return madvise(page, sizeof(*member->counters), MADV_DONTFORK) ? -errno
								       : 0;
}

int worker_pool_open(struct worker_pool *pool, unsigned int count,
		     const struct worker_settings *settings)
{
	int err = 0;

	pool->settings = settings;
	pool->count = count;
	pool->members = calloc(count, sizeof(*pool->members));
	if (!pool->members)
		err = -ENOMEM;
	for (unsigned int i = 0; i < count && !err; i++) {
		pool->members[i].worker.control_fd = -1;
		err = map_counters(&pool->members[i]);
	}
	return log_failure(err, "cannot share memory with the workers");
}

void worker_pool_close(struct worker_pool *pool)
{
	for (unsigned int i = 0; pool->members && i < pool->count; i++) {
		struct pool_member *member = &pool->members[i];

		worker_reap(&member->worker);
		if (member->counters)
			munmap(member->counters, sizeof(*member->counters));
	}
	free(pool->members);
	pool->members = NULL;
}

static void describe_death(pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_error("worker %d: killed by signal %d", pid,
			  WTERMSIG(status));
	else
		log_error("worker %d: ended with code %d", pid,
			  WEXITSTATUS(status));
}

/*
 * Fork the worker of member @index. The page of counters goes to this child
 * alone: nobody can write what another one is judged by.
 */
static int launch(struct worker_pool *pool, unsigned int index)
{
	struct pool_member *member = &pool->members[index];
	struct worker_settings settings = *pool->settings;
	struct proxy_config config = *settings.proxy.config;
	int err;

	config.max_connections =
		worker_pool_share(config.max_connections, pool->count, index);
	config.max_pipes = worker_pool_share(PIPES, pool->count, index);
	if (config.max_pipes < PIPES_LEAST)
		config.max_pipes = PIPES_LEAST;
	config.own_sources &= !pool->plain_sources;
	member->proof = NOT_ASKED;
	member->doubts = false;
	settings.proxy.config = &config;
	settings.proxy.counters = member->counters;
	member->started_ns = monotonic_ns();
	madvise(member->counters, sizeof(*member->counters), MADV_DOFORK);
	err = worker_start(&member->worker, &settings);
	madvise(member->counters, sizeof(*member->counters), MADV_DONTFORK);
	member->starting = !err;
	return log_failure(err, "cannot start a worker process");
}

/* Take the worker of @member for dead, whether it is or not. */
static void bury(struct pool_member *member)
{
	const pid_t pid = member->worker.pid;
	int status = worker_reap(&member->worker);

	member->starting = false;
	/* Its connections went with it. */
	atomic_store(&member->counters->open_connections, 0);
	atomic_store(&member->counters->full, false);
	if (status || !member->told)
		describe_death(pid, status);
}

static bool is_missing(const struct worker_pool *pool,
		       const struct pool_member *member)
{
	return !member->worker.pid && (!member->given_up || pool->must_serve);
}

/* Not @started: it was to replace another, and did not get that far. */
static void count_death(struct worker_pool *pool, struct pool_member *member,
			bool started)
{
	const uint64_t now = monotonic_ns();

	if (now - member->started_ns > RESPAWN_YOUNG_NS)
		member->young_deaths = 0;
	member->given_up = ++member->young_deaths > RESPAWN_LIMIT;
	if (member->given_up)
		log_error("%d workers died one after the other: no other is "
			  "started in their place",
			  RESPAWN_LIMIT + 1);
	if (started)
		return;
	pool->retry_ns = now + RESPAWN_RETRY_S * NS_PER_S;
	if (is_missing(pool, member))
		log_warning("no worker in its place yet: trying again in %d s",
			    RESPAWN_RETRY_S);
}

static int await_ready(struct pool_member *member)
{
	int message = worker_receive(&member->worker, READY_TIMEOUT_MS);

	if (message == PROXY_READY) {
		member->starting = false;
		return 0;
	}
	if (message == 0)
		log_error("worker %d: not ready after %d ms",
			  member->worker.pid, READY_TIMEOUT_MS);
	bury(member);
	return -ECHILD;
}

int worker_pool_start(struct worker_pool *pool)
{
	int err = 0;

	/* Side by side: each takes a while to confine itself. */
	for (unsigned int i = 0; i < pool->count && !err; i++)
		err = launch(pool, i);
	for (unsigned int i = 0; i < pool->count && !err; i++)
		err = await_ready(&pool->members[i]);
	return err;
}

unsigned int worker_pool_running(const struct worker_pool *pool)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < pool->count; i++)
		count += pool->members[i].worker.pid != 0;
	return count;
}

static uint64_t heartbeat(const struct pool_member *member)
{
	return atomic_load(&member->counters->heartbeat_ns);
}

static bool is_ready(const struct pool_member *member)
{
	return member->worker.pid && !member->starting;
}

unsigned int worker_pool_ready(const struct worker_pool *pool)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < pool->count; i++)
		count += is_ready(&pool->members[i]);
	return count;
}

static bool is_well(const struct pool_member *member, uint64_t now)
{
	return is_ready(member) && heartbeat(member) + PROXY_LEASE_NS >= now;
}

unsigned int worker_pool_well(const struct worker_pool *pool)
{
	const uint64_t now = monotonic_ns();
	unsigned int count = 0;

	for (unsigned int i = 0; i < pool->count; i++)
		count += is_well(&pool->members[i], now);
	return count;
}

void worker_pool_watch_fds(const struct worker_pool *pool, struct pollfd *fds)
{
	for (unsigned int i = 0; i < pool->count; i++)
		fds[i] = (struct pollfd){
			.fd = pool->members[i].worker.control_fd,
			.events = POLLIN,
		};
}

/*
 * Returns whether it has died. One message at a time, or a worker that was
 * taken over could keep us here; and it closes no listener before it is told.
 */
static bool receive_from(struct worker_pool *pool, struct pool_member *member)
{
	const int message = worker_receive(&member->worker, 0);

	switch (message) {
	case PROXY_READY:
		if (member->starting)
			log_info("worker %d: replaced one that died",
				 member->worker.pid);
		member->starting = false;
		break;
	case PROXY_LISTENERS_CLOSED:
		member->closed |= member->told != 0;
		break;
	case PROXY_PROVED_PLAIN:
		pool->plain_sources = true;
		member->proof = 0;
		break;
	case PROXY_PROVED:
		member->proof = 0;
		break;
	case PROXY_NOT_PROVED:
		member->proof = atomic_load(&member->counters->proof_err);
		break;
	case PROXY_DOUBT:
		member->doubts = true;
		break;
	}
	return message == -EPIPE;
}

unsigned int worker_pool_receive(struct worker_pool *pool, int timeout_ms)
{
	struct pollfd fds[WORKER_POOL_MAXIMUM];
	unsigned int died = 0;

	worker_pool_watch_fds(pool, fds);
	if (poll(fds, pool->count, timeout_ms) <= 0)
		return 0;
	for (unsigned int i = 0; i < pool->count; i++) {
		struct pool_member *member = &pool->members[i];
		const bool started = !member->starting;

		if (!fds[i].revents || !receive_from(pool, member))
			continue;
		bury(member);
		if (!member->told)
			count_death(pool, member, started);
		died++;
	}
	return died;
}

static void kill_if_hung(const struct worker_pool *pool,
			 const struct pool_member *member, uint64_t now)
{
	const uint64_t patience = member->starting ? READY_TIMEOUT_NS
						   : HUNG_AFTER_NS;
	const uint64_t beat = member->starting ? member->started_ns
					       : heartbeat(member);

	if (!member->worker.pid || beat + patience >= now ||
	    member->started_ns + patience >= now ||
	    pool->watching_since_ns + patience >= now)
		return;
	log_error("worker %d: %s for %llu s, killing it", member->worker.pid,
		  member->starting ? "not ready" : "hung",
		  (unsigned long long)((now - beat) / NS_PER_S));
	kill(member->worker.pid, SIGKILL);
}

void worker_pool_kill_hung(struct worker_pool *pool)
{
	const uint64_t now = monotonic_ns();

	if (now - pool->watched_ns > WATCH_GAP_NS)
		pool->watching_since_ns = now;
	pool->watched_ns = now;
	for (unsigned int i = 0; i < pool->count; i++)
		kill_if_hung(pool, &pool->members[i], now);
}

/* Does a worker run, or will one be tried? */
static bool has_future(const struct worker_pool *pool)
{
	for (unsigned int i = 0; i < pool->count; i++)
		if (pool->members[i].worker.pid ||
		    is_missing(pool, &pool->members[i]))
			return true;
	return false;
}

int worker_pool_replace(struct worker_pool *pool)
{
	for (unsigned int i = 0; i < pool->count; i++) {
		struct pool_member *member = &pool->members[i];

		if (is_missing(pool, member) &&
		    monotonic_ns() >= pool->retry_ns && launch(pool, i) < 0)
			count_death(pool, member, false);
	}
	if (has_future(pool))
		return 0;
	log_error("no worker is left: giving up");
	return -ECHILD;
}

unsigned int worker_pool_drain(struct worker_pool *pool, bool close)
{
	const unsigned char message = close ? PROXY_CLOSE : PROXY_DRAIN;
	unsigned int listening = 0;

	for (unsigned int i = 0; i < pool->count; i++) {
		struct pool_member *member = &pool->members[i];

		if (!member->worker.pid || member->closed)
			continue;
		if (member->told != message &&
		    worker_send(&member->worker, message, -1) == 0)
			member->told = message;
		listening++;
	}
	return listening;
}

void worker_pool_send_log_file(const struct worker_pool *pool)
{
	for (unsigned int i = 0; i < pool->count; i++)
		worker_send(&pool->members[i].worker, PROXY_LOG_FILE,
			    log_settings.fd);
}

/* To each in turn that has room, or to each that has hardly any; returns @err
 * if there is none. */
static int offer(struct worker_pool *pool, int fd, bool full, int err)
{
	const uint64_t now = monotonic_ns();

	for (unsigned int i = 0; i < pool->count && err; i++) {
		const struct pool_member *member =
			&pool->members[pool->next++ % pool->count];

		/* One that has closed its listeners may end at any time. */
		if (is_well(member, now) && !member->closed &&
		    atomic_load(&member->counters->full) == full)
			err = worker_send(&member->worker, PROXY_TAKE, fd);
	}
	return err;
}

int worker_pool_hand_over(struct worker_pool *pool, int fd)
{
	int err = offer(pool, fd, false, -ECHILD);

	if (err)
		err = offer(pool, fd, true, err);
	/* It has just died, and was well until then. */
	return err == -EPIPE || err == -ECONNRESET ? -ECHILD : err;
}

void worker_pool_ask_proof(struct worker_pool *pool)
{
	const uint64_t now = monotonic_ns();

	for (unsigned int i = 0; i < pool->count; i++) {
		struct pool_member *member = &pool->members[i];

		member->proof = NOT_ASKED;
		if (is_well(member, now) &&
		    worker_send(&member->worker, PROXY_PROVE, -1) == 0)
			member->proof = -EINPROGRESS;
	}
}

int worker_pool_proof(const struct worker_pool *pool)
{
	int result = -ECHILD;

	for (unsigned int i = 0; i < pool->count; i++) {
		const struct pool_member *member = &pool->members[i];

		if (!member->worker.pid || member->proof == NOT_ASKED)
			continue;
		if (member->proof == -EINPROGRESS)
			return -EINPROGRESS;
		if (member->proof || result == -ECHILD)
			result = member->proof;
	}
	return result;
}

int worker_pool_prove(struct worker_pool *pool, unsigned int patience_ms)
{
	const uint64_t deadline = monotonic_ns() + patience_ms * NS_PER_MS;
	int result;

	worker_pool_ask_proof(pool);
	while ((result = worker_pool_proof(pool)) == -EINPROGRESS) {
		if (monotonic_ns() >= deadline)
			return -ETIMEDOUT;
		worker_pool_receive(pool, ms_until(deadline));
	}
	return result;
}

bool worker_pool_doubts(struct worker_pool *pool)
{
	bool doubts = false;

	for (unsigned int i = 0; i < pool->count; i++) {
		doubts |= pool->members[i].doubts;
		pool->members[i].doubts = false;
	}
	return doubts;
}

void worker_pool_terminate(struct worker_pool *pool)
{
	for (unsigned int i = 0; i < pool->count; i++) {
		struct pool_member *member = &pool->members[i];

		worker_send(&member->worker, PROXY_TERMINATE, -1);
		member->closed = true;
	}
}

struct proxy_totals worker_pool_totals(const struct worker_pool *pool)
{
	struct proxy_totals totals = { 0 };

	for (unsigned int i = 0; i < pool->count; i++)
		proxy_totals_add(&totals, pool->members[i].counters);
	return totals;
}

void worker_pool_challenges(const struct worker_pool *pool,
			    struct challenge newest[static CHALLENGES_KEPT])
{
	for (unsigned int i = 0; i < pool->count; i++)
		challenges_collect(pool->members[i].counters->challenges,
				   newest);
}

unsigned int worker_pool_confinement(const struct worker_pool *pool)
{
	unsigned int bits = ~0U;

	for (unsigned int i = 0; i < pool->count; i++)
		if (pool->members[i].worker.pid)
			bits &= atomic_load(
				&pool->members[i].counters->confinement);
	return worker_pool_running(pool) ? bits : 0;
}
