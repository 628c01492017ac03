// SPDX-License-Identifier: MIT
/*
 * The redirect that leaves visitors alone: the handoff program on every
 * interface, and a socket for a worker from each challenge that it takes. Where
 * NAT leads the service into containers, there as well.
 *
 * Where that cannot be, steering stands in for it (stand_in.h). One of both is
 * attached at a time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/log_limit.h"
#include "hello/domain_list.h"
#include "listen/listening.h"
#include "redirect/bpf/attachments.h"
#include "redirect/bpf/handoff.h"
#include "redirect/bpf/places.h"
#include "redirect/bpf/report.h"
#include "redirect/bpf/selftest.h"
#include "redirect/bpf/stand_in.h"
#include "redirect/bpf/targets.h"
#include "redirect/redirect.h"

/* The supervisor renews it twice in this time. */
#define SUPERVISED_NS (1200 * NS_PER_MS)
/* How often it is looked who listens; a burst of challenges is no reason. */
#define LOOK_NS (400 * NS_PER_MS)
/* How often conntrack is asked while nobody is known to serve. */
#define ASK_INTERVAL_NS NS_PER_S

struct handoff_redirect {
	struct redirect redirect;
	/* Steering's, under the same lease. */
	struct redirect_config config;
	const struct listeners *listeners;
	struct handoff handoff;
	struct attachments attachments;
	/* Where NAT leads the service to. */
	struct targets targets;
	struct places places;
	uint64_t asked_ns;
	/* From attach to pause; to detach. */
	bool enabled;
	bool in_place;
	uint64_t supervised_until_ns;
	/* While steering stands in, and while its last handshakes end. */
	struct redirect *steer;
	struct stand_in stand_in;
	/* Challenges of each kind that have been heeded. */
	uint64_t nobody;
	uint64_t failed;
	uint64_t resets_lost;
	uint64_t looked_ns;
	struct log_limit failures;
};

static struct handoff_redirect *from_redirect(const struct redirect *redirect)
{
	return (struct handoff_redirect *)redirect;
}

/* What loading the program does not tell: does the kernel describe its own
 * structures, and may we have a socket of the web server's name? */
static int check_host(uint16_t service_port, char *reason, size_t size)
{
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0) {
		snprintf(reason, size,
			 "it needs a kernel with BTF (CONFIG_DEBUG_INFO_BTF), "
			 "in /sys/kernel/btf/vmlinux");
		return -EOPNOTSUPP;
	}
	if (service_port < IPPORT_RESERVED &&
	    !caps_have(CAP_NET_BIND_SERVICE)) {
		snprintf(reason, size, "it needs CAP_NET_BIND_SERVICE");
		return -EPERM;
	}
	return 0;
}

static int load(struct handoff_redirect *self, char *reason, size_t size)
{
	int err = handoff_load(&self->handoff, self->config.domains);

	if (err) {
		program_explain_refusal(err, reason, size);
		return err;
	}
	err = selftest(&self->handoff, reason, size);
	if (err)
		handoff_unload(&self->handoff);
	return err;
}

static int probe(const struct redirect_config *config,
		 struct redirect **redirect, char *reason, size_t reason_size)
{
	struct handoff_redirect *self;
	int err;

	*redirect = NULL;
	err = program_may_load(reason, reason_size);
	if (!err)
		err = check_host(config->service_port, reason, reason_size);
	if (err)
		return err;
	self = malloc(sizeof(*self));
	if (!self) {
		snprintf(reason, reason_size, "%s", error_text(-ENOMEM));
		return -ENOMEM;
	}
	*self = (struct handoff_redirect){
		.redirect = { .ops = &redirect_handoff,
			      .event_fd = -1,
			      .worker_fd = -1 },
		.config = *config,
		.attachments = { .program = &self->handoff.program,
				 .instance = config->listen_port,
				 .patterns = config->interfaces,
				 .pattern_count = config->interface_count,
				 .watch_fd = -1 },
		.targets = { .rules = { .fd = -1 } },
		.places = { .config = &self->config, .epoll_fd = -1 },
	};
	err = load(self, reason, reason_size);
	if (err) {
		free(self);
		return err;
	}
	*redirect = &self->redirect;
	return 0;
}

static int watch(struct handoff_redirect *self, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(self->redirect.event_fd, EPOLL_CTL_ADD, fd, &event) < 0
		       ? -errno
		       : 0;
}

static int open_redirect(const struct redirect_config *config,
			 const struct listeners *listeners,
			 struct redirect **redirect)
{
	struct handoff_redirect *self = from_redirect(*redirect);
	int err;

