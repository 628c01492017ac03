// SPDX-License-Identifier: MIT
/*
 * A worker that misbehaves: each attempt runs in a process of its own, confined
 * as a worker is, and must fail as intended; what the proxy needs must work.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/memory.h"
#include "supervisor/confinement.h"

#define NOBODY 65534

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* Made before the confinement. */
static struct {
	int backend;
	int other;
	uint16_t backend_port;
	uint16_t other_port;
	int root;
	/* Sockets of this host, one with a path in a folder of its own. */
	int path_backend;
	int name_backend;
	char folder[32];
	struct sockaddr_un path;
	struct sockaddr_un name;
	socklen_t name_size;
	/* What the next worker may connect to as well. */
	bool unix_paths;
	bool unix_names;
	bool own_sources;
	/* A file of the worker's user, under @root. */
	char file[32];
	/* Another process of the same user. */
	pid_t victim;
	unsigned int in_force;
	/* What to do before the confinement, or NULL. */
	void (*before)(void);
} world;

static bool is_root(void)
{
	return geteuid() == 0;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static int listen_somewhere(uint16_t *port)
{
	struct sockaddr_in address = loopback(0);
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size),
			 0);
	*port = ntohs(address.sin_port);
	return fd;
}

static int listen_on_unix(struct sockaddr_un *address, socklen_t *size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)address, *size), 0);
	assert_int_equal(listen(fd, 16), 0);
	*size = sizeof(*address);
	assert_int_equal(getsockname(fd, (struct sockaddr *)address, size), 0);
	return fd;
}

/* The kernel chooses the abstract name. */
static void make_unix_backends(void)
{
	socklen_t size = sizeof(world.path);

	strcpy(world.folder, "/tmp/test-confinement-XXXXXX");
	assert_non_null(mkdtemp(world.folder));
	assert_int_equal(chmod(world.folder, 0755), 0);
	world.path.sun_family = AF_UNIX;
	snprintf(world.path.sun_path, sizeof(world.path.sun_path), "%s/socket",
		 world.folder);
	world.path_backend = listen_on_unix(&world.path, &size);
	assert_int_equal(chmod(world.path.sun_path, 0666), 0);

	world.name.sun_family = AF_UNIX;
	world.name_size = sizeof(world.name.sun_family);
	world.name_backend = listen_on_unix(&world.name, &world.name_size);
}

static unsigned int confine_like_a_worker(void)
{
	const struct confinement_settings settings = {
		.uid = NOBODY,
		.gid = NOBODY,
		.ports = { world.backend_port },
		.port_count = 1,
		.unix_paths = world.unix_paths,
		.unix_names = world.unix_names,
		.own_sources = world.own_sources,
	};
	int bits = confine(&settings);

	if (bits < 0)
		_exit(100);
	return (unsigned int)bits;
}

/* From now on the call fails like one that this kernel does not know. */
static void take_call_away(unsigned int number, unsigned int first_argument)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first_argument, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(103);
}

static void take_seccomp_away(void)
{
	take_call_away(SYS_prctl, PR_SET_SECCOMP);
}

static void take_landlock_away(void)
{
	take_call_away(SYS_landlock_create_ruleset, 0);
}

