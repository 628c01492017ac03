// SPDX-License-Identifier: MIT
#include "command/fallback_check.h"

#include <errno.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/dial.h"
#include "listen/listener.h"
#include "listen/listening.h"

/* Of all addresses together. */
#define TIMEOUT_MS 1000

/* 0 if somebody answers, or why not. */
static int ask(const struct endpoint *endpoint, uint64_t deadline)
{
	/* A server has no use for a connection that says nothing. */
	if (listeners_address_is_taken(
		    (const struct sockaddr *)&endpoint->address,
		    endpoint->length))
		return 0;
	return dial(endpoint, deadline);
}

/* Nothing of the kind follows from silence, or from being out of descriptors. */
static bool says_that_nobody_is_there(int err)
{
	switch (err) {
	case -ECONNREFUSED:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -EADDRNOTAVAIL:
	case -EAFNOSUPPORT:
	case -ENOENT:
	case -ENOTDIR:
	case -EACCES:
	case -EPERM:
		return true;
	default:
		return false;
	}
}

int fallback_check(const struct backend *fallback, uint16_t service_port)
{
	const uint64_t deadline = monotonic_ns() + TIMEOUT_MS * NS_PER_MS;
	int err = 0;

	if (!listeners_serve(service_port))
		return 0;
	for (size_t i = 0; i < fallback->count; i++) {
		err = ask(&fallback->addresses[i], deadline);
		if (!says_that_nobody_is_there(err))
			return 0;
	}
	return err;
}