	self->listeners = listeners;
	self->config = *config;
	self->handoff.hand_over = config->hand_over;
	self->handoff.hand_over_context = config->context;
	self->config.lease_fd = self->handoff.program.lease_fd;
	err = attachments_open(&self->attachments);
	if (err)
		return err;
	self->redirect.lease = self->handoff.program.lease;
	/* For all that handle_event() looks at. */
	self->redirect.event_fd = epoll_create1(EPOLL_CLOEXEC);
	err = self->redirect.event_fd < 0
		      ? -errno
		      : watch(self, handoff_event_fd(&self->handoff));
	if (!err)
		err = watch(self, self->attachments.watch_fd);
	rule_watch_open(&self->targets.rules);
	if (!err && self->targets.rules.fd >= 0)
		err = watch(self, self->targets.rules.fd);
	self->places.epoll_fd = self->redirect.event_fd;
	places_open(&self->places);
	return log_failure(err, "cannot watch for challenges");
}

/* Steering's filters have the same handle. */
static void leftovers(const struct redirect *redirect,
		      struct redirect_leftovers *made)
{
	const struct handoff_redirect *self = from_redirect(redirect);

	made->filters = attachments_filters(&self->attachments);
	if (made->filters)
		places_leave(&self->places, made);
}

static int apply_switch(struct handoff_redirect *self)
{
	struct program_switch wanted = {
		.supervised_until_ns = self->supervised_until_ns,
		.enabled = self->enabled,
		.only_listed_names = self->config.domains &&
				     self->config.domains->count > 0,
		.service_port = htons(self->config.service_port),
	};

	/* What is steered comes to no container. */
	places_switch(&self->places, &wanted);
	wanted.enabled &= !self->steer;
	return log_failure(program_switch(&self->handoff.program, &wanted),
			   "cannot switch the eBPF program");
}

/* Make steering, and put it in place. */
static int begin_steering(struct handoff_redirect *self, char *why, size_t size)
{
	int err = redirect_steer.probe(&self->config, &self->steer, why, size);

	if (err)
		return err;
	self->redirect.proxies_visitors = true;
	snprintf(why, size, "see the lines before");
	err = redirect_steer.open(&self->config, self->listeners, &self->steer);
	if (!err)
		err = watch(self, self->steer->event_fd);
	if (!err)
		err = apply_switch(self);
	if (!err) {
		/* Two filters of one instance cannot be on one interface. */
		attachments_drop_all(&self->attachments);
		err = redirect_steer.attach(self->steer);
	}
	return err;
}

static void drop_steering(struct handoff_redirect *self)
{
	if (!self->steer)
		return;
	redirect_steer.detach(self->steer);
	redirect_steer.close(self->steer);
	self->steer = NULL;
	self->redirect.proxies_visitors = false;
}

static int hand_off_again(struct handoff_redirect *self)
{
	int err;

	drop_steering(self);
	err = attachments_reconcile(&self->attachments);
	return err ? err : apply_switch(self);
}

/* Let steering stand in, if it can; if not, leave things as they are. */
static void stand_in(struct handoff_redirect *self, uint64_t now)
{
	const char *reason = stand_in_text(self->stand_in.wanted);
	char why[1024] = "see the lines before";
	int err = self->config.prove(self->config.context, why, sizeof(why));

	/* Steering's last handshakes may be ending still. */
	if (!err)
		err = self->steer ? redirect_steer.attach(self->steer)
				  : begin_steering(self, why, sizeof(why));
	if (!err) {
		stand_in_begun(&self->stand_in, now);
		log_warning("%s: steering connections to the proxy instead",
			    reason);
		return;
	}
	hand_off_again(self);
	stand_in_refused(&self->stand_in, now);
	log_warning("%s, and steering does not work here either (%s): "
		    "challenges go to the web server",
		    reason, why);
}

static void follow(struct handoff_redirect *self,
		   const struct stand_in_signs *signs, uint64_t now)
{
	switch (stand_in_look(&self->stand_in, signs, now)) {
	case STAND_IN_STAY:
		break;
	case STAND_IN_BEGIN:
		stand_in(self, now);
		break;
	case STAND_IN_PAUSE:
		if (redirect_steer.pause(self->steer) == 0)
			stand_in_paused(&self->stand_in, now);
		break;
	case STAND_IN_END:
		hand_off_again(self);
		break;
	}
}

static struct handoff total_of(const struct handoff_redirect *self)
{
	struct handoff total = self->handoff;

