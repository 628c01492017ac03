// SPDX-License-Identifier: MIT
/*
 * The supervisor's life, with a redirect that is the test's: it runs in a child
 * with workers of its own, and tells here what it is asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "listen/latecomers.h"
#include "supervisor/supervisor.h"

#define PATIENCE_MS 10000

/* Shared with the supervisor, which is a child. */
static struct {
	atomic_bool ready;
	atomic_int attached;
	/* So many pauses fail; so many were asked for. */
	atomic_int stubborn;
	atomic_int pauses;
	atomic_int detached;
	/* Handshakes are under way. */
	atomic_bool latecomers;
	atomic_uint port;
	atomic_int closed;
	/* When an event was made, was seen, and what became of the socket. */
	atomic_uint_least64_t made_ns;
	atomic_uint_least64_t seen_ns;
	atomic_int handed_over;
	/* Renewals: how many, the last one's word, the longest time between. */
	atomic_int renewals;
	atomic_bool well;
	atomic_uint_least64_t renewed_ns;
	atomic_uint_least64_t longest_ns;
	/* The workers, in the order of their birth; new ones do not get ready
	 * while they are held. */
	atomic_int births;
	atomic_int workers[8];
	atomic_bool held;
} * seen;

static int event;
static char folder[32];
static char path[64];

struct fake {
	struct redirect base;
	const struct redirect_config *config;
};

static int fake_open(const struct redirect_config *config,
		     const struct listeners *listeners,
		     struct redirect **redirect)
{
	struct fake *fake = calloc(1, sizeof(*fake));
	extern const struct redirect_ops fake_ops;

	(void)listeners;
	fake->base = (struct redirect){ .ops = &fake_ops,
					.event_fd = event,
					.worker_fd = -1 };
	fake->config = config;
	atomic_store(&seen->port, config->listen_port);
	*redirect = &fake->base;
	return 0;
}

static int fake_attach(struct redirect *redirect)
{
	(void)redirect;
	atomic_fetch_add(&seen->attached, 1);
	return 0;
}

static int fake_pause(struct redirect *redirect)
{
	(void)redirect;
	return atomic_fetch_add(&seen->pauses, 1) < seen->stubborn ? -EBUSY : 0;
}

static void fake_detach(struct redirect *redirect)
{
	(void)redirect;
	atomic_fetch_add(&seen->detached, 1);
}

static bool fake_has_latecomers(const struct redirect *redirect)
{
	(void)redirect;
	return atomic_load(&seen->latecomers);
}

static void fake_close(struct redirect *redirect)
{
	atomic_fetch_add(&seen->closed, 1);
	free(redirect);
}

/* Each event is a socket for a worker. */
static int fake_handle_event(struct redirect *redirect)
{
	const struct redirect_config *config =
		((struct fake *)redirect)->config;
	uint64_t count;

	if (read(event, &count, sizeof(count)) != sizeof(count))
		return 0;
	atomic_store(&seen->seen_ns, monotonic_ns());
	atomic_store(
		&seen->handed_over,
		config->hand_over(config->context, STDIN_FILENO) == 0 ? 1 : -1);
	return 0;
}

static void fake_renew(struct redirect *redirect, bool well)
{
	const uint64_t now = monotonic_ns();
	const uint64_t last = atomic_exchange(&seen->renewed_ns, now);

	(void)redirect;
	if (last && now - last > seen->longest_ns)
		atomic_store(&seen->longest_ns, now - last);
	atomic_store(&seen->well, well);
	atomic_fetch_add(&seen->renewals, 1);
}

extern const struct redirect_ops fake_ops;
const struct redirect_ops fake_ops = {
	.name = "fake",
	.scope = LISTENER_LOOPBACK,
	.open = fake_open,
	.attach = fake_attach,
	.pause = fake_pause,
	.detach = fake_detach,
	.has_latecomers = fake_has_latecomers,
	.close = fake_close,
	.handle_event = fake_handle_event,
	.renew = fake_renew,
};

static int ready(void *context)
{
	(void)context;
	atomic_store(&seen->ready, true);
	return 0;
}

static uint16_t free_port(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
			 0);
	close(fd);
	return ntohs(address.sin_port);
}

static void worker_is_born(void)
{
	seen->workers[atomic_fetch_add(&seen->births, 1)] = getpid();
	while (seen->held)
		usleep(1000);
}

static _Noreturn void supervise(void)
{
	struct pidfile pidfile;
	struct pidfile_holder holder;
	struct supervisor_settings settings = {
		.proxy = {
			.hello_timeout_ms = 3000,
			.grace_ms = 100,
			.drain_timeout_ms = 30000,
			.max_connections = 100,
		},
		.worker_count = 2,
		.user = "65534",
		.redirect = { .service_port = 443, .listen_port = free_port() },
		.ops = &fake_ops,
		.pidfile = &pidfile,
		.ready = ready,
	};

	alarm(60);
	pthread_atfork(NULL, NULL, worker_is_born);
	signals_hold(NULL);
	backend_resolve("127.0.0.1:1", &settings.proxy.alpn);
	backend_resolve("127.0.0.1:1", &settings.proxy.fallback);
	if (pidfile_acquire(&pidfile, path, &holder))
		_exit(100);
	_exit(supervisor_run(&settings) ? 1 : 0);
}

