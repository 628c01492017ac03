/* SPDX-License-Identifier: MIT */
/*
 * Read the kernel's rtnetlink (rtnetlink(7)): dumps and notifications, as much
 * of it as interfaces.c and tc.c need.
 */
#ifndef RTNETLINK_H
#define RTNETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

/* Called for each message; what it returns below 0 ends the reading. */
typedef int (*rtnetlink_handler)(const struct nlmsghdr *message, void *context);

/*
 * Ask for a dump with @request (the message with its header, its length and
 * type set) and hand each answer to @handler. A dump that was disturbed by a
 * change is asked for again, so that @handler may see entries twice. Returns 0
 * or negative errno.
 */
int rtnetlink_dump(struct nlmsghdr *request, rtnetlink_handler handler,
		   void *context);

/* A non-blocking descriptor that gets the notifications of @groups
 * (RTNLGRP_LINK, ...), or negative errno. */
int rtnetlink_subscribe(const unsigned int *groups, size_t count);

/*
 * Throw away all notifications that wait on @fd. Returns 1 if there were any
 * or some were lost (so look again at what they are about), 0 if not, or
 * negative errno.
 */
int rtnetlink_drain(int fd);

/* The attribute @type among those in @length bytes from @first, or NULL. */
const struct rtattr *rtnetlink_attribute(const struct rtattr *first,
					 size_t length, unsigned short type);

/* The attribute's text (empty if @attribute is NULL), cut to @size. */
void rtnetlink_text(const struct rtattr *attribute, char *text, size_t size);

/* The attribute's value, 0 if @attribute is NULL or too short. */
uint32_t rtnetlink_u32(const struct rtattr *attribute);

#endif
