// SPDX-License-Identifier: MIT
#include "redirect/served.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "listen/listening.h"
#include "redirect/rules/published.h"
#include "redirect/rules/translation.h"

/* For each that may be the one. */
#define ANSWER_MS 200
/* A web server's workers may have one each. */
#define MOST_LISTENERS 64

static bool accepts(const char *text)
{
	struct pollfd event = { .events = POLLOUT };
	socklen_t size = sizeof(int);
	struct backend backend;
	cleanup_fd int fd = -1;
	int error = 0;

	if (backend_resolve(text, &backend))
		return false;
	fd = socket(backend.addresses[0].address.ss_family,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if (connect(fd, (const struct sockaddr *)&backend.addresses[0].address,
		    backend.addresses[0].length) < 0 &&
	    errno != EINPROGRESS)
		return false;
	event.fd = fd;
	return poll(&event, 1, ANSWER_MS) > 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
	       !error;
}

/* One that listens everywhere is found on loopback. */
static void name_listener(const struct listening *listening, uint16_t port,
			  char text[static ENDPOINT_TEXT_SIZE])
{
	static const uint8_t any[16];
	const bool ipv6 = listening->family == AF_INET6;
	char address[INET6_ADDRSTRLEN];

	inet_ntop(listening->family, listening->address, address,
		  sizeof(address));
	if (memcmp(listening->address, any, sizeof(any)) == 0)
		strcpy(address, ipv6 ? "::1" : "127.0.0.1");
	snprintf(text, ENDPOINT_TEXT_SIZE, ipv6 ? "[%s]:%u" : "%s:%u", address,
		 port);
}

/* Of several that answer, only the user can tell whose the visitors are. */
static bool find_listener(uint16_t port, struct served *served)
{
	struct listening found[MOST_LISTENERS];
	size_t count = listening_find(port, found, MOST_LISTENERS);
	sa_family_t family = AF_UNSPEC;
	char text[ENDPOINT_TEXT_SIZE];

	for (size_t i = 0; i < count && i < MOST_LISTENERS; i++) {
		name_listener(&found[i], port, text);
		if (!family)
			snprintf(served->by, sizeof(served->by),
				 "by a listener (%s)", text);
		if (strcmp(text, served->fallback) == 0 ||
		    (family && found[i].family != family) || !accepts(text))
			continue;
		if (family) {
			served->fallback[0] = '\0';
			break;
		}
		family = found[i].family;
		strcpy(served->fallback, text);
	}
	return count > 0;
}

static bool find_rule(uint16_t port, struct served *served)
{
	char rule[RULE_TEXT_SIZE];
	char target[ENDPOINT_TEXT_SIZE];

	if (!published_find(port, rule))
		return false;
	snprintf(served->by, sizeof(served->by), "by a NAT rule (%s)", rule);
	if (translation_target(rule, port, target) && accepts(target))
		strcpy(served->fallback, target);
	return true;
}

bool served_find(uint16_t port, struct served *served)
{
	*served = (struct served){ .by = "" };
	/* Where there is a rule, it comes before who listens. */
	return find_rule(port, served) || find_listener(port, served);
}
