// SPDX-License-Identifier: MIT
/*
 * The redirect by TC eBPF: one steering program, attached to every interface
 * that packets come in on, for as long as those come and go.
 *
 * The interfaces are never followed step by step. Whatever happens to them,
 * the list is read anew and compared with what is attached (reconcile()): a
 * start, one event, a thousand events at once and events that were lost all
 * take the same way.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/netlink.h"
#include "redirect/bpf/features.h"
#include "redirect/bpf/interfaces.h"
#include "redirect/bpf/routes.h"
#include "redirect/bpf/steering.h"
#include "redirect/bpf/tc.h"
#include "redirect/redirect.h"
#include "redirect/rules/input_firewall.h"
#include "redirect/rules/published.h"

#define LIST_GROWTH 16
/* The interfaces' names in one line of log. */
#define NAMES_SIZE 512
/* Asking for NAT rules starts programs: not for each of a thousand events. */
#define DNAT_INTERVAL_NS (500 * NS_PER_MS)
/* How often to look for what the kernel does not tell. */
#define LOOK_INTERVAL_NS (5 * NS_PER_S)

/* One interface that fits. */
struct attachment {
	struct interface interface;
	/* False if the kernel refused; said once, tried again at each event. */
	bool attached;
	/* Somebody else's program comes first there; said once. */
	bool behind;
	struct tc_attachment tc;
};

struct bpf_redirect {
	struct redirect redirect;
	const struct redirect_config *config;
	const struct listeners *listeners;
	struct steering steering;
	/* From attach to pause. */
	bool enabled;
	/* As in struct program_switch. */
	bool shared_devices;
	bool marked_rules;
	/* The program pins flows in conntrack; if not, why. */
	bool conntrack;
	char no_conntrack[128];
	/* A NAT rule publishes the port, found at that time. */
	bool published;
	uint64_t looked_for_dnat_ns;
	/* Interfaces have changed since, or a moment before. */
	bool look_for_dnat;
	enum tc_way way;
	/* Notifications of interfaces and addresses. */
	int watch_fd;
	/* Those of routes and policy rules. A router gets some at every
	 * moment: they wait for our turn, and do not wake us. */
	int routes_fd;
	/* When the attachments were last looked at. */
	uint64_t looked_ns;
	/* From attach to detach, also while paused. */
	bool in_place;
	struct attachment *attachments;
	size_t count;
};

static struct bpf_redirect *from_redirect(const struct redirect *redirect)
{
	return (struct bpf_redirect *)redirect;
}

/* libbpf's words are for who knows libbpf: what matters to others we say
 * ourselves. */
static int log_libbpf(enum libbpf_print_level level, const char *format,
		      va_list arguments)
{
	char line[1024];
	char *rest = line;
	char *part;

	if (level == LIBBPF_DEBUG || log_settings.level < LOG_LEVEL_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), format, arguments);
	while ((part = strsep(&rest, "\n"))) {
		if (*part)
			log_debug("%s", part);
	}
	return 0;
}

/* Load the program with the conntrack pin if it can be had, else without. */
static int load_program(struct bpf_redirect *bpf)
{
	const uint16_t port = bpf->config->service_port;
	const enum steering_pin pin = bpf->config->past_firewall
					      ? STEERING_PIN_PAST_FIREWALL
					      : STEERING_PIN;
	int err;

	bpf->conntrack = features_may_use_conntrack(bpf->no_conntrack,
						    sizeof(bpf->no_conntrack));
	if (bpf->conntrack) {
		err = steering_load(&bpf->steering, port, pin);
		if (!err)
			return 0;
		snprintf(bpf->no_conntrack, sizeof(bpf->no_conntrack),
			 "kernel %s: %s", features_kernel_release(),
			 error_text(err));
		bpf->conntrack = false;
	}
	return steering_load(&bpf->steering, port, STEERING_NO_PIN);
}

