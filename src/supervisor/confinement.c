// SPDX-License-Identifier: MIT
#include "supervisor/confinement.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/memory.h"

#if defined(__x86_64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the seccomp filter knows x86-64 and arm64"
#endif

/* Kernels 6.2, 6.7, 6.10 and 6.12; Debian 12's headers are older. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_NET_CONNECT_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP	(1ULL << 0)
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#define LANDLOCK_RULE_NET_PORT		2
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define LANDLOCK_SCOPE_SIGNAL		    (1ULL << 1)
#endif

/* Which kernel's Landlock knows what: its ABI versions. */
#define LANDLOCK_ABI_REFER    2
#define LANDLOCK_ABI_TRUNCATE 3
#define LANDLOCK_ABI_PORTS    4
#define LANDLOCK_ABI_IOCTL    5
#define LANDLOCK_ABI_SCOPES   6

/* struct landlock_ruleset_attr of kernel 6.12, landlock_net_port_attr of 6.7. */
struct ruleset_attributes {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};
struct port_attributes {
	uint64_t allowed_access;
	uint64_t port;
};

/*
 * What proxy_run() and the C library under it call once they are set up.
 * Every other call fails with EPERM, which the proxy survives. Not among them
 * is what sends signals: the user may have other processes.
 */
static const unsigned int allowed_calls[] = {
	/* Connections */
	SYS_accept4, SYS_connect, SYS_getsockopt, SYS_getsockname,
	SYS_getpeername, SYS_recvfrom, SYS_recvmsg, SYS_shutdown, SYS_close,
	SYS_close_range, SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_splice,
	SYS_pipe2,
/* Waiting */
#ifdef SYS_select
	SYS_select, SYS_epoll_wait, SYS_poll,
#endif
	SYS_pselect6, SYS_ppoll, SYS_epoll_create1, SYS_epoll_ctl,
	SYS_epoll_pwait, SYS_signalfd4,
	/* Memory */
	SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex, SYS_getrandom,
	/* The process itself */
	SYS_clock_gettime, SYS_clock_nanosleep, SYS_restart_syscall,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_getpid,
	SYS_getppid, SYS_gettid, SYS_exit, SYS_exit_group
};

/* One argument, of which @mask must be one of the values. */
struct condition {
	unsigned int argument;
	uint32_t mask;
	uint32_t values[2];
};

#define CONDITIONS 3
#define ALL_BITS   0xffffffffU

/*
 * Calls that are allowed where all their conditions hold. The arguments are
 * ints to the kernel, so that the lower half is all of them.
 */
static const struct checked_call {
	unsigned int number;
	struct condition conditions[CONDITIONS];
	unsigned int count;
} checked_calls[] = {
	/* MSG_FASTOPEN is a connect() that Landlock does not see. */
	{ SYS_sendto, { { 3, MSG_FASTOPEN, { 0, 0 } } }, 1 },
	{ SYS_sendmsg, { { 2, MSG_FASTOPEN, { 0, 0 } } }, 1 },
	/* TCP alone: Landlock looks at no other protocol's connect(). */
	{ SYS_socket,
	  { { 0, ALL_BITS, { AF_INET, AF_INET6 } },
	    { 1,
	      (uint32_t) ~(SOCK_NONBLOCK | SOCK_CLOEXEC),
	      { SOCK_STREAM, SOCK_STREAM } },
	    { 2, ALL_BITS, { 0, IPPROTO_TCP } } },
	  3 },
	{ SYS_setsockopt, { { 1, ALL_BITS, { SOL_SOCKET, IPPROTO_TCP } } }, 1 },
	/* Others would take locks, and send signals by F_SETOWN. */
	{ SYS_fcntl, { { 1, ALL_BITS, { F_GETFD, F_SETPIPE_SZ } } }, 1 },
	/* A socket that is handed over may block. */
	{ SYS_ioctl, { { 1, ALL_BITS, { FIONBIO, FIONBIO } } }, 1 },
	/* No other process's limits. */
	{ SYS_prlimit64, { { 0, ALL_BITS, { 0, 0 } } }, 1 },
	/* No code but ours. */
	{ SYS_mmap, { { 2, PROT_EXEC, { 0, 0 } } }, 1 },
};

