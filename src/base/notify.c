// SPDX-License-Identifier: MIT
#include "base/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"

/* Room for a READY=1 and a STATUS= with both backends in it. */
#define NOTIFY_SIZE 1024

/* Returns the address's length or -EINVAL. */
static int notify_address(const char *name, struct sockaddr_un *address)
{
	size_t length = strlen(name);

	/* A path need not be terminated here, see unix(7). */
	if ((*name != '/' && *name != '@') || !name[1] ||
	    length > sizeof(address->sun_path))
		return -EINVAL;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path, name, length);
	if (*name == '@')
		address->sun_path[0] = '\0';
	return (int)(offsetof(struct sockaddr_un, sun_path) + length);
}

static int send_to(const char *name, const char *text, size_t size)
{
	struct sockaddr_un address;
	cleanup_fd int fd = -1;
	int length;

	length = notify_address(name, &address);
	if (length < 0)
		return length;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT,
		   (const struct sockaddr *)&address, (socklen_t)length) < 0)
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