static void explain_refusal(int err, bool limited, char *reason, size_t size)
{
	if (err == -EPERM)
		snprintf(reason, size,
			 "eBPF is forbidden here (a container, or a locked "
			 "down kernel%s)",
			 limited ? "; before 5.11 also too little locked "
				   "memory: ulimit -l unlimited"
				 : "");
	else
		snprintf(reason, size,
			 "kernel %s does not take the eBPF program (%s): 5.10 "
			 "or newer is needed, with CONFIG_BPF_SYSCALL and "
			 "CONFIG_NET_CLS_ACT",
			 features_kernel_release(), error_text(err));
}

/* Only loading the program tells whether it can be loaded. */
static int probe(const struct redirect_config *config,
		 struct redirect **redirect, char *reason, size_t reason_size)
{
	struct bpf_redirect *bpf;
	char missing[64];
	bool limited;
	int err;

	*redirect = NULL;
	libbpf_set_print(log_libbpf);
	if (!features_may_steer(missing, sizeof(missing))) {
		snprintf(reason, reason_size, "eBPF needs %s", missing);
		return -EPERM;
	}
	limited = features_raise_memlock() < 0;
	bpf = calloc(1, sizeof(*bpf));
	if (!bpf) {
		snprintf(reason, reason_size, "%s", error_text(-ENOMEM));
		return -ENOMEM;
	}
	*bpf = (struct bpf_redirect){
		.redirect = { .ops = &redirect_bpf },
		.config = config,
		.watch_fd = -1,
		.routes_fd = -1,
	};
	err = load_program(bpf);
	if (err) {
		explain_refusal(err, limited, reason, reason_size);
		free(bpf);
		return err;
	}
	*redirect = &bpf->redirect;
	return 0;
}

/*
 * What cannot be done without the pin: a published port (new visitors would
 * hang), and what the user wants of it.
 */
static int refuse_without_pin(const struct bpf_redirect *bpf)
{
	char rule[DNAT_RULE_SIZE];

	if (bpf->conntrack)
		return 0;
	if (bpf->config->past_firewall) {
		log_error("--past-firewall needs the conntrack pin, which "
			  "cannot be had here: %s",
			  bpf->no_conntrack);
		return -EOPNOTSUPP;
	}
	if (!dnat_find(bpf->config->service_port, rule))
		return 0;
	log_error("port %u is published by a NAT rule (%s), which takes new "
		  "connections away from a program at TC ingress; keeping them "
		  "needs kernel 6.0 with BTF, nf_conntrack and CAP_SYS_ADMIN: "
		  "without it, only another kind of challenge will do",
		  bpf->config->service_port, rule);
	return -EOPNOTSUPP;
}

/*
 * In front of a container the firewall need not accept the port, because what
 * is forwarded does not pass its INPUT rules. What is steered does.
 */
static void warn_of_firewall(const struct bpf_redirect *bpf)
{
	const struct redirect_config *config = bpf->config;
	char published[DNAT_RULE_SIZE];
	char rule[NAT_CHECK_RULE_SIZE];

	if (config->past_firewall ||
	    nat_check_input(config->service_port, config->ipv6, rule) <= 0 ||
	    !dnat_find(config->service_port, published))
		return;
	log_warning("the firewall accepts port %u for a container alone (%s): "
		    "what is steered is dropped, and the container gets each "
		    "connection a second late; use --past-firewall",
		    config->service_port, rule);
}

static struct attachment *find_attachment(const struct bpf_redirect *bpf,
					  unsigned int ifindex)
{
	for (size_t i = 0; i < bpf->count; i++) {
		if (bpf->attachments[i].interface.ifindex == ifindex)
			return &bpf->attachments[i];
	}
	return NULL;
}

static struct attachment *add_attachment(struct bpf_redirect *bpf)
{
	struct attachment *grown;

	if (bpf->count % LIST_GROWTH == 0) {
		grown = reallocarray(bpf->attachments, bpf->count + LIST_GROWTH,
				     sizeof(*grown));
		if (!grown)
			return NULL;
		bpf->attachments = grown;
	}
	return &bpf->attachments[bpf->count++];
}

static void drop_attachment(struct bpf_redirect *bpf,
			    struct attachment *attachment, const char *why)
{
	int err = 0;