	places_count(&self->places, &total);
	return total;
}

/* Is there a socket that challenges can be taken from? */
static bool is_served(const struct handoff_redirect *self)
{
	bool served = listeners_serve(self->config.service_port) ||
		      places_serve(&self->places);

	for (size_t i = 0; i < self->targets.own.count && !served; i++)
		served = listeners_serve(self->targets.own.items[i].port);
	return served;
}

/* Be where NAT leads the service to; @changed: something has that it may
 * follow. True if that is elsewhere than before. */
static bool follow_targets(struct handoff_redirect *self, bool changed,
			   bool ask_conntrack)
{
	bool moved = targets_look(&self->targets, self->config.service_port,
				  self->config.listen_port, changed,
				  ask_conntrack);

	if (moved)
		handoff_translate(&self->handoff, self->targets.translations,
				  self->targets.translation_count);
	return places_follow(&self->places, &self->targets, changed || moved) ||
	       moved;
}

/* Have challenges failed since the last look? */
static void look_at_moves(struct handoff_redirect *self,
			  struct stand_in_signs *signs)
{
	const struct handoff total = total_of(self);
	const int err = total.failed_err;
	uint64_t left_out;

	if (total.failed != self->failed) {
		signs->err = err;
		if (log_limit_pass(&self->failures, monotonic_ns(), &left_out))
			log_warning(
				"a challenge was lost: %s%s", error_text(err),
				err == -ECHILD ? " (no worker takes it)" : "");
	}
	signs->reset_lost = total.resets_lost != self->resets_lost;
	self->failed = total.failed;
	self->resets_lost = total.resets_lost;
}

/* What challenges and listeners have shown since the last look; @changed:
 * interfaces have. */
static void choose(struct handoff_redirect *self, bool changed)
{
	const uint64_t now = monotonic_ns();
	const bool due = now - self->looked_ns >= LOOK_NS;
	const bool elsewhere = self->handoff.nobody != self->nobody;
	/* Those for a container pass here, and say nothing new. */
	const bool ask = (elsewhere && !self->places.count) ||
			 (due && now - self->asked_ns >= ASK_INTERVAL_NS &&
			  (elsewhere || !self->stand_in.served));
	const bool moved = follow_targets(self, changed, ask);
	struct stand_in_signs signs = {
		.moved = moved,
		.looked = due || moved,
		.in_containers = self->places.count,
	};

	if (ask)
		self->asked_ns = now;
	if (signs.looked)
		self->looked_ns = now;
	if (signs.looked || elsewhere)
		signs.serves = is_served(self);
	look_at_moves(self, &signs);
	/* Whether the service has moved must be known first. */
	if (!self->targets.rules.stale) {
		self->nobody = self->handoff.nobody;
		signs.elsewhere = elsewhere && !moved && !self->places.count &&
				  signs.serves;
	}
	follow(self, &signs, now);
}

static void detach(struct redirect *redirect)
{
	struct handoff_redirect *self = from_redirect(redirect);

	if (self->steer)
		redirect_steer.detach(self->steer);
	attachments_drop_all(&self->attachments);
	places_close(&self->places);
	/* What was taken last. */
	handoff_receive(&self->handoff);
	self->in_place = false;
}

static int report_start(const struct handoff_redirect *self)
{
	char names[ATTACHMENTS_NAMES_SIZE];
	const int attached =
		report_attached(&self->attachments, &self->config, names);

	if (attached > 0)
		log_info("eBPF hands off the challenges at port %u, visitors "
			 "are left alone: %s, kernel %s, %d interfaces:%s",
			 self->config.service_port,
			 tc_way_text(self->attachments.way),
			 program_kernel_release(), attached, names);
	return attached < 0 ? attached : 0;
}

static int attach(struct redirect *redirect)
{
	struct handoff_redirect *self = from_redirect(redirect);
	const bool resumed = self->in_place;
	int err;

	self->enabled = true;
	/* Its filters stay until its last handshakes have ended. */
	if (self->steer)
		return self->stand_in.reason
			       ? redirect_steer.attach(self->steer)
			       : apply_switch(self);
	err = attachments_reconcile(&self->attachments);
	if (!err && !resumed)
		err = report_start(self);
	if (!err)
		err = apply_switch(self);
	if (err && !resumed)
		detach(redirect);
	if (err)
		return err;
	self->in_place = true;
	self->stand_in.served = is_served(self);
	choose(self, true);
	return 0;
}

