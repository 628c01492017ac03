/* SPDX-License-Identifier: MIT
 *
 * Included ahead of every source by APKBUILD: what the sources use of glibc
 * that musl does not have.
 */
#ifndef MUSL_GLIBC_H
#define MUSL_GLIBC_H

#include <errno.h>
#include <linux/close_range.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TEMP_FAILURE_RETRY(expression)                     \
	({                                                 \
		__typeof__(expression) result_;            \
		do {                                       \
			result_ = (expression);            \
		} while (result_ == -1 && errno == EINTR); \
		result_;                                   \
	})

/* Of the kernel's <linux/tcp.h>, which contradicts <netinet/tcp.h>. */
enum {
	TCP_NO_QUEUE,
	TCP_RECV_QUEUE,
	TCP_SEND_QUEUE
};
struct tcp_repair_opt {
	uint32_t opt_code;
	uint32_t opt_val;
};

#define strerrordesc_np(code) ((const char *)strerror(code))

static inline int close_range(unsigned int first, unsigned int last, int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

/* Here too, what else is open goes to no program, though in the caller. */
static inline int
posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions,
					 int first)
{
	(void)actions;
	return close_range((unsigned int)first, ~0U, CLOSE_RANGE_CLOEXEC) < 0
		       ? errno
		       : 0;
}

#endif