/* The wait status of a confined process that does @work. */
static int run_confined(int (*work)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		/* cmocka catches it. */
		signal(SIGSEGV, SIG_DFL);
		if (world.before)
			world.before();
		world.in_force = confine_like_a_worker();
		_exit(work());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

/* @work returns 0, or which of its steps went wrong. */
static void expect_good(int (*work)(void))
{
	int status = run_confined(work);

	if (!WIFEXITED(status) || WEXITSTATUS(status))
		print_error("wait status %#x: step %d\n", (unsigned int)status,
			    WEXITSTATUS(status));
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool refused(long result)
{
	return result == -1 && (errno == EPERM || errno == EACCES);
}

static int open_files(void)
{
	if (!refused(open("/etc/passwd", O_RDONLY | O_CLOEXEC)))
		return 1;
	if (!refused(open(".", O_RDONLY | O_CLOEXEC)))
		return 2;
	if (!refused(open("made", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)))
		return 3;
	if (!refused(openat(world.root, "etc/passwd", O_RDONLY | O_CLOEXEC)))
		return 4;
	if (!refused(access("/", F_OK)) || !refused(unlink("/etc/passwd")))
		return 5;
	return 0;
}

static int leave_its_root(void)
{
	if (!refused(chdir("..")) || !refused(chdir("/")))
		return 1;
	if (!refused(fchdir(world.root)))
		return 2;
	if (!refused(chroot(".")) || !refused(chroot("..")))
		return 3;
	return 0;
}

static int start_programs(void)
{
	char name[] = "true";
	char *const argv[] = { name, NULL };
	pid_t child;

	if (!refused(execv("/bin/true", argv)))
		return 1;
	child = fork();
	if (child == 0)
		_exit(0);
	if (!refused(child))
		return 2;
	if (!refused(syscall(SYS_execveat, world.root, "bin/true", argv, NULL,
			     0)))
		return 3;
	return 0;
}

static int open_other_sockets(void)
{
	static const struct {
		int family;
		int type;
		int protocol;
	} others[] = {
		{ AF_UNIX, SOCK_STREAM, 0 },
		{ AF_NETLINK, SOCK_RAW, 0 },
		{ AF_PACKET, SOCK_RAW, 0 },
		{ AF_ALG, SOCK_SEQPACKET, 0 },
		{ AF_VSOCK, SOCK_STREAM, 0 },
		{ AF_INET, SOCK_DGRAM, 0 },
		{ AF_INET, SOCK_RAW, IPPROTO_TCP },
		{ AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0 },
		{ AF_INET, SOCK_STREAM, IPPROTO_SCTP },
		{ AF_INET, SOCK_STREAM, IPPROTO_MPTCP },
	};
	int pair[2];

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (!refused(socket(others[i].family, others[i].type,
				    others[i].protocol)))
			return (int)i + 1;
	}
	return refused(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) ? 0 : 50;
}

static int take_connections(void)
{
	const struct sockaddr_in address = loopback(0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return 1;
	if (!refused(bind(fd, (const struct sockaddr *)&address,
			  sizeof(address))))
		return 2;
	return refused(listen(fd, 1)) ? 0 : 3;
}

static int connect_elsewhere(void)
{
	const struct sockaddr_in other = loopback(world.other_port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		return 1;
	/* A way around connect(). */
	if (!refused(sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL,
			    (const struct sockaddr *)&other, sizeof(other))))
		return 2;
	if (world.in_force & CONFINED_PORTS &&
	    !refused(connect(fd, (const struct sockaddr *)&other,
			     sizeof(other))))
		return 3;
	return 0;
}

static int harm_others(void)
{
	const struct rlimit none = { 0, 0 };

	if (!refused(kill(world.victim, SIGKILL)) ||
	    !refused(syscall(SYS_tgkill, world.victim, world.victim, SIGKILL)))
		return 1;
	if (!refused(syscall(SYS_pidfd_open, world.victim, 0)))
		return 2;
	if (!refused(ptrace(PTRACE_ATTACH, world.victim, NULL, NULL)))
		return 3;
	if (!refused(fcntl(world.backend, F_SETOWN, world.victim)) ||
	    !refused(ioctl(world.backend, FIOSETOWN, &world.victim)))
		return 4;
	if (!refused(syscall(SYS_prlimit64, world.victim, RLIMIT_CPU, &none,
			     NULL)))
		return 5;
	return 0;
}

static int regain_rights(void)
{
	if (!refused(setuid(0)) || !refused(setgid(0)) ||
	    !refused(setresuid(0, 0, 0)))
		return 1;
	if (!refused(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)))
		return 2;
	if (!refused(syscall(SYS_capset, NULL, NULL)))
		return 3;
	return 0;
}

static int ask_the_kernel(void)
{
	static const long numbers[] = {
		SYS_bpf,     SYS_mount,		 SYS_umount2,
		SYS_unshare, SYS_setns,		 SYS_perf_event_open,
		SYS_keyctl,  SYS_userfaultfd,	 SYS_init_module,
		SYS_reboot,  SYS_io_uring_setup, SYS_process_vm_writev,
		SYS_clone,   SYS_clone3,	 SYS_ioctl,
		SYS_seccomp, SYS_personality,	 SYS_sethostname,
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		if (!refused(syscall(numbers[i], 0, 0, 0, 0, 0)))
			return (int)i + 1;
	}
	return 0;
}

static int make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 1;
	if (!refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)))
		return 2;
	page = mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return page == MAP_FAILED && errno == EPERM ? 0 : 3;
}

