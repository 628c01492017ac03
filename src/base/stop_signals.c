// SPDX-License-Identifier: MIT
#include "base/stop_signals.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static void fill_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		sigaddset(set, stop_signals[i]);
}

void stop_signals_hold(sigset_t *set)
{
	const struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t held;

	fill_set(&held);
	/* Blocked first: one that comes in between waits. */
	sigprocmask(SIG_BLOCK, &held, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		sigaction(stop_signals[i], &standard, NULL);
	if (set)
		*set = held;
}

void stop_signals_release(void)
{
	sigset_t held;

	fill_set(&held);
	sigprocmask(SIG_UNBLOCK, &held, NULL);
}

int stop_signals_wait(unsigned int timeout_ms)
{
	const struct timespec timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * (long)NS_PER_MS,
	};
	sigset_t set;
	int number;

	fill_set(&set);
	number = sigtimedwait(&set, NULL, &timeout);
	return number > 0 ? number : 0;
}

int stop_signals_open(void)
{
	sigset_t set;
	int fd;

	fill_set(&set);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int stop_signals_read(int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return 0;
	return (int)info.ssi_signo;
}