	if (attachment->attached)
		err = tc_detach(&attachment->tc);
	if (err)
		log_warning("%s: cannot detach: %s", attachment->interface.name,
			    error_text(err));
	log_debug("%s: let go: %s", attachment->interface.name, why);
	steering_forget(&bpf->steering, attachment->interface.ifindex);
	*attachment = bpf->attachments[--bpf->count];
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
static void warn_if_behind(const struct bpf_redirect *bpf,
			   struct attachment *attachment)
{
	const bool was_behind = attachment->behind;
	char other[80];

	attachment->behind = tc_is_behind(&attachment->tc,
					  bpf->steering.program_id, other,
					  sizeof(other));
	if (attachment->behind && !was_behind)
		log_warning("%s: %s runs before us and may keep packets from "
			    "us",
			    attachment->interface.name, other);
}

/* Attach where it has not been done; a failure is remembered, not returned. */
static void try_attach(struct bpf_redirect *bpf, struct attachment *attachment,
		       bool first_time)
{
	const unsigned int ifindex = attachment->interface.ifindex;
	int err;

	/* Before the first packet. */
	steering_count(&bpf->steering, ifindex);
	err = tc_attach(&attachment->tc, bpf->way, ifindex,
			bpf->steering.program_fd, bpf->config->listen_port);
	attachment->attached = !err;
	if (!err) {
		log_debug("%s: attached by %s", attachment->interface.name,
			  tc_way_text(bpf->way));
		warn_if_behind(bpf, attachment);
	} else if (err != -ENODEV && first_time) {
		explain_failure(attachment, bpf->way, err);
	}
}

/* It may have another name now, and other programs beside us. */
static void keep_attachment(struct bpf_redirect *bpf,
			    struct attachment *attachment,
			    const struct interface *now)
{
	attachment->interface = *now;
	if (attachment->attached)
		warn_if_behind(bpf, attachment);
}

static bool is_taken_off(const struct bpf_redirect *bpf,
			 const struct attachment *attachment)
{
	return attachment->attached &&
	       !tc_is_attached(&attachment->tc, bpf->steering.program_id);
}

/* Not by one that has gone since the list was read, which takes all along. */
static void drop_taken_off(struct bpf_redirect *bpf,
			   struct attachment *attachment)
{
	char unused[IF_NAMESIZE];

