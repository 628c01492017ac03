// SPDX-License-Identifier: MIT
#include "redirect/served.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/memory.h"
#include "redirect/rules/published.h"
#include "redirect/rules/translation.h"

/* For each that may be the one. */
#define ANSWER_MS 200

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
	/* What comes of it is asked below. */
	(void)connect(fd,
		      (const struct sockaddr *)&backend.addresses[0].address,
		      backend.addresses[0].length);
	event.fd = fd;
	return poll(&event, 1, ANSWER_MS) > 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
	       !error;
}

/* One that listens everywhere is found on loopback. */
static void name_listener(const uint32_t words[static 4], bool ipv6,
			  uint16_t port, char text[static ENDPOINT_TEXT_SIZE])
{
	char address[INET6_ADDRSTRLEN];

	inet_ntop(ipv6 ? AF_INET6 : AF_INET, words, address, sizeof(address));
	if (!words[0] && !words[1] && !words[2] && !words[3])
		snprintf(text, ENDPOINT_TEXT_SIZE,
			 ipv6 ? "[::1]:%u" : "127.0.0.1:%u", port);
	else
		snprintf(text, ENDPOINT_TEXT_SIZE, ipv6 ? "[%s]:%u" : "%s:%u",
			 address, port);
}

/*
 * A line of the kernel's list of sockets, in which those that listen come
 * first: "  0: 0100007F:01BB 00000000:0000 0A". Reading it needs no rights.
 */
static bool read_listener(const char *line, bool ipv6, uint16_t port,
			  char text[static ENDPOINT_TEXT_SIZE])
{
	unsigned int words[4] = { 0 };
	unsigned int local_port, state;
	int read;

	if (ipv6)
		read = sscanf(line, " %*u: %8x%8x%8x%8x:%4x %*[0-9A-F:] %2x",
			      &words[0], &words[1], &words[2], &words[3],
			      &local_port, &state) -
		       3;
	else
		read = sscanf(line, " %*u: %8x:%4x %*[0-9A-F:] %2x", &words[0],
			      &local_port, &state);
	if (read != 3 || state != TCP_LISTEN || local_port != port)
		return false;
	name_listener(words, ipv6, port, text);
	return true;
}

/* Goes on to the next one where this one does not answer. */
static bool find_listener(bool ipv6, uint16_t port, struct served *served)
{
	FILE *file = fopen(ipv6 ? "/proc/self/net/tcp6" : "/proc/self/net/tcp",
			   "re");
	char text[ENDPOINT_TEXT_SIZE];
	bool found = false;
	char line[256];

	if (!file)
		return false;
	while (!served->fallback[0] && fgets(line, sizeof(line), file)) {
		if (!read_listener(line, ipv6, port, text))
			continue;
		found = true;
		snprintf(served->by, sizeof(served->by), "by a listener (%s)",
			 text);
		if (accepts(text))
			strcpy(served->fallback, text);
	}
	fclose(file);
	return found;
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
	return find_rule(port, served) || find_listener(false, port, served) ||
	       find_listener(true, port, served);
}
