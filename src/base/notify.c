// SPDX-License-Identifier: MIT
#include "base/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/fd.h"

/* Room for a READY=1 and a STATUS= with both backends in it. */
#define NOTIFY_SIZE 1024

static int send_to(const char *name, const char *text, size_t size)
{
	struct endpoint manager;
	cleanup_fd int fd = -1;

	if ((*name != '/' && *name != '@') || !name[1] ||
	    strlen(name) > sizeof(manager.address.local.sun_path))
		return -EINVAL;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	manager = unix_endpoint(name);
	if (sendto(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT,
		   &manager.address.any, manager.length) < 0)
		return -errno;
	return 1;
}

int notify(const char *format, ...)
{
	const char *name = getenv("NOTIFY_SOCKET");
	char text[NOTIFY_SIZE];
	va_list arguments;
	int length;

	if (!name || !*name)
		return 0;
	va_start(arguments, format);
	length = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (length < 0)
		return -EINVAL;
	if ((size_t)length >= sizeof(text))
		return -E2BIG;
	return send_to(name, text, (size_t)length);
}
