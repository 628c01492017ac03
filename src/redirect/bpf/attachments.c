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

int attachments_open(struct attachments *attachments)
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

	attachments->way = tc_best_way();
	attachments->watch_fd = fd;
	if (fd >= 0)
		return 0;
	log_error("cannot watch the network interfaces: %s", error_text(fd));
	return fd;
}

void attachments_close(struct attachments *attachments)
{
	attachments_drop_all(attachments);
	close_fd_at(&attachments->watch_fd);
	free(attachments->items);
	attachments->items = NULL;
}

int attachments_changed(const struct attachments *attachments)
{
	return netlink_drain(attachments->watch_fd);
}

static struct attachment *find_attachment(const struct attachments *attachments,
					  unsigned int ifindex)
{
	for (size_t i = 0; i < attachments->count; i++) {
		if (attachments->items[i].interface.ifindex == ifindex)
			return &attachments->items[i];
	}
	return NULL;
}

static struct attachment *add_attachment(struct attachments *attachments)
{
	struct attachment *grown;

	grown = reallocarray(attachments->items, attachments->count + 1,
			     sizeof(*grown));
	if (!grown)
		return NULL;
	attachments->items = grown;
	return &attachments->items[attachments->count++];
}

static void drop_attachment(struct attachments *attachments,
			    struct attachment *attachment, const char *why)
{
	int err = 0;

	if (attachment->attached)
		err = tc_detach(&attachment->tc);
	if (err)
		log_warning("%s: cannot detach: %s", attachment->interface.name,
			    error_text(err));
	log_debug("%s: let go: %s", attachment->interface.name, why);
	program_forget(attachments->program, attachment->interface.ifindex);
	*attachment = attachments->items[--attachments->count];
}

static void explain_failure(const struct attachment *attachment,
			    enum tc_way way, int err)
{
	log_warning("%s: cannot attach: %s%s", attachment->interface.name,
		    error_text(err),
		    way == TC_CLSACT && err == -ENOENT
			    ? "; the kernel modules sch_ingress and cls_bpf "
			      "are needed"
			    : "");
}

/* By tcx that is one that came later, and made itself the first. */
static void warn_if_behind(const struct attachments *attachments,
			   struct attachment *attachment)
{
	const bool was_behind = attachment->behind;
	char other[80];

	attachment->behind = tc_is_behind(&attachment->tc,
					  attachments->program->id, other,
					  sizeof(other));
	if (attachment->behind && !was_behind)
		log_warning("%s: %s runs before us and may keep packets from "
			    "us",
			    attachment->interface.name, other);
}

/* Attach where it has not been done; a failure is remembered, not returned. */
static void try_attach(struct attachments *attachments,
		       struct attachment *attachment, bool first_time)
{
	const unsigned int ifindex = attachment->interface.ifindex;
	int err;

	/* Before the first packet. */
	program_count(attachments->program, ifindex);
	err = tc_attach(&attachment->tc, attachments->way, ifindex,
			attachments->program->fd, attachments->instance);
	attachment->attached = !err;
	if (!err) {
		log_debug("%s: attached by %s", attachment->interface.name,
			  tc_way_text(attachments->way));
		warn_if_behind(attachments, attachment);
	} else if (err != -ENODEV && first_time) {
		explain_failure(attachment, attachments->way, err);
	}
}

static bool is_taken_off(const struct attachments *attachments,
			 const struct attachment *attachment)
{
	return attachment->attached &&
	       !tc_is_attached(&attachment->tc, attachments->program->id);
}

/* Not by one that has gone since the list was read, which takes all along. */
static void drop_taken_off(struct attachments *attachments,
			   struct attachment *attachment)
{
	char unused[IF_NAMESIZE];

	if (if_indextoname(attachment->interface.ifindex, unused))
		log_warning("%s: somebody else has taken our program off: "
			    "attaching it again",
			    attachment->interface.name);
	drop_attachment(attachments, attachment, "taken off");
}

/* Be attached to @interface, or not, as it is now. */
static int look_at(const struct interface *interface, void *context)
{
	struct attachments *attachments = context;
	struct attachment *attachment =
		find_attachment(attachments, interface->ifindex);
	const char *why = interface_objection(interface, attachments->patterns,
					      attachments->pattern_count);

	if (why) {
		if (attachment)
			drop_attachment(attachments, attachment, why);
		else
			log_debug("%s: left alone: %s", interface->name, why);
		return 0;
	}
	if (attachment && is_taken_off(attachments, attachment)) {
		drop_taken_off(attachments, attachment);
		attachment = NULL;
	}
	if (!attachment) {
		attachment = add_attachment(attachments);
		if (!attachment)
			return -ENOMEM;
		*attachment = (struct attachment){ .interface = *interface };
		try_attach(attachments, attachment, true);
	} else if (!attachment->attached) {
		try_attach(attachments, attachment, false);
	} else {
		/* There may be other programs beside us. */
		warn_if_behind(attachments, attachment);
	}
	/* It may have another name now. */
	attachment->interface = *interface;
	attachment->round = attachments->round;
	return 0;
}

int attachments_reconcile(struct attachments *attachments)
{
	int err;

	attachments->looked_ns = monotonic_ns();
	attachments->round++;
	err = interfaces_read(look_at, attachments);
	if (err) {
		log_error("cannot list the network interfaces: %s",
			  error_text(err));
		return err;
	}
	/* Backwards: what drop_attachment() moves has been looked at. */
	for (size_t i = attachments->count; i-- > 0;) {
		struct attachment *attachment = &attachments->items[i];

		if (attachment->round != attachments->round)
			drop_attachment(attachments, attachment, "gone");
	}
	return 0;
}

void attachments_drop_all(struct attachments *attachments)
{
	while (attachments->count)
		drop_attachment(attachments,
				&attachments->items[attachments->count - 1],
				"detached");
}

bool attachments_are_missing(struct attachments *attachments)
{
	const uint64_t now = monotonic_ns();

	if (now - attachments->looked_ns < LOOK_INTERVAL_NS)
		return false;
	attachments->looked_ns = now;
	for (size_t i = 0; i < attachments->count; i++) {
		if (is_taken_off(attachments, &attachments->items[i]))
			return true;
	}
	return false;
}

size_t attachments_name(const struct attachments *attachments,
			char names[static ATTACHMENTS_NAMES_SIZE])
{
	size_t attached = 0;
	size_t length = 0;

	names[0] = '\0';
	for (size_t i = 0; i < attachments->count; i++) {
		if (!attachments->items[i].attached)
			continue;
		attached++;
		if (length < ATTACHMENTS_NAMES_SIZE)
			length += (size_t)snprintf(
				names + length, ATTACHMENTS_NAMES_SIZE - length,
				" %s", attachments->items[i].interface.name);
	}
	return attached;
}

struct removal {
	uint16_t instance;
	/* The last that failed, or 0. */
	int err;
};

static int remove_leftover(const struct interface *interface, void *context)
{
	struct removal *removal = context;
	int err = tc_remove_leftover(interface->ifindex, removal->instance);

	if (err > 0)
		log_info("%s: removed the filter of a killed instance",
			 interface->name);
	if (err < 0)
		removal->err = err;
	return 0;
}

int attachments_remove_leftovers(uint16_t instance)
{
	struct removal removal = { .instance = instance };
	int err = interfaces_read(remove_leftover, &removal);

	return err ? err : removal.err;
}