	if (if_indextoname(attachment->interface.ifindex, unused))
		log_warning("%s: somebody else has taken our program off: "
			    "attaching it again",
			    attachment->interface.name);
	drop_attachment(bpf, attachment, "taken off");
}

/* Let go of what has vanished, does not fit any more, or was taken off. */
static void drop_stale(struct bpf_redirect *bpf,
		       const struct interface_list *list)
{
	const struct redirect_config *config = bpf->config;

	/* Backwards: what drop_attachment() moves has been looked at. */
	for (size_t i = bpf->count; i-- > 0;) {
		struct attachment *attachment = &bpf->attachments[i];
		const struct interface *now = interface_list_find(
			list, attachment->interface.ifindex);
		enum interface_fit fit;

		if (!now) {
			drop_attachment(bpf, attachment, "gone");
			continue;
		}
		fit = interface_judge(now, config->interfaces,
				      config->interface_count);
		if (fit != INTERFACE_FITS)
			drop_attachment(bpf, attachment,
					interface_fit_text(fit));
		else if (is_taken_off(bpf, attachment))
			drop_taken_off(bpf, attachment);
		else
			keep_attachment(bpf, attachment, now);
	}
}

static int attach_missing(struct bpf_redirect *bpf,
			  const struct interface_list *list)
{
	const struct redirect_config *config = bpf->config;

	for (size_t i = 0; i < list->count; i++) {
		const struct interface *interface = &list->items[i];
		struct attachment *attachment;
		enum interface_fit fit;

		attachment = find_attachment(bpf, interface->ifindex);
		if (attachment) {
			if (!attachment->attached)
				try_attach(bpf, attachment, false);
			continue;
		}
		fit = interface_judge(interface, config->interfaces,
				      config->interface_count);
		if (fit != INTERFACE_FITS) {
			log_debug("%s: left alone: %s", interface->name,
				  interface_fit_text(fit));
			continue;
		}
		attachment = add_attachment(bpf);
		if (!attachment)
			return -ENOMEM;
		*attachment = (struct attachment){ .interface = *interface };
		try_attach(bpf, attachment, true);
	}
	return 0;
}

static int apply_switch(struct bpf_redirect *bpf)
{
	const struct program_switch wanted = {
		.enabled = bpf->enabled && !bpf->published,
		.shared_devices = bpf->shared_devices,
		.marked_rules = bpf->marked_rules,
	};
	int err = steering_switch(&bpf->steering, &wanted);

	if (err)
		log_error("cannot switch the eBPF program: %s",
			  error_text(err));
	return err;
}

/*
 * A container engine that starts after us, where the pin cannot be had: its
 * rules come with interfaces, be it a moment after the last of them, so that
 * one look more follows. Until we look, the program lets a visitor wait for no
 * more than the second SYN (STEER_UNANSWERED).
 */
static int follow_dnat(struct bpf_redirect *bpf, bool changed)
{
	const uint64_t now = monotonic_ns();
	char rule[DNAT_RULE_SIZE];
	bool published;

	bpf->look_for_dnat |= changed;
	if (bpf->conntrack || !bpf->look_for_dnat ||
	    now - bpf->looked_for_dnat_ns < DNAT_INTERVAL_NS)
		return 0;
	bpf->looked_for_dnat_ns = now;
	bpf->look_for_dnat = changed;
	published = dnat_find(bpf->config->service_port, rule);
	if (published == bpf->published)
		return 0;
	bpf->published = published;
	if (published)
		log_warning("port %u is published by a NAT rule now (%s): "
			    "steering stops until it is gone",
			    bpf->config->service_port, rule);
	else
		log_info("no NAT rule publishes port %u any more: steering",
			 bpf->config->service_port);
	return apply_switch(bpf);
}

/*
 * Devices of other namespaces that share one of ours (ipvlan) are not in our
 * list, only their module is to be seen. With them, and where marks have a say
 * in routing, the program needs to know this host's destinations.
 */
static int follow_destinations(struct bpf_redirect *bpf)
{
	const bool shared = features_have_shared_devices();
	const int marked = routes_depend_on_marks();
	int err = marked < 0 ? marked : 0;

	if (!err && (shared || marked))
		err = steering_list_destinations(&bpf->steering);
	if (err) {
		log_error("cannot tell this host's addresses to the eBPF "
			  "program: %s",
			  error_text(err));
		return err;
	}
	if (shared == bpf->shared_devices && marked == bpf->marked_rules)
		return 0;
	bpf->shared_devices = shared;
	bpf->marked_rules = marked;
	log_debug("steering %s%s%s",
		  shared || marked ? "only what a local route leads to"
				   : "whatever is not routed on",
		  shared ? "; ipvlan or macvlan may be in use" : "",
		  marked ? "; a policy rule asks for a mark" : "");
	return apply_switch(bpf);
}

/* Be attached to exactly the interfaces that fit now. */
static int reconcile(struct bpf_redirect *bpf)
{
	struct interface_list list;
	int err;

	bpf->looked_ns = monotonic_ns();
	err = follow_destinations(bpf);
	if (err)
		return err;

	err = interface_list_read(&list);
	if (err) {
		log_error("cannot list the network interfaces: %s",
			  error_text(err));
		return err;
	}
	drop_stale(bpf, &list);
	err = attach_missing(bpf, &list);
	interface_list_free(&list);
	return err;
}

static void drop_all(struct bpf_redirect *bpf)
{
	while (bpf->count)
		drop_attachment(bpf, &bpf->attachments[bpf->count - 1],
				"detached");
	bpf->in_place = false;
}

static void free_redirect(struct bpf_redirect *bpf)
{
	drop_all(bpf);
	steering_unload(&bpf->steering);
	close_fd_at(&bpf->watch_fd);
	close_fd_at(&bpf->routes_fd);
	free(bpf->attachments);
	free(bpf);
}

static int watch(int *fd, const unsigned int *groups, size_t count)
{
	*fd = netlink_subscribe(NETLINK_ROUTE, groups, count);
	if (*fd >= 0)
		return 0;
	log_error("cannot watch the network interfaces: %s", error_text(*fd));
	return *fd;
}

static int open_redirect(const struct redirect_config *config,
			 const struct listeners *listeners,
			 struct redirect **redirect)
{
	static const unsigned int watched[] = {
		RTNLGRP_LINK,
		/* A clsact that others delete; of a tcx program that is
		 * detached see look_unasked(). */
		RTNLGRP_TC,
		RTNLGRP_IPV4_IFADDR,
		RTNLGRP_IPV6_IFADDR,
	};
	static const unsigned int routes[] = {
		RTNLGRP_IPV4_ROUTE,
		RTNLGRP_IPV6_ROUTE,
		RTNLGRP_IPV4_RULE,
		RTNLGRP_IPV6_RULE,
	};
	struct bpf_redirect *bpf = from_redirect(*redirect);
	int err;