/* Landlock alone, with nothing of what seccomp forbids forbidden. */
static int use_all_calls(void)
{
	const struct sockaddr_in other = loopback(world.other_port);
	const struct sockaddr_in any = loopback(0);
	int fd;

	if (world.in_force & CONFINED_CALLS)
		return 1;
	if (!(world.in_force & CONFINED_FILES))
		return 0;
	if (!refused(openat(world.root, world.file, O_RDONLY | O_CLOEXEC)) ||
	    !refused(openat(world.root, world.file, O_WRONLY | O_CLOEXEC)))
		return 2;
	if (!refused(unlinkat(world.root, world.file, 0)) ||
	    !refused(linkat(world.root, world.file, world.root, "tmp/x", 0)))
		return 3;
	if (!(world.in_force & CONFINED_PORTS))
		return 0;
	/* Kernel 6.2, and so older than that for ports. */
	if (fchdir(world.root) < 0 || !refused(truncate(world.file, 0)))
		return 4;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (!refused(connect(fd, (const struct sockaddr *)&other,
			     sizeof(other))) ||
	    !refused(bind(fd, (const struct sockaddr *)&any, sizeof(any))))
		return 5;
	if (!(world.in_force & CONFINED_PROCESSES))
		return 0;
	if (!refused(kill(world.victim, SIGKILL)) ||
	    !refused(kill(world.victim, 0)))
		return 6;
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (!refused(connect(fd, (const struct sockaddr *)&world.name,
			     world.name_size)))
		return 7;
	return 0;
}

static int miss_landlock(void)
{
	return world.in_force &
	       (CONFINED_FILES | CONFINED_PORTS | CONFINED_PROCESSES);
}

#define MISBEHAVES(work)                        \
	static void cannot_##work(void **state) \
	{                                       \
		(void)state;                    \
		if (!is_root())                 \
			skip();                 \
		expect_good(work);              \
	}

MISBEHAVES(open_files)
MISBEHAVES(leave_its_root)
MISBEHAVES(start_programs)
MISBEHAVES(open_other_sockets)
MISBEHAVES(take_connections)
MISBEHAVES(connect_elsewhere)
MISBEHAVES(harm_others)
MISBEHAVES(regain_rights)
MISBEHAVES(ask_the_kernel)
MISBEHAVES(make_code)

/* Each holds without the other, where a kernel or a container lacks it. */
static void is_held_by_each_layer_alone(void **state)
{
	static int (*const attempts[])(void) = {
		miss_landlock,	   open_files,	       leave_its_root,
		start_programs,	   open_other_sockets, take_connections,
		connect_elsewhere, harm_others,	       regain_rights,
		ask_the_kernel,
	};

	(void)state;
	if (!is_root())
		skip();
	world.before = take_landlock_away;
	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++)
		expect_good(attempts[i]);
	world.before = take_seccomp_away;
	expect_good(use_all_calls);
	world.before = NULL;
}

