// SPDX-License-Identifier: MIT
/*
 * The redirect by TC eBPF: one steering program, attached to every interface
 * that packets come in on. What it is made of does the work; here it is asked
 * how things are, and decided what follows.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "redirect/bpf/attachments.h"
#include "redirect/bpf/destinations.h"
#include "redirect/bpf/report.h"
#include "redirect/bpf/steering.h"
#include "redirect/host.h"
#include "redirect/redirect.h"
#include "redirect/rules/rule_watch.h"

struct bpf_redirect {
	struct redirect redirect;
	const struct redirect_config *config;
	const struct listeners *listeners;
	struct program program;
	struct destinations destinations;
	struct attachments attachments;
	struct rule_watch rules;
	/* A NAT rule leads the port elsewhere. */
	bool published;
	/* From attach to pause. */
	bool enabled;
	/* From attach to detach, also while paused. */
	bool in_place;
};

static struct bpf_redirect *from_redirect(const struct redirect *redirect)
{
	return (struct bpf_redirect *)redirect;
}

/* Only loading the program tells whether it can be loaded. */
static int probe(const struct redirect_config *config,
		 struct redirect **redirect, char *reason, size_t reason_size)
{
	struct bpf_redirect *bpf;
	int err;

	*redirect = NULL;
	err = program_may_load(reason, reason_size);
	if (err)
		return err;
	bpf = malloc(sizeof(*bpf));
	if (!bpf) {
		snprintf(reason, reason_size, "%s", error_text(-ENOMEM));
		return -ENOMEM;
	}
	*bpf = (struct bpf_redirect){
		.redirect = { .ops = &redirect_steer,
			      .event_fd = -1,
			      .worker_fd = -1,
			      .proxies_visitors = true },
		.config = config,
		.destinations = DESTINATIONS_NONE,
		.attachments = { .program = &bpf->program,
				 .instance = config->listen_port,
				 .patterns = config->interfaces,
				 .pattern_count = config->interface_count,
				 .watch_fd = -1 },
		.rules = { .fd = -1 },
	};
	err = steering_load(&bpf->program, config->lease_fd);
	if (err) {
		program_explain_refusal(err, reason, reason_size);
		free(bpf);
		return err;
	}
	*redirect = &bpf->redirect;
	return 0;
}

/*
 * What NAT leads elsewhere is taken away from a program that comes before it:
 * new visitors would hang.
 */
static int find_obstacle(const struct redirect_config *config, char *reason,
			 size_t size)
{
	char rule[RULE_TEXT_SIZE];

	if (!published_find(config->service_port, config->listen_port, rule))
		return 0;
	snprintf(reason, size,
		 "port %u is published by a NAT rule (%s), which takes away "
		 "what is steered: use --bpf on a kernel with BTF, run this "
		 "where the rule leads, or use --iptables with -fallback",
		 config->service_port, rule);
	return -EOPNOTSUPP;
}

/* Watching begins before the first lists, so that nothing is missed. */
static int open_redirect(const struct redirect_config *config,
			 const struct listeners *listeners,
			 struct redirect **redirect)
{
	struct bpf_redirect *bpf = from_redirect(*redirect);
	char reason[256 + RULE_TEXT_SIZE];
	int err;

	bpf->listeners = listeners;
	rule_watch_open(&bpf->rules);
	err = attachments_open(&bpf->attachments);
	bpf->redirect.event_fd = bpf->attachments.watch_fd;
	bpf->redirect.lease = bpf->program.lease;
	if (!err)
		err = destinations_open(&bpf->destinations);
	if (err)
		return err;
	err = find_obstacle(config, reason, sizeof(reason));
	if (err)
		log_error("%s", reason);
	return err;
}

static void leftovers(const struct redirect *redirect,
		      struct redirect_leftovers *made)
{
	made->filters =
		attachments_filters(&from_redirect(redirect)->attachments);
}

static int apply_switch(struct bpf_redirect *bpf)
{
	const struct program_switch wanted = {
		.enabled = bpf->enabled && !bpf->published,
		.shared_devices = bpf->destinations.shared_devices,
		.marked_rules = bpf->destinations.marked_rules,
		.service_port = htons(bpf->config->service_port),
	};

	return log_failure(program_switch(&bpf->program, &wanted),
			   "cannot switch the eBPF program");
}

static int follow_destinations(struct bpf_redirect *bpf)
{
	int changed = destinations_follow(&bpf->destinations, &bpf->program);

	return changed > 0 ? apply_switch(bpf) : changed;
}

static int reconcile(struct bpf_redirect *bpf)
{
	int err = follow_destinations(bpf);

	return err ? err : attachments_reconcile(&bpf->attachments);
}

static void detach(struct redirect *redirect)
{
	struct bpf_redirect *bpf = from_redirect(redirect);

	attachments_drop_all(&bpf->attachments);
	bpf->in_place = false;
}

