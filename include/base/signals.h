/* SPDX-License-Identifier: MIT */
/*
 * The signals that ask a service to end: SIGINT, SIGTERM, SIGHUP, SIGQUIT.
 *
 * From the first step that has to be undone they are held back, and looked at
 * where undoing is possible.
 */
#ifndef BASE_SIGNALS_H
#define BASE_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/*
 * Block them. Their actions become the default ones, because a hook's
 * `start &` runs with SIGINT ignored, and what is ignored never arrives. Who
 * wants to undo this in a child finds them in *@set, unless it is NULL.
 */
void signals_hold(sigset_t *set);

/* Let them through again; one that came meanwhile ends the process. */
void signals_release(void);

/* Wait at most @timeout_ms for one; returns its number, or 0. */
int signals_wait(unsigned int timeout_ms);

/* A non-blocking signalfd(2) that they can be read from, and @another as well,
 * which is held from now on, unless it is 0. Or negative errno. */
int signals_open(int another);

/*
 * Read one from it: its number, or 0 if none has come. *@typed, unless NULL,
 * tells whether it was typed at the terminal, which sends it to all foreground
 * processes and not to us alone.
 */
int signals_read(int fd, bool *typed);

#endif
