// SPDX-License-Identifier: MIT
#include "base/netlink.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

/* The kernel fills up to this much of a dump into one datagram. */
#define BUFFER_SIZE 32768
/* A host where interfaces change at every moment still gets an answer. */
#define DUMP_ATTEMPTS 5
/* Enough for struct inet_diag_req_v2, the longest of those asked with. */
#define MAX_DUMP_BODY 64

int netlink_open(int protocol)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : fd;
}

/* A dump that fails under way ends as others do, but for its value. */
static int end_of_dump(const struct nlmsghdr *message)
{
	const int *err = netlink_body(message, NLMSG_DONE, sizeof(*err));

	return err && *err < 0 ? *err : 0;
}

/* One datagram; 0 at the end of a dump, 1 if more follows. */
static int read_datagram(int fd, netlink_handler handler, void *context,
			 bool *interrupted)
{
	_Alignas(struct nlmsghdr) char buffer[BUFFER_SIZE];
	const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
	const struct nlmsgerr *error;
	ssize_t received;
	int err;

	received = TEMP_FAILURE_RETRY(recv(fd, buffer, sizeof(buffer), 0));
	if (received < 0)
		return -errno;
	for (size_t left = (size_t)received; NLMSG_OK(message, left);
	     message = NLMSG_NEXT(message, left)) {
		if (message->nlmsg_flags & NLM_F_DUMP_INTR)
			*interrupted = true;
		if (message->nlmsg_type == NLMSG_DONE)
			return end_of_dump(message);
		if (message->nlmsg_type == NLMSG_ERROR) {
			error = NLMSG_DATA(message);
			return error->error;
		}
		err = handler ? handler(message, context) : 0;
		if (err < 0)
			return err;
	}
	return 1;
}

int netlink_dump(int protocol, uint16_t type, const void *body, size_t size,
		 netlink_handler handler, void *context)
{
	struct {
		struct nlmsghdr header;
		char body[MAX_DUMP_BODY];
	} request = {
		.header = { .nlmsg_len = (uint32_t)NLMSG_LENGTH(size),
			    .nlmsg_type = type,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};
	cleanup_fd int fd = netlink_open(protocol);
	const int on = 1;
	bool interrupted;
	int err;

	if (fd < 0)
		return fd;
	if (size > sizeof(request.body))
		return -EMSGSIZE;
	memcpy(request.body, body, size);
	/* So that a router does not send all its routes (4.20). */
	if (protocol == NETLINK_ROUTE)
		setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on,
			   sizeof(on));
	for (int attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
		if (send(fd, &request, request.header.nlmsg_len, 0) < 0)
			return -errno;
		interrupted = false;
		do {
			err = read_datagram(fd, handler, context, &interrupted);
		} while (err > 0);
		if (err || !interrupted)
			return err;
	}
	return 0;
}

int netlink_ask(int fd, struct nlmsghdr *request, netlink_handler handler,
		void *context)
{
	bool unused;
	int err;

	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(fd, request, request->nlmsg_len, 0) < 0)
		return -errno;
	/* The acknowledgement is an NLMSG_ERROR, if only of error 0. */
	do {
		err = read_datagram(fd, handler, context, &unused);
	} while (err > 0);
	return err;
}

int netlink_subscribe(int protocol, const unsigned int *groups, size_t count)
{
	const struct sockaddr_nl any = { .nl_family = AF_NETLINK };
	cleanup_fd int fd = netlink_open(protocol);

	if (fd < 0)
		return fd;
	/* A socket without an address of its own gets no notifications. */
	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
		return -errno;
	for (size_t i = 0; i < count; i++) {
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
			       &groups[i], sizeof(groups[i])) < 0)
			return -errno;
	}
	return steal_fd(&fd);
}

int netlink_drain(int fd)
{
	char unused;
	int result = 0;

	for (;;) {
		/* The rest of a datagram that does not fit is dropped. */
		if (recv(fd, &unused, sizeof(unused), MSG_DONTWAIT) >= 0 ||
		    errno == ENOBUFS)
			result = 1;
		else if (errno == EAGAIN)
			return result;
		else if (errno != EINTR)
			return -errno;
	}
}

const void *netlink_body(const struct nlmsghdr *message, uint16_t type,
			 size_t size)
{
	return message->nlmsg_type == type &&
			       message->nlmsg_len >= NLMSG_LENGTH(size)
		       ? NLMSG_DATA(message)
		       : NULL;
}

static const struct rtattr *find_attribute(const void *first, size_t length,
					   unsigned short type)
{
	for (const struct rtattr *attribute = first; RTA_OK(attribute, length);
	     attribute = RTA_NEXT(attribute, length)) {
		if ((attribute->rta_type & NLA_TYPE_MASK) == type)
			return attribute;
	}
	return NULL;
}

const struct rtattr *netlink_attribute(const struct nlmsghdr *message,
				       size_t size, unsigned short type)
{
	const size_t start = NLMSG_SPACE(size);

	return message->nlmsg_len < start
		       ? NULL
		       : find_attribute((const char *)message + start,
					message->nlmsg_len - start, type);
}

const struct rtattr *netlink_nested(const struct rtattr *parent,
				    unsigned short type)
{
	return parent ? find_attribute(RTA_DATA(parent), RTA_PAYLOAD(parent),
				       type)
		      : NULL;
}

void netlink_text(const struct rtattr *attribute, char *text, size_t size)
{
	size_t length = 0;

	if (attribute) {
		length = strnlen(RTA_DATA(attribute), RTA_PAYLOAD(attribute));
		if (length > size - 1)
			length = size - 1;
		memcpy(text, RTA_DATA(attribute), length);
	}
	text[length] = '\0';
}

uint32_t netlink_u32(const struct rtattr *attribute)
{
	uint32_t value = 0;

	if (attribute && RTA_PAYLOAD(attribute) >= sizeof(value))
		memcpy(&value, RTA_DATA(attribute), sizeof(value));
	return value;
}
