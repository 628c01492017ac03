// SPDX-License-Identifier: MIT
#include "proxy/readiness.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"

#define WORD_BITS (sizeof(unsigned long) * CHAR_BIT)

/*
 * Turns without an event before a descriptor is parked. Parking and waking
 * cost about as much as two system calls, a hot descriptor some 60 ns a turn:
 * after this many turns staying hot has cost as much as parking would have, so
 * either guess about the future is wrong by a factor of two at most.
 */
#define TURNS_BEFORE_PARKING 32
/* Parked descriptors told of by one call. */
#define WAKE_BATCH 256

struct readiness_watch {
	uint8_t interest;
	/* In the list of the hot, in epoll's care, known to epoll at all. */
	bool listed;
	bool parked;
	bool registered;
	uint32_t last_turn;
	/* Neighbours in the list, by descriptor; -1 at its ends. */
	int longer_silent;
	int shorter_silent;
};

static size_t word_of(int fd)
{
	return (size_t)fd / WORD_BITS;
}

static unsigned long bit_of(int fd)
{
	return 1ul << ((size_t)fd % WORD_BITS);
}

static void set_bit(unsigned long *set, int fd, bool on)
{
	if (on)
		set[word_of(fd)] |= bit_of(fd);
	else
		set[word_of(fd)] &= ~bit_of(fd);
}

static bool is_set(const unsigned long *set, int fd)
{
	return set[word_of(fd)] & bit_of(fd);
}

int readiness_open(struct readiness *readiness, size_t capacity)
{
	size_t words = (capacity + WORD_BITS - 1) / WORD_BITS;
	size_t rounded = words * WORD_BITS;

	*readiness = (struct readiness){
		.capacity = rounded,
		.epoll_fd = -1,
		.read_wanted = calloc(words, sizeof(unsigned long)),
		.write_wanted = calloc(words, sizeof(unsigned long)),
		.read_ready = calloc(words, sizeof(unsigned long)),
		.write_ready = calloc(words, sizeof(unsigned long)),
		.watches = calloc(rounded, sizeof(struct readiness_watch)),
		.longest_silent = -1,
		.last_active = -1,
	};
	if (!readiness->read_wanted || !readiness->write_wanted ||
	    !readiness->read_ready || !readiness->write_ready ||
	    !readiness->watches) {
		readiness_close(readiness);
		return -ENOMEM;
	}

	readiness->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (readiness->epoll_fd < 0) {
		int err = -errno;

		readiness_close(readiness);
		return err;
	}
	readiness_watch(readiness, readiness->epoll_fd,
			READINESS_READ | READINESS_PINNED);
	return 0;
}

void readiness_close(struct readiness *readiness)
{
	close_fd_at(&readiness->epoll_fd);
	free(readiness->read_wanted);
	free(readiness->write_wanted);
	free(readiness->read_ready);
	free(readiness->write_ready);
	free(readiness->watches);
	*readiness = (struct readiness){ .epoll_fd = -1 };
}

static void list_remove(struct readiness *readiness, int fd)
{
	struct readiness_watch *watch = &readiness->watches[fd];

	if (!watch->listed)
		return;
	if (watch->longer_silent >= 0)
		readiness->watches[watch->longer_silent].shorter_silent =
			watch->shorter_silent;
	else
		readiness->longest_silent = watch->shorter_silent;
	if (watch->shorter_silent >= 0)
		readiness->watches[watch->shorter_silent].longer_silent =
			watch->longer_silent;
	else
		readiness->last_active = watch->longer_silent;
	watch->listed = false;
}

/* Something happened to @fd: it becomes the last to be parked. */
static void list_refresh(struct readiness *readiness, int fd)
{
	struct readiness_watch *watch = &readiness->watches[fd];

	watch->last_turn = readiness->turn;
	if (readiness->last_active == fd)
		return;
	list_remove(readiness, fd);
	watch->listed = true;
	watch->shorter_silent = -1;
	watch->longer_silent = readiness->last_active;
	if (readiness->last_active >= 0)
		readiness->watches[readiness->last_active].shorter_silent = fd;
	else
		readiness->longest_silent = fd;
	readiness->last_active = fd;
}

static void select_for(struct readiness *readiness, int fd,
		       unsigned int interest)
{
	readiness->writers -= is_set(readiness->write_wanted, fd);
	readiness->writers += (interest & READINESS_WRITE) != 0;
	set_bit(readiness->read_wanted, fd, interest & READINESS_READ);
	set_bit(readiness->write_wanted, fd, interest & READINESS_WRITE);
	if (interest && word_of(fd) >= readiness->wanted_words)
		readiness->wanted_words = word_of(fd) + 1;
}

/*
 * A parked descriptor becomes hot without telling epoll: its registration
 * fires once at most (EPOLLONESHOT), and readiness_wait() lets that pass.
 */
void readiness_watch(struct readiness *readiness, int fd, unsigned int interest)
{
	struct readiness_watch *watch = &readiness->watches[fd];

	if (watch->interest == interest)
		return;
	watch->interest = (uint8_t)interest;
	watch->parked = false;
	select_for(readiness, fd, interest);
	if (interest == 0)
		list_remove(readiness, fd);
	else if (!(interest & READINESS_PINNED))
		list_refresh(readiness, fd);
}

void readiness_forget(struct readiness *readiness, int fd)
{
	readiness_watch(readiness, fd, 0);
	/* close() takes it out of epoll. */
	readiness->watches[fd].registered = false;
	set_bit(readiness->read_ready, fd, false);
	set_bit(readiness->write_ready, fd, false);
}

