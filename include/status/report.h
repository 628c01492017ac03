/* SPDX-License-Identifier: MIT */
/*
 * What a running instance tells of itself.
 *
 * The supervisor sends this to whoever connects to its socket (mode 0600,
 * beside the pidfile), and reads nothing: there is no request to parse in the
 * root process. Who stays connected gets another each second while open
 * connections drain, though the socket itself is gone by then. Both ends are
 * the same program on the same host.
 */
#ifndef STATUS_REPORT_H
#define STATUS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"
#include "proxy/challenges.h"
#include "proxy/counters.h"
#include "redirect/redirect.h"

#define STATUS_REPORT_VERSION	 6
#define STATUS_REPORT_INTERFACES 64
#define STATUS_REPORT_WORKERS	 64

struct status_worker {
	/* 0 while it is being replaced. */
	int32_t pid;
	/* By this place among the workers, whoever held it. */
	struct proxy_totals counted;
};

struct status_report {
	/* Both, or the other end is another release. */
	uint32_t version;
	uint32_t size;

	/* While it drains: until what is open is closed. */
	uint32_t drain_left_ms;

	int32_t pid;
	/* The first of those that run, or 0. */
	int32_t worker_pid;
	/* CLOCK_REALTIME in seconds of the moment the redirect was in place. */
	int64_t since;
	char redirect[16];
	struct redirect_state state;
	uint16_t service_port;
	uint16_t listen_port;
	uint8_t ipv4;
	uint8_t ipv6;
	/* Bits of enum confinement that are in force in all workers. */
	uint32_t confinement;
	char alpn[BACKEND_TEXT_SIZE];
	char fallback[BACKEND_TEXT_SIZE];
	/* enum proxy_protocol of each. */
	uint8_t alpn_proxy_protocol;
	uint8_t fallback_proxy_protocol;

	/* Of all workers together. */
	struct proxy_totals totals;
	struct challenge challenges[CHALLENGES_KEPT];

	uint32_t worker_count;
	struct status_worker workers[STATUS_REPORT_WORKERS];

	/* How many there are, and the first of them. */
	uint32_t interface_count;
	struct redirect_interface interfaces[STATUS_REPORT_INTERFACES];
};

/* Is it of this release, and are its texts, counts and times what they must be
 * to be printed? Pure. */
bool status_report_is_sound(const struct status_report *report);

/* How many are told of. Pure. */
size_t status_report_challenges(const struct status_report *report);
size_t status_report_interfaces(const struct status_report *report);

/*
 * "x.pid" -> "x.sock". Returns 0, or -ENAMETOOLONG where a socket cannot have
 * that name.
 */
int status_socket_path(const char *pidfile, char *path, size_t size);

/* Listen there, 0600; a stale one of a killed instance is replaced, so the
 * pidfile must be held. Returns a non-blocking descriptor or negative errno. */
int status_socket_open(const char *path);

/* Remove the socket at @path, if there is one. The pidfile must be held. */
void status_socket_remove(const char *path);

/* The next one who waits on @listener: a non-blocking descriptor, or negative
 * errno. */
int status_socket_accept(int listener);

/* 0, or negative errno: then the other end is gone, or does not read. */
int status_socket_send(int fd, const struct status_report *report);

/* Connect to the instance at @path: a descriptor, or -ENOENT or -ECONNREFUSED:
 * nobody is there; -ETIMEDOUT: it did not answer for 3 s; or other negative
 * errno. */
int status_socket_connect(const char *path);

/* Read the next report. 0; -EPROTO: the other end is another release, or gone;
 * -ETIMEDOUT: nothing for 3 s; other negative errno. */
int status_socket_read(int fd, struct status_report *report);

/* Connect, read one report, and leave. */
int status_socket_ask(const char *path, struct status_report *report);

#endif
