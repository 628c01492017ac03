/* SPDX-License-Identifier: MIT */
/*
 * Talk to the kernel over netlink(7): dumps, changes and notifications, as much
 * of it as the redirects need.
 */
#ifndef BASE_NETLINK_H
#define BASE_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

/* Called for each message; what it returns below 0 ends the reading. */
typedef int (*netlink_handler)(const struct nlmsghdr *message, void *context);

/* A socket for @protocol (NETLINK_ROUTE, ...), or negative errno. */
int netlink_open(int protocol);

/*
 * Ask @protocol for a dump by a message of @type with @size bytes of @body, and
 * hand each answer to @handler. What @body names the kernel may take for a
 * filter, or not. A dump that was disturbed by a change is asked for again, so
 * that @handler may see entries twice. Returns 0 or negative errno.
 */
int netlink_dump(int protocol, uint16_t type, const void *body, size_t size,
		 netlink_handler handler, void *context);

/*
 * Send @request (the message with its header, its length and type set, and
 * perhaps flags such as NLM_F_CREATE) on a socket of netlink_open() and wait
 * for its acknowledgement; what comes before it is for @handler, unless that is
 * NULL. Returns 0 or the negative errno that the kernel answered.
 */
int netlink_ask(int fd, struct nlmsghdr *request, netlink_handler handler,
		void *context);

/* A descriptor that gets @protocol's notifications of @groups
 * (RTNLGRP_LINK, ...), or negative errno. */
int netlink_subscribe(int protocol, const unsigned int *groups, size_t count);

/*
 * Throw away all notifications that wait on @fd. Returns 1 if there were any
 * or some were lost (so look again at what they are about), 0 if not, or
 * negative errno.
 */
int netlink_drain(int fd);

/* What follows the header of @message, or NULL if it is not of @type or has
 * less than @size bytes of it. */
const void *netlink_body(const struct nlmsghdr *message, uint16_t type,
			 size_t size);

/* The attribute @type among those behind the @size bytes of netlink_body(), or
 * NULL. */
const struct rtattr *netlink_attribute(const struct nlmsghdr *message,
				       size_t size, unsigned short type);

/* The attribute @type among those inside @parent; NULL also if @parent is. */
const struct rtattr *netlink_nested(const struct rtattr *parent,
				    unsigned short type);

/* The attribute's text (empty if @attribute is NULL), cut to @size. */
void netlink_text(const struct rtattr *attribute, char *text, size_t size);

/* The attribute's value, 0 if @attribute is NULL or too short. */
uint32_t netlink_u32(const struct rtattr *attribute);

#endif