/* Errors and hang-ups come with any set of events (epoll_ctl(2)). Returns
 * false if epoll cannot take it: then it stays hot. */
static bool park(struct readiness *readiness, int fd)
{
	struct readiness_watch *watch = &readiness->watches[fd];
	struct epoll_event event = { .events = EPOLLONESHOT, .data.fd = fd };
	int operation = watch->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (watch->interest & READINESS_READ)
		event.events |= EPOLLIN;
	if (watch->interest & READINESS_WRITE)
		event.events |= EPOLLOUT;
	if (epoll_ctl(readiness->epoll_fd, operation, fd, &event) != 0)
		return false;

	watch->registered = true;
	watch->parked = true;
	select_for(readiness, fd, 0);
	list_remove(readiness, fd);
	return true;
}

static void park_silent(struct readiness *readiness)
{
	int fd;

	while ((fd = readiness->longest_silent) >= 0) {
		uint32_t silent =
			readiness->turn - readiness->watches[fd].last_turn;

		if (silent < TURNS_BEFORE_PARKING)
			return;
		if (!park(readiness, fd)) {
			list_refresh(readiness, fd);
			return;
		}
	}
}

/* Errors and hang-ups are found by reading or writing, whichever is wanted. */
static void wake(struct readiness *readiness, int fd, uint32_t events)
{
	struct readiness_watch *watch = &readiness->watches[fd];
	unsigned int ready = 0;

	if (!watch->parked)
		return;
	watch->parked = false;
	select_for(readiness, fd, watch->interest);
	list_refresh(readiness, fd);

	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		ready |= watch->interest & READINESS_READ;
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		ready |= watch->interest & READINESS_WRITE;
	if (ready == 0)
		ready = READINESS_READ;
	if (ready & READINESS_READ)
		set_bit(readiness->read_ready, fd, true);
	if (ready & READINESS_WRITE)
		set_bit(readiness->write_ready, fd, true);
	if (word_of(fd) >= readiness->ready_words)
		readiness->ready_words = word_of(fd) + 1;
}

/* All of them, so that nobody's time runs out over unread bytes. There is an
 * end to it: each is told of once (EPOLLONESHOT). */
static void wake_parked(struct readiness *readiness)
{
	struct epoll_event events[WAKE_BATCH];
	int count;

	do {
		count = epoll_wait(readiness->epoll_fd, events, WAKE_BATCH, 0);
		for (int i = 0; i < count; i++)
			wake(readiness, events[i].data.fd, events[i].events);
	} while (count == WAKE_BATCH);
}

static void trim_wanted(struct readiness *readiness)
{
	size_t words = readiness->wanted_words;

	while (words > 0 && readiness->read_wanted[words - 1] == 0 &&
	       readiness->write_wanted[words - 1] == 0)
		words--;
	readiness->wanted_words = words;
}

/* Of the errors of select(2), a signal and too little memory pass. */
static int select_failed(struct readiness *readiness, size_t size)
{
	const struct timespec nap = { .tv_nsec = 10 * NS_PER_MS };
	int err = -errno;

	memset(readiness->read_ready, 0, size);
	memset(readiness->write_ready, 0, size);
	if (err == -ENOMEM)
		nanosleep(&nap, NULL);
	return err == -EINTR || err == -ENOMEM ? -EAGAIN : err;
}

int readiness_wait(struct readiness *readiness, uint64_t timeout_ns)
{
	struct timeval timeout = {
		.tv_sec = (time_t)(timeout_ns / NS_PER_S),
		.tv_usec = (suseconds_t)(timeout_ns % NS_PER_S / 1000),
	};
	/* The kernel copies each set twice a turn: leave out an empty one. */
	fd_set *writable = NULL;
	size_t size;
	int count;

	readiness->turn++;
	park_silent(readiness);
	trim_wanted(readiness);
	readiness->cursor = 0;
	readiness->ready_words = readiness->wanted_words;
	size = readiness->wanted_words * sizeof(unsigned long);
	memcpy(readiness->read_ready, readiness->read_wanted, size);
	if (readiness->writers > 0) {
		memcpy(readiness->write_ready, readiness->write_wanted, size);
		writable = (fd_set *)readiness->write_ready;
	}

	count = select((int)(readiness->wanted_words * WORD_BITS),
		       (fd_set *)readiness->read_ready, writable, NULL,
		       &timeout);
	if (count < 0)
		return select_failed(readiness, size);
	/* There is time to park all: those that wait for a hang-up alone are
	 * only told of it there. */
	if (count == 0)
		readiness->turn += TURNS_BEFORE_PARKING;
	if (is_set(readiness->read_ready, readiness->epoll_fd)) {
		set_bit(readiness->read_ready, readiness->epoll_fd, false);
		wake_parked(readiness);
	}
	return 0;
}

int readiness_next(struct readiness *readiness, unsigned int *events)
{
	for (; readiness->cursor < readiness->ready_words;
	     readiness->cursor++) {
		unsigned long readable =
			readiness->read_ready[readiness->cursor];
		unsigned long writable =
			readiness->write_ready[readiness->cursor];
		unsigned long bit;
		int fd;

		if ((readable | writable) == 0)
			continue;
		fd = __builtin_ctzl(readable | writable);
		bit = 1ul << fd;
		fd += (int)(readiness->cursor * WORD_BITS);
		*events = (readable & bit ? READINESS_READ : 0u) |
			  (writable & bit ? READINESS_WRITE : 0u);
		set_bit(readiness->read_ready, fd, false);
		set_bit(readiness->write_ready, fd, false);
		if (readiness->watches[fd].listed)
			list_refresh(readiness, fd);
		return fd;
	}
	return -1;
}
