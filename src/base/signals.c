// SPDX-License-Identifier: MIT
#include "base/signals.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

static const int stop_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static sigset_t stop_set(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		sigaddset(&set, stop_signals[i]);
	return set;
}

static void take_default_action(int number)
{
	const struct sigaction standard = { .sa_handler = SIG_DFL };

	sigaction(number, &standard, NULL);
}

void signals_hold(sigset_t *set)
{
	const sigset_t held = stop_set();

	/* Blocked first: one that comes in between waits. */
	sigprocmask(SIG_BLOCK, &held, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(stop_signals); i++)
		take_default_action(stop_signals[i]);
	if (set)
		*set = held;
}

void signals_release(void)
{
	const sigset_t held = stop_set();

	sigprocmask(SIG_UNBLOCK, &held, NULL);
}

int signals_wait(unsigned int timeout_ms)
{
	const struct timespec timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * (long)NS_PER_MS,
	};
	const sigset_t held = stop_set();
	int number = sigtimedwait(&held, NULL, &timeout);

	return number > 0 ? number : 0;
}

int signals_open(int another)
{
	sigset_t set = stop_set();
	int fd;

	if (another) {
		sigaddset(&set, another);
		sigprocmask(SIG_BLOCK, &set, NULL);
		take_default_action(another);
	}
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int signals_read(int fd, bool *typed)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return 0;
	if (typed)
		*typed =
			info.ssi_code == SI_KERNEL &&
			(info.ssi_signo == SIGINT || info.ssi_signo == SIGQUIT);
	return (int)info.ssi_signo;
}