/* In one line what was found here and is used. */
static int report_start(const struct bpf_redirect *bpf)
{
	const bool ipv4 = bpf->listeners->ipv4 >= 0;
	const bool ipv6 = bpf->listeners->ipv6 >= 0;
	char names[ATTACHMENTS_NAMES_SIZE];
	const int attached =
		report_attached(&bpf->attachments, bpf->config, names);

	if (attached <= 0)
		return attached;
	log_info("eBPF steers port %u to %s%s%s port %u: %s, kernel %s, "
		 "%d interfaces:%s",
		 bpf->config->service_port, ipv4 ? "127.0.0.1" : "",
		 ipv4 && ipv6 ? " and " : "", ipv6 ? "[::1]" : "",
		 bpf->config->listen_port, tc_way_text(bpf->attachments.way),
		 program_kernel_release(), attached, names);
	return 0;
}

static int attach(struct redirect *redirect)
{
	struct bpf_redirect *bpf = from_redirect(redirect);
	const bool resumed = bpf->in_place;
	int err;

	err = steering_set_listeners(&bpf->program, bpf->listeners);
	if (err)
		return log_failure(err, "cannot give the listeners to the eBPF "
					"program");
	err = reconcile(bpf);
	if (!err && !resumed)
		err = report_start(bpf);
	if (!err) {
		bpf->enabled = true;
		err = apply_switch(bpf);
	}
	if (err && !resumed)
		detach(redirect);
	if (err)
		return err;
	bpf->in_place = true;
	return 0;
}

static int pause_steering(struct redirect *redirect)
{
	struct bpf_redirect *bpf = from_redirect(redirect);

	bpf->enabled = false;
	return apply_switch(bpf);
}

static void close_redirect(struct redirect *redirect)
{
	struct bpf_redirect *bpf = from_redirect(redirect);

	attachments_close(&bpf->attachments);
	destinations_close(&bpf->destinations);
	rule_watch_close(&bpf->rules);
	program_unload(&bpf->program);
	free(bpf);
}

/*
 * A rule that comes after us, by a container engine or by hand. Until we look,
 * which is at the supervisor's next turn, the program lets a visitor wait for
 * no more than the second SYN (STEER_UNANSWERED).
 */
static void watch_published(struct bpf_redirect *bpf, bool changed)
{
	const uint16_t port = bpf->config->service_port;
	char rule[RULE_TEXT_SIZE];
	bool published;

	if (!rule_watch_is_due(&bpf->rules, changed))
		return;
	published = published_find(port, bpf->config->listen_port, rule);
	rule_watch_looked(&bpf->rules);
	if (published == bpf->published)
		return;
	bpf->published = published;
	if (bpf->published)
		log_warning("port %u is published by a NAT rule now (%s): "
			    "steering stops until it is gone",
			    port, rule);
	else
		log_info("no NAT rule publishes port %u any more: steering",
			 port);
	apply_switch(bpf);
}

/* A list that could not be read now may be readable at the next event: what
 * is attached goes on working. */
static int handle_event(struct redirect *redirect)
{
	struct bpf_redirect *bpf = from_redirect(redirect);
	int routes_changed = destinations_changed(&bpf->destinations);
	int changed = attachments_changed(&bpf->attachments);
	int err = routes_changed < 0 ? routes_changed : changed;

	if (err < 0)
		return log_failure(err, "cannot watch the network interfaces");
	if (!bpf->in_place)
		return 0;
	if (changed || attachments_are_missing(&bpf->attachments))
		reconcile(bpf);
	else if (routes_changed)
		follow_destinations(bpf);
	watch_published(bpf, changed);
	return 0;
}

static void read_counts(const struct program *program,
			struct redirect_interface *interface)
{
	uint64_t packets[STEER_VERDICTS];

	program_read(program, interface->ifindex, packets, STEER_VERDICTS);
#define READ_COUNT(name, verdict, text) interface->name = packets[verdict];
	STEER_COUNTERS(READ_COUNT)
#undef READ_COUNT
}

static size_t interfaces(const struct redirect *redirect,
			 struct redirect_interface *items, size_t most)
{
	return report_interfaces(&from_redirect(redirect)->attachments,
				 read_counts, items, most);
}

static uint64_t led(struct redirect *redirect)
{
	return report_steered(&from_redirect(redirect)->attachments);
}

static bool has_latecomers(const struct redirect *redirect)
{
	const struct bpf_redirect *bpf = from_redirect(redirect);

	return steering_has_latecomers(&bpf->program, bpf->config);
}

static int remove_leftovers(const struct redirect_config *config)
{
	program_log_libbpf();
	return attachments_remove_leftovers(config->listen_port);
}

const struct redirect_ops redirect_steer = {
	.name = "steer",
	.scope = LISTENER_STEERED,
	.probe = probe,
	.find_obstacle = find_obstacle,
	.open = open_redirect,
	.leftovers = leftovers,
	.attach = attach,
	.pause = pause_steering,
	.detach = detach,
	.close = close_redirect,
	.handle_event = handle_event,
	.has_latecomers = has_latecomers,
	.led = led,
	.interfaces = interfaces,
	.remove_leftovers = remove_leftovers,
};
