// SPDX-License-Identifier: MIT
/*
 * Preloaded into a program: its CLOCK_REALTIME jumps a year ahead and back, ten
 * times a second, as if somebody set the host's clock all the time.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define A_YEAR (365 * 24 * 3600)

int clock_gettime(clockid_t clock, struct timespec *now)
{
	struct timespec steady;
	long result = syscall(SYS_clock_gettime, clock, now);

	syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
	if (clock == CLOCK_REALTIME && steady.tv_nsec / 100000000 % 2)
		now->tv_sec += A_YEAR;
	return (int)result;
}

time_t time(time_t *seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (seconds)
		*seconds = now.tv_sec;
	return now.tv_sec;
}
