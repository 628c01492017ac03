// SPDX-License-Identifier: MIT
#include "redirect/bpf/places.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/address.h"
#include "base/caps.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "listen/listening.h"
#include "redirect/rules/nat_rules.h"

/* Whether namespaces are still there is to be found out by looking alone. */
#define SEARCH_INTERVAL_NS (NS_PER_S / 2)
/* A container's rules may be there before its address. */
#define TELL_AFTER_NS (2 * NS_PER_S)

/* Those that are looked for, and what was found out. */
struct search {
	struct places *places;
	const struct targets *targets;
	bool found[NAT_TARGETS_MOST];
	bool changed;
	/* Why one could not be entered. */
	int err;
};

void places_open(struct places *self)
{
	self->gone = (struct handoff)HANDOFF_NONE;
}

static void add_counts(struct handoff *total, const struct handoff *handoff)
{
	total->moved += handoff->moved;
	total->failed += handoff->failed;
	total->resets_lost += handoff->resets_lost;
	if (handoff->failed_ns > total->failed_ns) {
		total->failed_ns = handoff->failed_ns;
		total->failed_err = handoff->failed_err;
	}
	if (handoff->moved_ns > total->moved_ns) {
		total->moved_ns = handoff->moved_ns;
		total->last_ns = handoff->last_ns;
	}
	if (handoff->worst_ns > total->worst_ns)
		total->worst_ns = handoff->worst_ns;
}

void places_count(const struct places *self, struct handoff *total)
{
	add_counts(total, &self->gone);
	for (size_t i = 0; i < self->count; i++)
		add_counts(total, &self->items[i]->handoff);
}

static int detach(void *context)
{
	struct place *place = context;

	attachments_close(&place->attachments);
	return 0;
}

/*
 * Where it cannot be entered it stays for the next time: what is attached there
 * can be detached only there.
 */
static void drop(struct places *self, size_t index, const char *why)
{
	struct place *place = self->items[index];

	if (netns_call(place->fd, detach, place) < 0)
		return;
	/* What was taken last. */
	handoff_receive(&place->handoff);
	add_counts(&self->gone, &place->handoff);
	handoff_unload(&place->handoff);
	close_fd_at(&place->fd);
	log_info("handing off no longer at port %u in %s: %s", place->port,
		 place->path, why);
	free(place);
	self->items[index] = self->items[--self->count];
}

void places_close(struct places *self)
{
	for (size_t i = self->count; i-- > 0;)
		drop(self, i, "detached");
}

static int switch_one(const struct places *self, const struct place *place)
{
	struct program_switch wanted = self->program_switch;

	wanted.service_port = htons(place->port);
	return program_switch(&place->handoff.program, &wanted);
}

void places_switch(struct places *self, const struct program_switch *wanted)
{
	self->program_switch = *wanted;
	for (size_t i = 0; i < self->count; i++)
		switch_one(self, self->items[i]);
}

void places_receive(struct places *self)
{
	for (size_t i = 0; i < self->count; i++)
		handoff_receive(&self->items[i]->handoff);
}

static int watch(const struct places *self, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno
									: 0;
}

/* Load and attach, in the namespace. */
static int set_up(void *context)
{
	struct place *place = context;
	const struct places *self = place->places;
	const struct redirect_config *config = self->config;
	int err = handoff_load_there(&place->handoff, config->domains,
				     place->fd, config->lease_fd);

	if (err)
		return err;
	place->handoff.hand_over = config->hand_over;
	place->handoff.hand_over_context = config->context;
	place->attachments.program = &place->handoff.program;
	err = attachments_open(&place->attachments);
	if (!err)
		err = watch(self, place->attachments.watch_fd);
	if (!err)
		err = watch(self, handoff_event_fd(&place->handoff));
	if (!err)
		err = attachments_reconcile(&place->attachments);
	if (!err)
		err = switch_one(self, place);
	if (err)
		attachments_close(&place->attachments);
	return err;
}

static void tell(const struct place *place)
{
	char names[ATTACHMENTS_NAMES_SIZE];

	attachments_name(&place->attachments, names);
	log_info("handing off at port %u in the network namespace %s:%s",
		 place->port, place->path, names);
}

