// SPDX-License-Identifier: MIT
#include "tests/unit/proxy_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/log.h"

void fixture_enter_namespace(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	cleanup_fd int fd = -1;

	if (unshare(CLONE_NEWNET) != 0)
		return;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
}

in_port_t fixture_port(int fd)
{
	struct sockaddr_in6 address;
	socklen_t size = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
			 0);
	/* At the same place for both families. */
	return address.sin6_port;
}

int fixture_listen(int family, int flags, int backlog)
{
	const int on = 1;
	struct sockaddr_in6 address6 = {
		.sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	struct sockaddr_in address4 = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	bool six = family == AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	assert_true(fd >= 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	assert_int_equal(bind(fd,
			      six ? (struct sockaddr *)&address6
				  : (struct sockaddr *)&address4,
			      six ? sizeof(address6) : sizeof(address4)),
			 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

void fixture_add_address(struct backend *backend, in_port_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = port,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct endpoint *endpoint = &backend->addresses[backend->count++];

	memcpy(&endpoint->address, &address, sizeof(address));
	endpoint->length = sizeof(address);
	snprintf(backend->text, sizeof(backend->text), "127.0.0.1:%u",
		 ntohs(port));
}

void fixture_use_unix_fallback(struct fixture *fixture, int backlog)
{
	struct backend *fallback = &fixture->config.fallback;
	struct endpoint *endpoint = &fallback->addresses[0];
	const struct sockaddr_un any = { .sun_family = AF_UNIX };

	close(fixture->fallback);
	fixture->fallback = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fixture->fallback >= 0);
	assert_int_equal(bind(fixture->fallback, (const struct sockaddr *)&any,
			      sizeof(any.sun_family)),
			 0);
	assert_int_equal(listen(fixture->fallback, backlog), 0);
	endpoint->length = sizeof(endpoint->address);
	assert_int_equal(getsockname(fixture->fallback,
				     (struct sockaddr *)&endpoint->address,
				     &endpoint->length),
			 0);
	fallback->count = 1;
	strcpy(fallback->text, "unix:@test");
}

in_port_t fixture_refusing_port(void)
{
	int fd = fixture_listen(AF_INET, 0, 1);
	in_port_t port = fixture_port(fd);

	close(fd);
	return port;
}

void fill_backlog(in_port_t port, int fillers[2])
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = port,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	for (int i = 0; i < 2; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fillers[i], (struct sockaddr *)&address,
			sizeof(address));
	}
}

int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	alarm(120);
	fixture->shared = mmap(NULL, sizeof(*fixture->shared),
			       PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fixture->listeners.ipv4 = fixture_listen(AF_INET, SOCK_NONBLOCK, 4096);
	fixture->listeners.ipv6 = fixture_listen(AF_INET6, SOCK_NONBLOCK, 4096);
	fixture->port4 = fixture_port(fixture->listeners.ipv4);
	fixture->port6 = fixture_port(fixture->listeners.ipv6);
	fixture->alpn = fixture_listen(AF_INET, 0, 4096);
	fixture->fallback = fixture_listen(AF_INET, 0, 4096);
	fixture->config = (struct proxy_config){
		.hello_timeout_ms = PATIENCE_MS,
		.grace_ms = 100,
		.drain_timeout_ms = 10 * PATIENCE_MS,
		.max_connections = 2000,
		.max_pipes = 64,
	};
	fixture_add_address(&fixture->config.alpn, fixture_port(fixture->alpn));
	fixture_add_address(&fixture->config.fallback,
			    fixture_port(fixture->fallback));
	*state = fixture;
	return 0;
}

int fixture_setup_unix(void **state)
{
	int error = fixture_setup(state);

	fixture_use_unix_fallback(*state, 4096);
	return error;
}

void raise_own_limit(rlim_t descriptors)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < descriptors) {
		limit.rlim_cur = descriptors;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
}

char fixture_message(const struct fixture *fixture)
{
	struct pollfd waiting = { .fd = fixture->control_fd, .events = POLLIN };
	char message = 0;

	assert_int_equal(poll(&waiting, 1, PATIENCE_MS), 1);
	recv(fixture->control_fd, &message, 1, 0);
	return message;
}

static void fixture_run(struct fixture *fixture, int control_fd)
{
	struct proxy_environment environment = {
		.config = &fixture->config,
		.listeners = fixture->listeners,
		.control_fd = control_fd,
		.counters = &fixture->shared->counters,
		.lease = &fixture->shared->lease,
		.drain_when_orphaned = fixture->drain_when_orphaned,
	};
	struct rlimit limit;

	close(fixture->control_fd);
	close(fixture->alpn);
	close(fixture->fallback);
	log_settings.fd = -1;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (fixture->descriptors)
		limit.rlim_cur = fixture->descriptors;
	setrlimit(RLIMIT_NOFILE, &limit);
	/* exit() lets the sanitizers report; a leak fails the test. */
	exit(proxy_run(&environment) == 0 ? 0 : 1);
}

void fixture_start(struct fixture *fixture)
{
	int ends[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	fixture->control_fd = ends[0];
	fixture->pid = fork();
	assert_true(fixture->pid >= 0);
	if (fixture->pid == 0)
		fixture_run(fixture, ends[1]);
	close(ends[1]);
	listeners_close(&fixture->listeners);
	assert_int_equal(fixture_message(fixture), PROXY_READY);
}

void fixture_tell(const struct fixture *fixture, enum proxy_message message)
{
	char byte = (char)message;

	assert_int_equal(send(fixture->control_fd, &byte, 1, MSG_NOSIGNAL), 1);
}

void fixture_orphan(struct fixture *fixture)
{
	close(fixture->control_fd);
	fixture->control_fd = -1;
}

void fixture_expect_exit(struct fixture *fixture)
{
	int status = -1;

	for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
		pid_t pid = waitpid(fixture->pid, &status, WNOHANG);

		if (pid == fixture->pid) {
			fixture->pid = 0;
			assert_int_equal(status, 0);
			return;
		}
		usleep(5000);
	}
	fail_msg("the proxy did not end");
}

