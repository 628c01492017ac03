/* SPDX-License-Identifier: MIT */
/* The one clock of all processes of this program. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull

/* CLOCK_MONOTONIC, the clock of bpf_ktime_get_ns() (kernel 4.1). */
static inline uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Whole milliseconds until @deadline_ns, for poll(2): not too early, and 0 once
 * it is over. */
static inline int ms_until(uint64_t deadline_ns)
{
	const uint64_t now = monotonic_ns();

	return deadline_ns <= now
		       ? 0
		       : (int)((deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

#endif