static int record(const struct places *self)
{
	return self->config->record(self->config->context);
}

void places_leave(const struct places *self,
		  struct redirect_leftovers *leftovers)
{
	for (size_t i = 0; i < self->count; i++)
		leftovers->places[leftovers->place_count++] =
			self->items[i]->id;
}

/* One that no other port of that namespace has, or 0. */
static uint32_t free_instance(const struct places *self,
			      const struct netns_id *id)
{
	bool taken[TC_NUMBERS] = { false };

	for (size_t i = 0; i < self->count; i++) {
		const struct place *place = self->items[i];

		if (netns_is(&place->id, id))
			taken[TC_INSTANCE_NUMBER(place->attachments.instance)] =
				true;
	}
	for (uint32_t number = 0; number < TC_NUMBERS; number++) {
		if (!taken[number])
			return TC_INSTANCE(self->config->listen_port, number);
	}
	return 0;
}

static int add(struct places *self, const char *path, const struct netns_id *id,
	       uint16_t port)
{
	const uint32_t instance = free_instance(self, id);
	struct place *place;
	int err;

	if (!instance || self->count == REDIRECT_PLACES)
		return -E2BIG;
	place = calloc(1, sizeof(*place));
	if (!place)
		return -ENOMEM;
	*place = (struct place){ .places = self,
				 .id = *id,
				 .fd = netns_open(path),
				 .port = port,
				 .round = self->round,
				 .handoff = HANDOFF_NONE,
				 .attachments = { .instance = instance,
						  .watch_fd = -1 } };
	snprintf(place->path, sizeof(place->path), "%s", path);
	self->items[self->count++] = place;
	err = place->fd < 0 ? place->fd : record(self);
	if (!err)
		err = netns_call(place->fd, set_up, place);
	if (err) {
		self->count--;
		handoff_unload(&place->handoff);
		close_fd_at(&place->fd);
		free(place);
		return err;
	}
	tell(place);
	return 0;
}

/* Be in that namespace, at that port. */
static int want(struct search *search, const char *path,
		const struct netns_id *id, uint16_t port)
{
	struct places *self = search->places;
	int err;

	for (size_t i = 0; i < self->count; i++) {
		struct place *place = self->items[i];

		if (place->port != port || !netns_is(&place->id, id))
			continue;
		place->round = self->round;
		/* It may have another name now. */
		snprintf(place->path, sizeof(place->path), "%s", path);
		return 0;
	}
	err = add(self, path, id, port);
	search->changed |= !err;
	return err;
}

struct addresses {
	struct in6_addr *items;
	size_t count;
};

static int list_addresses(void *context)
{
	struct addresses *addresses = context;

	addresses->count = host_addresses(&addresses->items);
	return 0;
}

/* The addresses in the namespace at @path, if one of our devices leads there:
 * others may have the same ones in networks of their own. 0 or negative
 * errno. */
static int read_addresses(const char *path, struct addresses *addresses)
{
	cleanup_fd int fd = netns_open(path);

	if (fd < 0)
		return fd;
	return netns_is_linked(fd) ? netns_call(fd, list_addresses, addresses)
				   : 0;
}

/* Does it have a target's address? One that cannot be entered, or has just
 * vanished, does not. */
static int look_into(const char *path, const struct netns_id *id, void *context)
{
	struct search *search = context;
	const struct nat_targets *others = &search->targets->others;
	struct addresses addresses = { .items = NULL };
	int err = read_addresses(path, &addresses);

	for (size_t i = 0; i < others->count && !err; i++) {
		const struct nat_target *target = &others->items[i];

		if (!address_is_among(&target->address, addresses.items,
				      addresses.count))
			continue;
		err = want(search, path, id, target->port);
		search->found[i] |= !err;
	}
	free(addresses.items);
	if (err && err != -ENOENT)
		search->err = err;
	return 0;
}

/* Those of --netns. */
static void want_named(struct search *search)
{
	const struct redirect_config *config = search->places->config;

	for (size_t i = 0; i < config->namespace_count; i++) {
		const char *name = config->namespaces[i];
		char path[NETNS_PATH_SIZE];
		struct netns_id id;
		int err;

		snprintf(path, sizeof(path),
			 *name == '/' ? "%s" : "/proc/%s/ns/net", name);
		err = netns_identify(path, &id);
		if (!err)
			err = want(search, path, &id, config->service_port);
		if (err && err != -ENOENT)
			search->err = err;
	}
}