static int aborts(void)
{
	abort();
}

#ifdef __x86_64__
/* 32-bit calls have numbers of their own; 1 is exit there. */
static int calls_as_another_machine(void)
{
	__asm__ volatile("int $0x80" : : "a"(1), "b"(0) : "memory");
	return 1;
}
#endif

static void dies_where_it_must(void **state)
{
	(void)state;
	if (!is_root())
		skip();
	/* It cannot raise SIGABRT, and must end all the same. */
	assert_true(WIFSIGNALED(run_confined(aborts)));
#ifdef __x86_64__
	int status = run_confined(calls_as_another_machine);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
#endif
}

static int relays(void)
{
	const struct sockaddr_in address = loopback(world.backend_port);
	struct epoll_event event = { .events = EPOLLIN };
	struct timeval patience = { .tv_sec = 5 };
	int client, backend, epoll_fd, pipe_fds[2];
	const int on = 1;
	char byte = 0;
	fd_set readable;

	client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (client < 0 || (connect(client, (const struct sockaddr *)&address,
				   sizeof(address)) < 0 &&
			   errno != EINPROGRESS))
		return 1;
	backend = accept4(world.backend, NULL, NULL, SOCK_CLOEXEC);
	if (backend < 0)
		return 2;
	if (setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    ioctl(client, FIONBIO, &on) < 0)
		return 3;
	if (send(client, "x", 1, MSG_NOSIGNAL) != 1)
		return 4;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, backend, &event) < 0 ||
	    epoll_wait(epoll_fd, &event, 1, 5000) != 1)
		return 5;
	FD_ZERO(&readable);
	FD_SET(epoll_fd, &readable);
	if (select(epoll_fd + 1, &readable, NULL, NULL, &patience) != 1)
		return 6;

	if (pipe2(pipe_fds, O_NONBLOCK | O_CLOEXEC) < 0 ||
	    fcntl(pipe_fds[1], F_SETPIPE_SZ, 65536) < 0 ||
	    splice(backend, NULL, pipe_fds[1], NULL, 1, SPLICE_F_NONBLOCK) !=
		    1 ||
	    splice(pipe_fds[0], NULL, backend, NULL, 1, SPLICE_F_NONBLOCK) != 1)
		return 7;
	if (shutdown(backend, SHUT_WR) < 0)
		return 8;
	while (recv(client, &byte, 1, 0) < 0 && errno == EAGAIN)
		continue;
	return byte == 'x' ? 0 : 9;
}

static int lives(void)
{
	struct rlimit limit;
	sigset_t set;
	char *memory;
	int fd;

	memory = malloc(64 << 20);
	if (!memory)
		return 1;
	memset(memory, 1, 64 << 20);
	memory = realloc(memory, 80 << 20);
	if (!memory)
		return 2;
	free(memory);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || monotonic_ns() == 0)
		return 3;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return 4;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return 5;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return 6;
	if (fcntl(fd, F_GETFD) < 0 || fcntl(999, F_GETFD) != -1 ||
	    errno != EBADF)
		return 7;
	if (write(STDERR_FILENO, "", 0) < 0)
		return 8;
	return 0;
}

static void can_do_its_work(void **state)
{
	(void)state;
	if (!is_root())
		skip();
	expect_good(relays);
	expect_good(lives);
}

static int use_other_unix_sockets(void)
{
	static const int types[] = { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RAW };
	struct sockaddr_un mine = { .sun_family = AF_UNIX };
	int pair[2];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!refused(socket(AF_UNIX, types[i], 0)))
			return (int)i + 1;
	}
	if (!refused(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)))
		return 10;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 11;
	strcpy(mine.sun_path, "/tmp/mine");
	if (!refused(bind(fd, (struct sockaddr *)&mine, sizeof(mine))))
		return 12;
	return refused(listen(fd, 1)) ? 0 : 13;
}