/* With a backend that is a socket of this host. */
static const struct checked_call unix_socket = {
	SYS_socket,
	{ { 0, ALL_BITS, { AF_UNIX, AF_UNIX } },
	  { 1,
	    (uint32_t) ~(SOCK_NONBLOCK | SOCK_CLOEXEC),
	    { SOCK_STREAM, SOCK_STREAM } },
	  { 2, ALL_BITS, { 0, 0 } } },
	3,
};

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/*
 * The bounding set first, while there is a right to change it; the ids take
 * the effective capabilities with them unless they were not root's.
 */
static int drop_privileges(const struct confinement_settings *settings)
{
	const uid_t uid = settings->uid;
	const gid_t gid = settings->gid;

	for (int capability = 0;; capability++) {
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
			/* EINVAL: past the last; EPERM: none to lose. */
			if (errno == EINVAL || errno == EPERM)
				break;
			return -errno;
		}
	}
	if (geteuid() == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			return -errno;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	return drop_capabilities();
}

/*
 * A folder that was removed is empty for good: nothing can be made in it, not
 * even by its owner.
 */
static bool enter_removed_root(void)
{
	static const char *const parents[] = { "/run", "/tmp", "/var/tmp",
					       "/dev/shm" };

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/acme-alpn-proxy-XXXXXX",
			 parents[i]);
		if (!mkdtemp(path))
			continue;
		if (chdir(path) < 0) {
			rmdir(path);
			continue;
		}
		return rmdir(path) == 0 && chroot(".") == 0;
	}
	return false;
}

static int restrict_ports(int ruleset,
			  const struct confinement_settings *settings)
{
	for (size_t i = 0; i < settings->port_count; i++) {
		const struct port_attributes rule = {
			.allowed_access = LANDLOCK_ACCESS_NET_CONNECT_TCP,
			.port = settings->ports[i],
		};

		if (syscall(SYS_landlock_add_rule, ruleset,
			    LANDLOCK_RULE_NET_PORT, &rule, 0) < 0)
			return -errno;
	}
	return 0;
}

/* Everything that Landlock of this ABI can forbid. Returns the size that the
 * structure has there. */
static size_t handle_all(long abi, const struct confinement_settings *settings,
			 struct ruleset_attributes *handled)
{
	*handled = (struct ruleset_attributes){
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
		.handled_access_net = LANDLOCK_ACCESS_NET_BIND_TCP |
				      LANDLOCK_ACCESS_NET_CONNECT_TCP,
		.scoped = LANDLOCK_SCOPE_SIGNAL |
			  (settings->unix_names
				   ? 0
				   : LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET),
	};
	if (abi >= LANDLOCK_ABI_REFER)
		handled->handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= LANDLOCK_ABI_TRUNCATE)
		handled->handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= LANDLOCK_ABI_IOCTL)
		handled->handled_access_fs |= LANDLOCK_ACCESS_FS_IOCTL_DEV;

	if (abi >= LANDLOCK_ABI_SCOPES)
		return sizeof(*handled);
	return abi >= LANDLOCK_ABI_PORTS
		       ? offsetof(struct ruleset_attributes, scoped)
		       : offsetof(struct ruleset_attributes,
				  handled_access_net);
}

/* No rule for files at all: none can be opened. Returns the bits in force. */
static unsigned int
restrict_by_landlock(const struct confinement_settings *settings)
{
	struct ruleset_attributes handled;
	unsigned int in_force = CONFINED_FILES;
	cleanup_fd int ruleset = -1;
	size_t size;
	long abi;

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
		      LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return 0;
	size = handle_all(abi, settings, &handled);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
	if (ruleset < 0)
		return 0;
	if (abi >= LANDLOCK_ABI_PORTS && restrict_ports(ruleset, settings) < 0)
		return 0;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return 0;
	if (abi >= LANDLOCK_ABI_PORTS)
		in_force |= CONFINED_PORTS;
	if (abi >= LANDLOCK_ABI_SCOPES)
		in_force |= CONFINED_PROCESSES;
	return in_force;
}

enum {
	CONDITION_LENGTH = 5,
	CHECK_LENGTH = 3 + CONDITIONS * CONDITION_LENGTH,
	FILTER_LENGTH = 288,
};

/* A program of seccomp's, as it grows. */
struct filter {
	struct sock_filter code[FILTER_LENGTH];
	unsigned short length;
};

static void add(struct filter *filter, struct sock_filter instruction)
{
	filter->code[filter->length++] = instruction;
}