int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;
	int status = 0;

	if (fixture->pid > 0) {
		fixture_tell(fixture, PROXY_TERMINATE);
		fixture_expect_exit(fixture);
	}
	close(fixture->control_fd);
	close(fixture->alpn);
	close(fixture->fallback);
	munmap((void *)fixture->shared, sizeof(*fixture->shared));
	free(fixture);
	alarm(0);
	return status;
}

size_t fixture_descriptors(const struct fixture *fixture)
{
	char path[64];
	size_t count = 0;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%d/fd", fixture->pid);
	folder = opendir(path);
	assert_non_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

unsigned long fixture_cpu_ms(const struct fixture *fixture)
{
	unsigned long user, system;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", fixture->pid);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file,
				"%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u "
				"%*u %*u %*u %lu %lu",
				&user, &system),
			 2);
	fclose(file);
	return (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

void set_patience(int fd)
{
	const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	const int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int try_to_visit(const struct fixture *fixture, int family)
{
	struct sockaddr_in6 address6 = {
		.sin6_family = AF_INET6,
		.sin6_port = fixture->port6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT,
	};
	struct sockaddr_in address4 = {
		.sin_family = AF_INET,
		.sin_port = fixture->port4,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	bool six = family == AF_INET6;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	set_patience(fd);
	if (connect(fd,
		    six ? (struct sockaddr *)&address6
			: (struct sockaddr *)&address4,
		    six ? sizeof(address6) : sizeof(address4)) == 0)
		return fd;
	close(fd);
	return -1;
}

int visit(const struct fixture *fixture)
{
	int fd = try_to_visit(fixture, AF_INET);

	assert_true(fd >= 0);
	return fd;
}

bool is_waiting(int listener, int timeout_ms)
{
	struct pollfd waiting = { .fd = listener, .events = POLLIN };

	return poll(&waiting, 1, timeout_ms) == 1;
}

int take_visitor(int listener)
{
	int fd;

	assert_true(is_waiting(listener, PATIENCE_MS));
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	set_patience(fd);
	return fd;
}

void say(int fd, const void *bytes, size_t length)
{
	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
}

void expect(int fd, const void *bytes, size_t length)
{
	static uint8_t buffer[1 << 17];

	assert_true(length <= sizeof(buffer));
	assert_int_equal(recv(fd, buffer, length, MSG_WAITALL), length);
	assert_memory_equal(buffer, bytes, length);
}

void expect_end(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

void expect_reset(int fd)
{
	char byte;

	errno = 0;
	assert_int_equal(recv(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
}

void expect_failure(int fd)
{
	struct pollfd waiting = { .fd = fd };
	int error = 0;
	socklen_t size = sizeof(error);

	assert_int_equal(poll(&waiting, 1, PATIENCE_MS), 1);
	assert_true(waiting.revents & POLLERR);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	assert_int_equal(error, EPIPE);
}

void reset(int fd)
{
	const struct linger at_once = { .l_onoff = 1 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(fd);
}

struct deaf start_with_deaf_address(struct fixture *fixture)
{
	struct backend *fallback = &fixture->config.fallback;
	const in_port_t other = fixture_port(fixture->fallback);
	struct deaf deaf = { .listener = fixture_listen(AF_INET, 0, 0) };

	fallback->count = 0;
	fixture_add_address(fallback, fixture_port(deaf.listener));
	fixture_add_address(fallback, other);
	fixture_start(fixture);
	fill_backlog(fixture_port(deaf.listener), deaf.fillers);
	return deaf;
}

void send_fillers_away(struct deaf deaf)
{
	close(deaf.fillers[0]);
	close(deaf.fillers[1]);
}

static const char *const only_acme[] = { "acme-tls/1", NULL };
static const char *const browser[] = { "h2", "http/1.1", NULL };

const struct hello *acme_hello(void)
{
	static const struct hello_spec spec = {
		.protocols = only_acme,
		.server_name = "example.org",
	};
	static struct hello hello;

	if (hello.length == 0)
		hello_build(&hello, &spec);
	return &hello;
}

const struct hello *browser_hello(void)
{
	static const struct hello_spec spec = {
		.protocols = browser,
		.server_name = "example.org",
		.key_share = 1258,
		.session_id = 32,
		.grease = true,
	};
	static struct hello hello;

	if (hello.length == 0)
		hello_build(&hello, &spec);
	return &hello;
}

int greet(int listener, int client, const struct hello *hello)
{
	int server;

	say(client, hello->bytes, hello->length);
	server = take_visitor(listener);
	expect(server, hello->bytes, hello->length);
	return server;
}

struct relayed relay(const struct fixture *fixture)
{
	struct relayed relayed = { .client = visit(fixture) };

	relayed.server =
		greet(fixture->fallback, relayed.client, browser_hello());
	return relayed;
}

void close_both(struct relayed relayed)
{
	close(relayed.client);
	close(relayed.server);
}

void let_turns_pass(const struct fixture *fixture)
{
	struct relayed other = relay(fixture);

	for (int i = 0; i < 100; i++) {
		say(other.client, "x", 1);
		expect(other.server, "x", 1);
	}
	close_both(other);
}