static int connect_unix(const struct sockaddr_un *address, socklen_t size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)address, size);
}

static bool landlock_scopes_names(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 6;
}

/* With a backend that has a path, a worker reaches it, and has no more of files
 * than without. */
static int reaches_paths(void)
{
	if (connect_unix(&world.path, sizeof(world.path)) < 0)
		return 1;
	if (world.in_force & CONFINED_ROOT)
		return 2;
	if (open_files())
		return 3;
	if (connect_elsewhere())
		return 4;
	return use_other_unix_sockets();
}

static int cannot_reach_names(void)
{
	return refused(connect_unix(&world.name, world.name_size)) ? 0 : 1;
}

static int reaches_names(void)
{
	if (connect_unix(&world.name, world.name_size) < 0)
		return 1;
	if (!(world.in_force & CONFINED_ROOT))
		return 2;
	if (!refused(connect_unix(&world.path, sizeof(world.path))))
		return 3;
	return use_other_unix_sockets();
}

static void can_use_sockets_of_this_host(void **state)
{
	(void)state;
	if (!is_root())
		skip();
	world.unix_paths = true;
	expect_good(reaches_paths);
	expect_good(relays);
	if (landlock_scopes_names())
		expect_good(cannot_reach_names);
	world.unix_paths = false;
	world.unix_names = true;
	expect_good(reaches_names);
	expect_good(leave_its_root);
	world.unix_names = false;
}

/* An address to connect from, and no port to be reached at. */
static int choose_a_source(void)
{
	struct sockaddr_in source = loopback(0);
	struct sockaddr_in6 other = { .sin6_family = AF_INET6 };
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0x10000);
	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on,
		       sizeof(on)) < 0)
		return 1;
	if (!refused(setsockopt(fd, IPPROTO_IP, IP_TOS, &on, sizeof(on))))
		return 2;
	if (!refused(bind(fd, (const struct sockaddr *)&other, sizeof(other))))
		return 3;
	if (bind(fd, (const struct sockaddr *)&source, sizeof(source)) < 0)
		return 4;
	if (!refused(listen(fd, 1)))
		return 5;
	source = loopback(world.backend_port);
	if (connect(fd, (const struct sockaddr *)&source, sizeof(source)) < 0 ||
	    accept4(world.backend, NULL, NULL, SOCK_CLOEXEC) < 0)
		return 6;
	if (!(world.in_force & CONFINED_PORTS))
		return 0;
	fd = socket(AF_INET, SOCK_STREAM, 0);
	source = loopback(4711);
	return refused(bind(fd, (const struct sockaddr *)&source,
			    sizeof(source)))
		       ? 0
		       : 7;
}

static void can_choose_a_source(void **state)
{
	(void)state;
	world.own_sources = true;
	expect_good(choose_a_source);
	expect_good(relays);
	world.own_sources = false;
}

/* The value of @field in /proc/PID/status. */
static void read_status(pid_t pid, const char *field, char value[static 256])
{
	char path[64];
	char line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	*value = '\0';
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, field, strlen(field)) == 0)
			strcpy(value, line + strlen(field));
	}
	fclose(file);
}