static int pause_handing_off(struct redirect *redirect)
{
	struct handoff_redirect *self = from_redirect(redirect);
	int err;

	self->enabled = false;
	err = apply_switch(self);
	if (!err && self->steer)
		err = redirect_steer.pause(self->steer);
	return err;
}

static void close_redirect(struct redirect *redirect)
{
	struct handoff_redirect *self = from_redirect(redirect);

	drop_steering(self);
	attachments_close(&self->attachments);
	places_close(&self->places);
	rule_watch_close(&self->targets.rules);
	handoff_unload(&self->handoff);
	close_fd_at(&self->redirect.event_fd);
	free(self);
}

static int handle_event(struct redirect *redirect)
{
	struct handoff_redirect *self = from_redirect(redirect);
	int changed, err = 0;

	/* First: a CA waits for it. */
	handoff_receive(&self->handoff);
	places_receive(&self->places);
	changed = attachments_changed(&self->attachments);
	if (changed < 0)
		return log_failure(changed,
				   "cannot watch the network interfaces");
	/* In a drain, too: what is not read would be told for ever. */
	rule_watch_heed(&self->targets.rules);
	if (self->steer)
		err = redirect_steer.handle_event(self->steer);
	if (err < 0)
		return err;
	if (!self->in_place || !self->enabled)
		return 0;
	if (!self->steer &&
	    (changed || attachments_are_missing(&self->attachments)))
		attachments_reconcile(&self->attachments);
	choose(self, changed);
	return 0;
}

/* Nothing is taken that nobody makes a socket for, or takes from us. */
static void renew(struct redirect *redirect, bool well)
{
	struct handoff_redirect *self = from_redirect(redirect);

	if (!well)
		return;
	self->supervised_until_ns = monotonic_ns() + SUPERVISED_NS;
	apply_switch(self);
}

static void state(const struct redirect *redirect, struct redirect_state *state)
{
	const struct handoff_redirect *self = from_redirect(redirect);
	const struct handoff total = total_of(self);

	snprintf(state->mode, sizeof(state->mode), "%s",
		 self->steer ? redirect_steer.name : redirect_handoff.name);
	snprintf(state->why, sizeof(state->why), "%s",
		 stand_in_text(self->stand_in.reason));
	state->moved = total.moved;
	state->move_failed = total.failed;
	state->move_last_ns = total.last_ns;
	state->move_worst_ns = total.worst_ns;
}

static uint64_t led(struct redirect *redirect)
{
	const struct handoff_redirect *self = from_redirect(redirect);

	return self->steer ? redirect_steer.led(self->steer) : 0;
}

static bool has_latecomers(const struct redirect *redirect)
{
	const struct handoff_redirect *self = from_redirect(redirect);

	return self->steer && redirect_steer.has_latecomers(self->steer);
}

static void read_counts(const struct program *program,
			struct redirect_interface *interface)
{
	uint64_t packets[HANDOFF_VERDICTS];

	program_read(program, interface->ifindex, packets, HANDOFF_VERDICTS);
#define READ_COUNT(name, verdict, text) interface->name = packets[verdict];
	HANDOFF_COUNTERS(READ_COUNT)
#undef READ_COUNT
}

static void name_place(struct redirect_interface *interface, const char *path)
{
	const size_t length = strlen(interface->name);

	snprintf(interface->name + length, sizeof(interface->name) - length,
		 " in %s", path);
}

static size_t interfaces(const struct redirect *redirect,
			 struct redirect_interface *items, size_t most)
{
	const struct handoff_redirect *self = from_redirect(redirect);
	size_t count;

	if (self->steer)
		return redirect_steer.interfaces(self->steer, items, most);
	count = report_interfaces(&self->attachments, read_counts, items, most);
	for (size_t i = 0; i < self->places.count; i++) {
		const struct place *place = self->places.items[i];
		const size_t first = count;
		const size_t room = count < most ? most - count : 0;

		count += report_interfaces(&place->attachments, read_counts,
					   items + most - room, room);
		for (size_t j = first; j < count && j < most; j++)
			name_place(&items[j], place->path);
	}
	return count;
}

const struct redirect_ops redirect_handoff = {
	.name = "handoff",
	.scope = LISTENER_STEERED,
	.spares_visitors = true,
	.probe = probe,
	.open = open_redirect,
	.leftovers = leftovers,
	.attach = attach,
	.pause = pause_handing_off,
	.detach = detach,
	.close = close_redirect,
	.handle_event = handle_event,
	.renew = renew,
	.state = state,
	.has_latecomers = has_latecomers,
	.led = led,
	.interfaces = interfaces,
};
