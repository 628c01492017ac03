/* SPDX-License-Identifier: MIT */
/*
 * Names by which processes of one network namespace find each other: abstract
 * addresses of Unix sockets (unix(7)). A name vanishes with the last process
 * that has its socket.
 */
#ifndef BASE_NAME_H
#define BASE_NAME_H

#include <stdbool.h>

/* A socket that owns @name, readable once somebody waits for its end;
 * -EADDRINUSE if another has it, or other negative errno. */
int name_own(const char *name);

bool name_is_owned(const char *name);

/* 0 when nobody owns @name, after @timeout_ms at most (-1: however long it
 * takes), or negative errno. */
int name_await_end(const char *name, int timeout_ms);

#endif
