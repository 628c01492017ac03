// SPDX-License-Identifier: MIT
#include "supervisor/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/memory.h"

#if defined(__x86_64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__riscv)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_RISCV64
#else
/* Others have calls that these lists do not know: no filter. */
#define NATIVE_ARCHITECTURE 0
#define SYS_mmap	    SYS_mmap2
#endif

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

/* With a source address of our choice. Nothing comes in by it without
 * listen(). */
static const struct checked_call source_option = {
	SYS_setsockopt,
	{ { 1, ALL_BITS, { IPPROTO_IP, IPPROTO_IP } },
	  { 2,
	    ALL_BITS,
	    { IP_BIND_ADDRESS_NO_PORT, IP_BIND_ADDRESS_NO_PORT } } },
	2,
};
static const struct checked_call source_address = {
	SYS_bind,
	{ { 2,
	    ALL_BITS,
	    { sizeof(struct sockaddr_in), sizeof(struct sockaddr_in) } } },
	1,
};
#define OPTIONAL_CALLS 3

enum {
	CONDITION_LENGTH = 5,
	CHECK_LENGTH = 3 + CONDITIONS * CONDITION_LENGTH,
	FILTER_LENGTH = 320,
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

		/* The lower half of the argument: all machines are little
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
bool seccomp_restrict(bool unix_sockets, bool own_sources)
{
	_Static_assert(FILTER_LENGTH >= 8 + 2 * ARRAY_SIZE(allowed_calls) +
						(ARRAY_SIZE(checked_calls) +
						 OPTIONAL_CALLS) *
							CHECK_LENGTH,
		       "the filter has room for all calls");
	struct filter filter = { .length = 0 };
	struct sock_fprog program = { .filter = filter.code };

	if (NATIVE_ARCHITECTURE == 0)
		return false;
	add_load(&filter, offsetof(struct seccomp_data, arch));
	add_jump(&filter, NATIVE_ARCHITECTURE, 1, 0);
	add_verdict(&filter, SECCOMP_RET_KILL_PROCESS);
	add_load(&filter, offsetof(struct seccomp_data, nr));
	for (unsigned int i = 0; i < ARRAY_SIZE(checked_calls); i++)
		add_checked_call(&filter, &checked_calls[i]);
	if (unix_sockets)
		add_checked_call(&filter, &unix_socket);
	if (own_sources) {
		add_checked_call(&filter, &source_option);
		add_checked_call(&filter, &source_address);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(allowed_calls); i++) {
		add_jump(&filter, allowed_calls[i], 0, 1);
		add_verdict(&filter, SECCOMP_RET_ALLOW);
	}
	add_verdict(&filter, SECCOMP_RET_ERRNO | EPERM);

	program.len = filter.length;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
