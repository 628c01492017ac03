// SPDX-License-Identifier: MIT
#include "base/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Room for one descriptor, aligned as the kernel wants it. */
union descriptor_space {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

int control_send(int socket, unsigned char message, int fd)
{
	union descriptor_space control = { 0 };
	struct iovec byte = { .iov_base = &message, .iov_len = 1 };
	struct msghdr header = { .msg_iov = &byte, .msg_iovlen = 1 };

	if (fd >= 0) {
		control.header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(fd)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
	}
	return sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0
		       ? -errno
		       : 0;
}

int control_receive(int socket, int *fd)
{
	union descriptor_space control = { 0 };
	unsigned char message = 0;
	struct iovec byte = { .iov_base = &message, .iov_len = 1 };
	struct msghdr header = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	const struct cmsghdr *first;
	ssize_t length;

	*fd = -1;
	length = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (length <= 0)
		return -EPIPE;
	first = CMSG_FIRSTHDR(&header);
	if (first && first->cmsg_level == SOL_SOCKET &&
	    first->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(first), sizeof(*fd));
	return message;
}
