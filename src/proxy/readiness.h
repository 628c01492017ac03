/* SPDX-License-Identifier: MIT */
/*
 * Which descriptors can be read or written: select(), without its ceiling and
 * without its price for the idle.
 *
 * The bit sets are as large as the process's descriptors need, not FD_SETSIZE:
 * the kernel takes any nfds. Descriptors in use ("hot") are in the select()
 * sets, where watching costs no system call. One that stays silent for some
 * turns is parked in an epoll instance whose own descriptor is in the set, so
 * that a turn costs what is hot, not what is open, while a short connection
 * never pays for a registration.
 */
#ifndef PROXY_READINESS_H
#define PROXY_READINESS_H

#include <stddef.h>
#include <stdint.h>

/* What to watch a descriptor for, and what happened to it. */
enum {
	READINESS_READ = 1,
	READINESS_WRITE = 2,
	/* Only errors and hang-ups, noticed once it is parked: for a socket
	 * that has nothing to read or to write now, but whose peer may die.
	 * Reported as READINESS_READ. */
	READINESS_HANGUP = 4,
	/* Never parked: listeners and other descriptors of the process. */
	READINESS_PINNED = 8,
};

struct readiness_watch;

struct readiness {
	/* Descriptors must be below this; a multiple of a word's bits. */
	size_t capacity;
	int epoll_fd;
	/* One bit a descriptor. */
	unsigned long *read_wanted;
	unsigned long *write_wanted;
	unsigned long *read_ready;
	unsigned long *write_ready;
	/* Descriptors with a bit in write_wanted. */
	size_t writers;
	/* Words of the wanted sets that may have bits, and those of the ready
	 * sets that readiness_next() has still to look at. */
	size_t wanted_words;
	size_t ready_words;
	size_t cursor;
	/* One a descriptor; those hot and not pinned are a list by the time of
	 * their last event. */
	struct readiness_watch *watches;
	int longest_silent;
	int last_active;
	uint32_t turn;
};

/*
 * Serve descriptors below @capacity (rounded up). Memory is reserved here for
 * all of them and touched only by those in use, so that none can be missing
 * later. Returns 0 or negative errno.
 */
int readiness_open(struct readiness *readiness, size_t capacity);
void readiness_close(struct readiness *readiness);

/* Watch @fd for @interest from now on, instead of what it was before; 0 stops
 * watching. Costs no system call. */
void readiness_watch(struct readiness *readiness, int fd,
		     unsigned int interest);

/* Before @fd is closed: also drops what was already found ready, so that a
 * new descriptor of the same number does not inherit it. */
void readiness_forget(struct readiness *readiness, int fd);

/*
 * Wait until something is ready, but not longer than @timeout_ns. Returns 0,
 * also after the timeout: then readiness_next() tells of all that was ready
 * when this was called. -EAGAIN if a signal or too little memory kept it from
 * looking, or another negative errno.
 */
int readiness_wait(struct readiness *readiness, uint64_t timeout_ns);

/* The next ready descriptor of this turn with what happened to it in @events,
 * or -1. Descriptors may be watched, forgotten and opened between calls. */
int readiness_next(struct readiness *readiness, unsigned int *events);

#endif