	bpf->config = config;
	bpf->listeners = listeners;
	/* Before the first list, so that nothing is missed in between. */
	err = watch(&bpf->watch_fd, watched, ARRAY_SIZE(watched));
	if (!err)
		err = watch(&bpf->routes_fd, routes, ARRAY_SIZE(routes));
	if (err)
		return err;
	bpf->way = tc_best_way();
	return refuse_without_pin(bpf);
}

static size_t count_attached(const struct bpf_redirect *bpf,
			     char names[static NAMES_SIZE])
{
	size_t attached = 0;
	size_t length = 0;

	names[0] = '\0';
	for (size_t i = 0; i < bpf->count; i++) {
		if (!bpf->attachments[i].attached)
			continue;
		attached++;
		if (length < NAMES_SIZE)
			length += (size_t)snprintf(
				names + length, NAMES_SIZE - length, " %s",
				bpf->attachments[i].interface.name);
	}
	return attached;
}

/* What was found here and is used, in one line. */
static void report_features(const struct bpf_redirect *bpf, size_t attached,
			    const char *names)
{
	const bool ipv4 = bpf->listeners->ipv4 >= 0;
	const bool ipv6 = bpf->listeners->ipv6 >= 0;

	log_info("eBPF steers port %u to %s%s%s port %u: %s, %s%s%s%s, "
		 "kernel %s, %zu interfaces:%s",
		 bpf->config->service_port, ipv4 ? "127.0.0.1" : "",
		 ipv4 && ipv6 ? " and " : "", ipv6 ? "[::1]" : "",
		 bpf->config->listen_port, tc_way_text(bpf->way),
		 bpf->conntrack ? "conntrack pin" : "no conntrack pin (",
		 bpf->no_conntrack, bpf->conntrack ? "" : ")",
		 bpf->config->past_firewall ? ", past the firewall" : "",
		 features_kernel_release(), attached, names);
}

static int report(const struct bpf_redirect *bpf)
{
	const size_t attached_before_failure = bpf->count;
	char names[NAMES_SIZE];
	size_t attached = count_attached(bpf, names);

	if (attached) {
		report_features(bpf, attached, names);
		return 0;
	}
	if (attached_before_failure) {
		log_error("the eBPF program could not be attached to any "
			  "interface");
		return -ENODEV;
	}
	log_warning("no interface fits yet%s: waiting for one",
		    bpf->config->interface_count ? " --interface" : "");
	return 0;
}

static int attach(struct redirect *redirect)
{
	struct bpf_redirect *bpf = from_redirect(redirect);
	const bool resumed = bpf->in_place;
	int err;

	err = steering_set_listeners(&bpf->steering, bpf->listeners);
	if (err) {
		log_error("cannot give the listeners to the eBPF program: %s",
			  error_text(err));
		return err;
	}
	err = reconcile(bpf);
	if (!err && !resumed)
		err = report(bpf);
	if (!err) {
		bpf->enabled = true;
		err = apply_switch(bpf);
	}
	if (err && !resumed)
		drop_all(bpf);
	if (err)
		return err;
	bpf->in_place = true;
	/* It starts programs, which take longer than all the rest. */
	if (!resumed)
		warn_of_firewall(bpf);
	return 0;
}

static int pause_steering(struct redirect *redirect)
{
	struct bpf_redirect *bpf = from_redirect(redirect);

	bpf->enabled = false;
	return apply_switch(bpf);
}

static void detach(struct redirect *redirect)
{
	drop_all(from_redirect(redirect));
}

static void close_redirect(struct redirect *redirect)
{
	free_redirect(from_redirect(redirect));
}

static int event_fd(const struct redirect *redirect)
{
	return from_redirect(redirect)->watch_fd;
}

static bool is_any_taken_off(const struct bpf_redirect *bpf)
{
	for (size_t i = 0; i < bpf->count; i++) {
		if (is_taken_off(bpf, &bpf->attachments[i]))
			return true;
	}
	return false;
}

/* The kernel does not tell of a tcx program that somebody detaches. */
static void look_unasked(struct bpf_redirect *bpf)
{
	const uint64_t now = monotonic_ns();

	if (now - bpf->looked_ns < LOOK_INTERVAL_NS)
		return;
	bpf->looked_ns = now;
	if (is_any_taken_off(bpf))
		reconcile(bpf);
}

/* A list that could not be read now may be readable at the next event: what
 * is attached goes on working. */
static int handle_event(struct redirect *redirect)
{
	struct bpf_redirect *bpf = from_redirect(redirect);
	int routes_changed = netlink_drain(bpf->routes_fd);
	int changed = netlink_drain(bpf->watch_fd);
	int err = routes_changed < 0 ? routes_changed : changed;

	if (err < 0) {
		log_error("cannot watch the network interfaces: %s",
			  error_text(err));
		return err;
	}
	if (!bpf->in_place)
		return 0;
	if (changed) {
		reconcile(bpf);
	} else {
		if (routes_changed)
			follow_destinations(bpf);
		look_unasked(bpf);
	}
	follow_dnat(bpf, changed);
	return 0;
}

static volatile uint64_t *lease(const struct redirect *redirect)
{
	return from_redirect(redirect)->steering.lease;
}

static size_t interfaces(const struct redirect *redirect,
			 struct redirect_interface *items, size_t most)
{
	const struct bpf_redirect *bpf = from_redirect(redirect);
	size_t attached = 0;

