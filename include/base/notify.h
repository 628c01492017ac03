/* SPDX-License-Identifier: MIT */
/*
 * Telling the service manager: the protocol of sd_notify(3), without its
 * library.
 */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

/*
 * Send "NAME=value" lines as sd_notify(3) has them (READY=1, STOPPING=1,
 * STATUS=text) to the socket that NOTIFY_SOCKET names: a path, or "@name" in
 * the abstract namespace. Never blocks. Returns 1 if they were sent, 0 if
 * nobody asked for it, or negative errno (-EINVAL: NOTIFY_SOCKET names
 * something else; -E2BIG: longer than 1023 bytes; -EAGAIN: the service
 * manager's queue is full).
 */
__attribute__((format(printf, 1, 2))) int notify(const char *format, ...);

#endif
