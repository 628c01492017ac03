// SPDX-License-Identifier: MIT
#include "redirect/bpf/attachments.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/netlink.h"

/* How often to look for what the kernel does not tell. */
#define LOOK_INTERVAL_NS (5 * NS_PER_S)

int attachments_open(struct attachments *self)
{
	static const unsigned int groups[] = {
		RTNLGRP_LINK,
		/* A clsact that others delete; of a tcx program that is
		 * detached see attachments_are_missing(). */
		RTNLGRP_TC,
		RTNLGRP_IPV4_IFADDR,
		RTNLGRP_IPV6_IFADDR,
	};
	int fd = netlink_subscribe(NETLINK_ROUTE, groups, ARRAY_SIZE(groups));

	self->way = tc_best_way();
	self->watch_fd = fd;
	return fd < 0 ? log_failure(fd, "cannot watch the network interfaces")
		      : 0;
}

void attachments_close(struct attachments *self)
{
	attachments_drop_all(self);
	close_fd_at(&self->watch_fd);
	free(self->items);
	self->items = NULL;
}

int attachments_changed(const struct attachments *self)
{
	return netlink_drain(self->watch_fd);
}

/* A tcx link ends with its process. */
uint32_t attachments_filters(const struct attachments *self)
{
	return self->way == TC_CLSACT ? tc_handle(self->instance, false) : 0;
}

static struct attachment *find_attachment(const struct attachments *self,
					  unsigned int ifindex)
{
	for (size_t i = 0; i < self->count; i++) {
		if (self->items[i].interface.ifindex == ifindex)
			return &self->items[i];
	}
	return NULL;
}

static struct attachment *add_attachment(struct attachments *self)
{
	struct attachment *grown;

	grown = reallocarray(self->items, self->count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	self->items = grown;
	return &self->items[self->count++];
}

static void drop_attachment(struct attachments *self,
			    struct attachment *attachment, const char *why)
{
	int err = 0;

	if (attachment->attached)
		err = tc_detach(&attachment->tc);
	if (err)
		log_warning("%s: cannot detach: %s", attachment->interface.name,
			    error_text(err));
	log_debug("%s: let go: %s", attachment->interface.name, why);
	program_forget(self->program, attachment->interface.ifindex);
	*attachment = self->items[--self->count];
}

/* With tcx that is one attached later, and before us. */
static void warn_if_behind(const struct attachments *self,
			   struct attachment *attachment)
{
	const bool was_behind = attachment->behind;
	char other[80];

	attachment->behind = tc_is_behind(&attachment->tc, self->program->id,
					  other, sizeof(other));
	if (attachment->behind && !was_behind)
		log_warning("%s: %s runs before us and may keep packets from "
			    "us",
			    attachment->interface.name, other);
}

/* Attach where it has not been done; a failure is remembered, not returned. */
static void try_attach(struct attachments *self, struct attachment *attachment,
		       bool first_time)
{
	const unsigned int ifindex = attachment->interface.ifindex;
	int err;

	/* Before the first packet. */
	program_count(self->program, ifindex);
	err = tc_attach(&attachment->tc, self->way, ifindex, self->program->fd,
			self->instance);
	attachment->attached = !err;
	if (!err) {
		log_debug("%s: attached by %s", attachment->interface.name,
			  tc_way_text(self->way));
		warn_if_behind(self, attachment);
	} else if (err != -ENODEV && first_time) {
		log_warning("%s: cannot attach: %s%s",
			    attachment->interface.name, error_text(err),
			    self->way == TC_CLSACT && err == -ENOENT
				    ? "; the kernel modules sch_ingress and "
				      "cls_bpf are needed"
				    : "");
	}
}

static bool is_taken_off(const struct attachments *self,
			 const struct attachment *attachment)
{
	return attachment->attached &&
	       !tc_is_attached(&attachment->tc, self->program->id);
}

/* No reason to warn if the interface has gone with all its programs. */
static void drop_taken_off(struct attachments *self,
			   struct attachment *attachment)
{
	char unused[IF_NAMESIZE];

	if (if_indextoname(attachment->interface.ifindex, unused))
		log_warning("%s: somebody else has taken our program off: "
			    "attaching it again",
			    attachment->interface.name);
	drop_attachment(self, attachment, "taken off");
}

/* Be attached to @interface, or not, as it is now. */
static int look_at(const struct interface *interface, void *context)
{
	struct attachments *self = context;
	struct attachment *attachment =
		find_attachment(self, interface->ifindex);
	const char *why = interface_objection(interface, self->patterns,
					      self->pattern_count);

	if (why) {
		if (attachment)
			drop_attachment(self, attachment, why);
		else
			log_debug("%s: left alone: %s", interface->name, why);
		return 0;
	}
	if (attachment && is_taken_off(self, attachment)) {
		drop_taken_off(self, attachment);
		attachment = NULL;
	}
	if (!attachment) {
		attachment = add_attachment(self);
		if (!attachment)
			return -ENOMEM;
		*attachment = (struct attachment){ .interface = *interface };
		try_attach(self, attachment, true);
	} else if (!attachment->attached) {
		try_attach(self, attachment, false);
	} else {
		/* There may be other programs beside us. */
		warn_if_behind(self, attachment);
	}
	/* It may have another name now. */
	attachment->interface = *interface;
	attachment->round = self->round;
	return 0;
}

int attachments_reconcile(struct attachments *self)
{
	int err;

	self->looked_ns = monotonic_ns();
	self->round++;
	err = interfaces_read(look_at, self);
	if (err)
		return log_failure(err, "cannot list the network interfaces");
	/* Backwards: what drop_attachment() moves has been looked at. */
	for (size_t i = self->count; i-- > 0;) {
		struct attachment *attachment = &self->items[i];

		if (attachment->round != self->round)
			drop_attachment(self, attachment, "gone");
	}
	return 0;
}

void attachments_drop_all(struct attachments *self)
{
	while (self->count)
		drop_attachment(self, &self->items[self->count - 1],
				"detached");
}

bool attachments_are_missing(struct attachments *self)
{
	const uint64_t now = monotonic_ns();

	if (now - self->looked_ns < LOOK_INTERVAL_NS)
		return false;
	self->looked_ns = now;
	for (size_t i = 0; i < self->count; i++) {
		if (is_taken_off(self, &self->items[i]))
			return true;
	}
	return false;
}

size_t attachments_name(const struct attachments *self,
			char names[static ATTACHMENTS_NAMES_SIZE])
{
	size_t attached = 0;
	size_t length = 0;

	names[0] = '\0';
	for (size_t i = 0; i < self->count; i++) {
		if (!self->items[i].attached)
			continue;
		attached++;
		if (length < ATTACHMENTS_NAMES_SIZE)
			length += (size_t)snprintf(
				names + length, ATTACHMENTS_NAMES_SIZE - length,
				" %s", self->items[i].interface.name);
	}
	return attached;
}

struct removal {
	uint16_t port;
	/* The last that failed, or 0. */
	int err;
};

static int remove_leftovers(const struct interface *interface, void *context)
{
	struct removal *removal = context;
	int err = tc_remove_leftovers(interface->ifindex, removal->port);

	if (err > 0)
		log_info("%s: removed the filter of a killed instance",
			 interface->name);
	if (err < 0)
		removal->err = err;
	return 0;
}

int attachments_remove_leftovers(uint16_t port)
{
	struct removal removal = { .port = port };
	int err = interfaces_read(remove_leftovers, &removal);

	return err ? err : removal.err;
}