static void add_load(struct filter *filter, size_t offset)
{
	add(filter, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 (uint32_t)offset));
}

static void add_verdict(struct filter *filter, uint32_t verdict)
{
	add(filter, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* Skip so many instructions if the value loaded is, or is not, @value. */
static void add_jump(struct filter *filter, uint32_t value, unsigned char if_so,
		     unsigned char if_not)
{
	add(filter, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
						 value, if_so, if_not));
}

/* A call that does not fit may be one of those that follow. */
static void add_checked_call(struct filter *filter,
			     const struct checked_call *call)
{
	add_jump(filter, call->number, 0,
		 (unsigned char)(call->count * CONDITION_LENGTH + 2));
	for (unsigned int left = call->count; left > 0; left--) {
		const struct condition *condition =
			&call->conditions[call->count - left];

		/* The lower half of the argument: both machines are little
		 * endian. */
		add_load(filter,
			 offsetof(struct seccomp_data, args) +
				 condition->argument * sizeof(uint64_t));
		add(filter,
		    (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K,
						 condition->mask));
		add_jump(filter, condition->values[0], 2, 0);
		add_jump(filter, condition->values[1], 1, 0);
		add(filter, (struct sock_filter)BPF_STMT(
				    BPF_JMP | BPF_JA,
				    (left - 1) * CONDITION_LENGTH + 1));
	}
	add_verdict(filter, SECCOMP_RET_ALLOW);
	add_load(filter, offsetof(struct seccomp_data, nr));
}

/*
 * The filter, in this order: another architecture's calls are refused (their
 * numbers mean something else), then come the checked calls, and the others
 * last: those the kernel remembers (5.11), so that they cost nothing. x32 calls
 * carry a bit that no allowed number has.
 */
static bool restrict_calls(const struct confinement_settings *settings)
{
	_Static_assert(FILTER_LENGTH >= 8 + 2 * ARRAY_SIZE(allowed_calls) +
						(ARRAY_SIZE(checked_calls) +
						 1) * CHECK_LENGTH,
		       "the filter has room for all calls");
	struct filter filter = { .length = 0 };
	struct sock_fprog program = { .filter = filter.code };

	add_load(&filter, offsetof(struct seccomp_data, arch));
	add_jump(&filter, NATIVE_ARCHITECTURE, 1, 0);
	add_verdict(&filter, SECCOMP_RET_KILL_PROCESS);
	add_load(&filter, offsetof(struct seccomp_data, nr));
	for (unsigned int i = 0; i < ARRAY_SIZE(checked_calls); i++)
		add_checked_call(&filter, &checked_calls[i]);
	if (settings->unix_paths || settings->unix_names)
		add_checked_call(&filter, &unix_socket);
	for (unsigned int i = 0; i < ARRAY_SIZE(allowed_calls); i++) {
		add_jump(&filter, allowed_calls[i], 0, 1);
		add_verdict(&filter, SECCOMP_RET_ALLOW);
	}
	add_verdict(&filter, SECCOMP_RET_ERRNO | EPERM);

	program.len = filter.length;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void limit_resources(void)
{
	const struct rlimit none = { 0, 0 };

	/* A core file would hold visitors' bytes; a worker has no children. */
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_NPROC, &none);
}

int confine(const struct confinement_settings *settings)
{
	unsigned int in_force = 0;
	int err;

	/* A socket's folder may be another one when its server restarts, so
	 * that none can be held on to: only from the root it is found. */
	if (geteuid() == 0 && !settings->unix_paths && enter_removed_root())
		in_force |= CONFINED_ROOT;
	limit_resources();
	err = drop_privileges(settings);
	if (err)
		return err;
	in_force |= CONFINED_USER | CONFINED_CAPABILITIES;
	in_force |= restrict_by_landlock(settings);
	if (restrict_calls(settings))
		in_force |= CONFINED_CALLS;
	return (int)in_force;
}

const char *confinement_name(unsigned int bits)
{
	switch (bits & -bits) {
	case CONFINED_USER:
		return "user";
	case CONFINED_CAPABILITIES:
		return "capabilities";
	case CONFINED_ROOT:
		return "root";
	case CONFINED_FILES:
		return "files";
	case CONFINED_PORTS:
		return "ports";
	case CONFINED_CALLS:
		return "calls";
	case CONFINED_PROCESSES:
		return "processes";
	default:
		return "";
	}
}