static int setup(void **state)
{
	(void)state;
	log_settings.fd = -1;
	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(seen, MAP_FAILED);
	event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	strcpy(folder, "/tmp/test-supervisor-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/x.pid", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(event);
	munmap(seen, sizeof(*seen));
	/* Nothing of it is left there. */
	return rmdir(folder);
}

static void wait_for(const atomic_int *number, int least)
{
	for (int waited = 0; waited < PATIENCE_MS; waited++) {
		if (atomic_load(number) >= least)
			return;
		usleep(1000);
	}
	fail_msg("%d did not become %d", atomic_load(number), least);
}

static pid_t start(void)
{
	pid_t child = fork();

	if (child == 0)
		supervise();
	wait_for(&seen->attached, 1);
	wait_for(&seen->renewals, 2);
	assert_true(seen->ready);
	return child;
}

static void expect_end(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(seen->detached, 1);
	assert_int_equal(seen->closed, 1);
}

static void sees_an_event_at_once(void **state)
{
	const uint64_t one = 1;
	pid_t child = start();

	(void)state;
	atomic_store(&seen->made_ns, monotonic_ns());
	assert_int_equal(write(event, &one, sizeof(one)), sizeof(one));
	for (int i = 0; i < PATIENCE_MS && !seen->handed_over; i++)
		usleep(1000);
	assert_int_equal(seen->handed_over, 1);
	/* A microsecond's work, on a machine that does other work as well. */
	assert_true(seen->seen_ns - seen->made_ns < 100 * NS_PER_MS);
	kill(child, SIGTERM);
	expect_end(child);
	assert_int_equal(seen->pauses, 1);
}

static void renews_twice_a_second(void **state)
{
	pid_t child = start();

	(void)state;
	wait_for(&seen->renewals, 6);
	assert_true(seen->well);
	/* What is due after 400 ms, and the same as above. */
	assert_in_range(seen->longest_ns, 300 * NS_PER_MS, 900 * NS_PER_MS);
	kill(child, SIGQUIT);
	expect_end(child);
}

/* It serves on meanwhile, and looks after events. */
static void goes_on_while_the_redirect_stays(void **state)
{
	const uint64_t one = 1;
	pid_t child;

	(void)state;
	atomic_store(&seen->stubborn, 1);
	child = start();
	kill(child, SIGINT);
	wait_for(&seen->pauses, 1);
	assert_int_equal(write(event, &one, sizeof(one)), sizeof(one));
	wait_for(&seen->handed_over, 1);
	assert_int_equal(seen->pauses, 1);
	assert_int_equal(seen->detached, 0);
	expect_end(child);
	assert_int_equal(seen->pauses, 2);
}

static void tries_to_pause_until_somebody_is_ready(void **state)
{
	pid_t child;

	(void)state;
	atomic_store(&seen->stubborn, 2);
	child = start();
	atomic_store(&seen->held, true);
	kill(seen->workers[0], SIGKILL);
	kill(seen->workers[1], SIGKILL);
	wait_for(&seen->pauses, 3);
	/* Not because those had taken too long. */
	assert_int_equal(seen->births, 4);
	assert_int_equal(kill(seen->workers[2], 0), 0);
	assert_int_equal(kill(seen->workers[3], 0), 0);
	atomic_store(&seen->held, false);
	wait_for(&seen->attached, 2);
	kill(child, SIGTERM);
	expect_end(child);
	assert_int_equal(seen->pauses, 4);
}

static pid_t stop_with_latecomers(void)
{
	pid_t child;

	atomic_store(&seen->latecomers, true);
	child = start();
	kill(child, SIGTERM);
	wait_for(&seen->detached, 1);
	/* It forgets the pidfile next. */
	for (int i = 0; i < PATIENCE_MS && access(path, F_OK) == 0; i++)
		usleep(1000);
	assert_true(listeners_port_is_taken(LISTENER_LOOPBACK,
					    (uint16_t)seen->port));
	assert_true(latecomers_are_expected((uint16_t)seen->port));
	return child;
}

static void listens_on_for_latecomers(void **state)
{
	pid_t child = stop_with_latecomers();

	(void)state;
	atomic_store(&seen->latecomers, false);
	expect_end(child);
	assert_false(latecomers_are_expected((uint16_t)seen->port));
}

/* Although there are some. */
static void leaves_the_port_to_whoever_wants_it(void **state)
{
	pid_t child = stop_with_latecomers();

	(void)state;
	latecomers_turn_away((uint16_t)seen->port);
	assert_false(listeners_port_is_taken(LISTENER_LOOPBACK,
					     (uint16_t)seen->port));
	expect_end(child);
}

#define life_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		life_test(sees_an_event_at_once),
		life_test(renews_twice_a_second),
		life_test(goes_on_while_the_redirect_stays),
		life_test(tries_to_pause_until_somebody_is_ready),
		life_test(listens_on_for_latecomers),
		life_test(leaves_the_port_to_whoever_wants_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
