/* SPDX-License-Identifier: MIT */
/* Descriptors that close themselves, and one that leads nowhere. */
#ifndef BASE_FD_H
#define BASE_FD_H

/* Closed at the end of the scope: `cleanup_fd int fd = open(...)`. */
#define cleanup_fd __attribute__((cleanup(close_fd_at)))

/* Close *fd unless negative, and leave -1; errno is kept. */
void close_fd_at(int *fd);
/* Take the descriptor out of a cleanup_fd variable: returns it, leaves -1. */
int steal_fd(int *fd);

/* Close all from @first to @last, INT_MAX for the highest there is. */
void close_between(int first, int last);

/*
 * A close-on-exec descriptor that reads and writes nothing: /dev/null, or one
 * that refuses both where that is missing. Negative errno if there is none.
 */
int open_null(void);

/*
 * Let go of descriptors 0 to 2 but for @kept. Something harmless takes their
 * place: whatever a library prints there in despair would go to a visitor's
 * socket otherwise.
 */
void detach_standard_fds(int kept);

#endif