	for (size_t i = 0; i < bpf->count; i++) {
		const struct attachment *attachment = &bpf->attachments[i];
		struct redirect_interface *item = &items[attached];
		struct steer_counters counters;

		if (!attachment->attached)
			continue;
		if (attached++ >= most)
			continue;
		counters = steering_read(&bpf->steering,
					 attachment->interface.ifindex);
		*item = (struct redirect_interface){
			.ifindex = attachment->interface.ifindex,
			.steered = counters.packets[STEER_STEERED],
			.cookies = counters.packets[STEER_COOKIE],
			.not_local = counters.packets[STEER_NOT_LOCAL],
			.not_steering = counters.packets[STEER_NOT_STEERING],
			.existing_flow = counters.packets[STEER_EXISTING_FLOW],
			.container_flow =
				counters.packets[STEER_CONTAINER_FLOW],
			.unanswered = counters.packets[STEER_UNANSWERED],
			.refused = counters.packets[STEER_REFUSED],
		};
		strcpy(item->name, attachment->interface.name);
		strcpy(item->attached_by, tc_way_text(attachment->tc.way));
	}
	return attached;
}

static int remove_leftovers(const struct redirect_config *config)
{
	struct interface_list list;
	int result = 0;
	int err;

	libbpf_set_print(log_libbpf);
	err = interface_list_read(&list);
	if (err)
		return err;
	for (size_t i = 0; i < list.count; i++) {
		err = tc_remove_leftover(list.items[i].ifindex,
					 config->listen_port);
		if (err > 0)
			log_info("%s: removed the filter of a killed instance",
				 list.items[i].name);
		if (err < 0)
			result = err;
	}
	interface_list_free(&list);
	return result;
}

const struct redirect_ops redirect_bpf = {
	.name = "bpf",
	.scope = LISTENER_STEERED,
	.probe = probe,
	.open = open_redirect,
	.attach = attach,
	.pause = pause_steering,
	.detach = detach,
	.close = close_redirect,
	.event_fd = event_fd,
	.handle_event = handle_event,
	.lease = lease,
	.interfaces = interfaces,
	.remove_leftovers = remove_leftovers,
};