static const char *why_missing(const struct search *search)
{
	if (search->err == -EPERM || search->err == -EACCES)
		return "CAP_SYS_ADMIN and CAP_NET_ADMIN are needed, in the "
		       "user namespace that it belongs to";
	if (search->err)
		return error_text(search->err);
	if (!caps_have(CAP_SYS_PTRACE))
		return "CAP_SYS_PTRACE is needed to see all";
	return "a container needs the host's processes, hostPID, or its "
	       "/run/netns; a virtual machine has none";
}

/* Once, and again when there are others. */
static void tell_missing(struct search *search)
{
	struct places *self = search->places;
	const struct nat_targets *others = &search->targets->others;
	char text[INET6_ADDRSTRLEN];
	size_t missing = 0, first = 0;

	/* What conntrack alone knows may be long gone. */
	for (size_t i = search->targets->published; i-- > 0;) {
		missing += !search->found[i];
		first = search->found[i] ? first : i;
	}
	if (missing != self->missing)
		self->missing_ns = monotonic_ns();
	self->told &= missing == self->missing;
	self->missing = missing;
	if (!missing || self->told ||
	    monotonic_ns() - self->missing_ns < TELL_AFTER_NS)
		return;
	self->told = true;
	log_warning("port %u leads to %s port %u, which is in no network "
		    "namespace that we can enter (%s): its challenges cannot "
		    "be handed off",
		    self->config->service_port,
		    address_text(&others->items[first].address, text),
		    others->items[first].port, why_missing(search));
}

/* Are namespaces still what their names say? */
static bool have_gone(const struct places *self)
{
	for (size_t i = 0; i < self->count; i++) {
		const struct place *place = self->items[i];
		struct netns_id id;

		if (netns_identify(place->path, &id) ||
		    !netns_is(&id, &place->id))
			return true;
	}
	return false;
}

static int reconcile(void *context)
{
	struct place *place = context;

	return attachments_reconcile(&place->attachments);
}

static int reconcile_if_missing(void *context)
{
	struct place *place = context;

	return attachments_are_missing(&place->attachments) ? reconcile(place)
							    : 0;
}

/* Interfaces and addresses there; @due: what is attached as well. */
static bool have_changed(const struct places *self, bool due)
{
	bool changed = false;

	for (size_t i = 0; i < self->count; i++) {
		struct place *place = self->items[i];

		if (attachments_changed(&place->attachments) > 0) {
			changed = true;
			netns_call(place->fd, reconcile, place);
		} else if (due) {
			netns_call(place->fd, reconcile_if_missing, place);
		}
	}
	return changed;
}

static int is_served(void *context)
{
	const struct place *place = context;

	return listeners_serve(place->port);
}

bool places_serve(const struct places *self)
{
	bool serves = false;

	for (size_t i = 0; i < self->count && !serves; i++)
		serves = netns_call(self->items[i]->fd, is_served,
				    self->items[i]) > 0;
	return serves;
}

static bool search_for(struct places *self, const struct targets *targets)
{
	struct search search = { .places = self, .targets = targets };

	self->round++;
	want_named(&search);
	if (targets->others.count)
		netns_each(look_into, &search);
	for (size_t i = self->count; i-- > 0;) {
		if (self->items[i]->round == self->round)
			continue;
		search.changed = true;
		drop(self, i, "it has gone, or the service has");
	}
	if (search.changed)
		record(self);
	tell_missing(&search);
	return search.changed;
}

bool places_follow(struct places *self, const struct targets *targets,
		   bool changed)
{
	const uint64_t now = monotonic_ns();
	const bool due = now - self->searched_ns >= SEARCH_INTERVAL_NS;

	changed |= have_changed(self, due);
	if (!changed && !due)
		return false;
	self->searched_ns = now;
	if (!changed && !self->missing && !have_gone(self) &&
	    self->count >= self->config->namespace_count)
		return false;
	return search_for(self, targets);
}
