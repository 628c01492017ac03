/* SPDX-License-Identifier: MIT */
/* Small helpers that every module may use; no state, no policy. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Release at the end of the scope: `cleanup_fd int fd = open(...)`. */
#define cleanup_fd   __attribute__((cleanup(close_fd_at)))
#define cleanup_free __attribute__((cleanup(free_at)))

/* Close *fd unless negative, and leave -1; errno is kept. */
void close_fd_at(int *fd);
/* free() what the pointer at @pointer points to. */
void free_at(void *pointer);
/* Take the descriptor out of a cleanup_fd variable: returns it, leaves -1. */
int steal_fd(int *fd);

/*
 * A close-on-exec descriptor that reads and writes nothing: /dev/null, or one
 * that refuses both where that is missing. Negative errno if there is none.
 */
int open_null(void);

/* CLOCK_MONOTONIC, the clock of bpf_ktime_get_ns() (kernel 4.1). */
uint64_t monotonic_ns(void);

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

#endif