static void holds_nothing(void **state)
{
	static const struct {
		const char *field;
		const char *value;
	} expected[] = {
		{ "Uid:", "\t65534\t65534\t65534\t65534\n" },
		{ "Gid:", "\t65534\t65534\t65534\t65534\n" },
		{ "Groups:", "\t \n" },
		{ "CapInh:", "\t0000000000000000\n" },
		{ "CapPrm:", "\t0000000000000000\n" },
		{ "CapEff:", "\t0000000000000000\n" },
		{ "CapBnd:", "\t0000000000000000\n" },
		{ "CapAmb:", "\t0000000000000000\n" },
		{ "NoNewPrivs:", "\t1\n" },
		{ "Seccomp:", "\t2\n" },
	};
	int started[2], ended[2];
	char value[256];
	char byte;
	pid_t child;

	(void)state;
	if (!is_root())
		skip();
	assert_int_equal(pipe2(started, O_CLOEXEC), 0);
	assert_int_equal(pipe2(ended, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(ended[1]);
		byte = (char)confine_like_a_worker();
		if (write(started[1], &byte, 1) == 1 &&
		    read(ended[0], &byte, 1) == 0)
			_exit(EXIT_SUCCESS);
		_exit(EXIT_FAILURE);
	}
	assert_int_equal(read(started[0], &byte, 1), 1);
	/* These no kernel and no container takes away. */
	assert_int_equal(byte & (CONFINED_USER | CONFINED_CAPABILITIES |
				 CONFINED_ROOT | CONFINED_CALLS),
			 CONFINED_USER | CONFINED_CAPABILITIES | CONFINED_ROOT |
				 CONFINED_CALLS);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		read_status(child, expected[i].field, value);
		assert_string_equal(value, expected[i].value);
	}
	close(ended[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(started[0]);
	close(started[1]);
	close(ended[0]);
}

/* What an unprivileged user's proxy (--no-redirect) can still give up. */
static void confines_an_ordinary_user_too(void **state)
{
	pid_t child;
	int status;

	(void)state;
	if (!is_root())
		skip();
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(101);
		world.in_force = confine_like_a_worker();
		if (world.in_force & CONFINED_ROOT ||
		    !(world.in_force & CONFINED_CALLS))
			_exit(102);
		_exit(open_files());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What the worker's user could open, were it not confined. */
static int make_file(void)
{
	cleanup_fd int fd = -1;

	strcpy(world.file, "tmp/confinement-XXXXXX");
	if (fchdir(world.root) < 0)
		return -1;
	fd = mkstemp(world.file);
	if (fd < 0)
		return -1;
	return is_root() && fchown(fd, NOBODY, NOBODY) < 0 ? -1 : 0;
}

static int make_world(void **state)
{
	(void)state;
	world.backend = listen_somewhere(&world.backend_port);
	world.other = listen_somewhere(&world.other_port);
	make_unix_backends();
	world.root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	world.victim = fork();
	if (world.victim == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (is_root() && setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(EXIT_FAILURE);
		for (;;)
			pause();
	}
	if (world.root < 0 || world.victim < 0)
		return -1;
	return make_file();
}

static int end_world(void **state)
{
	int status;

	(void)state;
	if (waitpid(world.victim, &status, WNOHANG) != 0)
		return -1;
	kill(world.victim, SIGKILL);
	waitpid(world.victim, &status, 0);
	unlink(world.path.sun_path);
	rmdir(world.folder);
	close(world.path_backend);
	close(world.name_backend);
	unlinkat(world.root, world.file, 0);
	close(world.root);
	close(world.other);
	close(world.backend);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_nothing),
		cmocka_unit_test(can_do_its_work),
		cmocka_unit_test(can_use_sockets_of_this_host),
		cmocka_unit_test(can_choose_a_source),
		cmocka_unit_test(cannot_open_files),
		cmocka_unit_test(cannot_leave_its_root),
		cmocka_unit_test(cannot_start_programs),
		cmocka_unit_test(cannot_open_other_sockets),
		cmocka_unit_test(cannot_take_connections),
		cmocka_unit_test(cannot_connect_elsewhere),
		cmocka_unit_test(cannot_harm_others),
		cmocka_unit_test(cannot_regain_rights),
		cmocka_unit_test(cannot_ask_the_kernel),
		cmocka_unit_test(cannot_make_code),
		cmocka_unit_test(is_held_by_each_layer_alone),
		cmocka_unit_test(dies_where_it_must),
		cmocka_unit_test(confines_an_ordinary_user_too),
	};

	return cmocka_run_group_tests(tests, make_world, end_world);
}
