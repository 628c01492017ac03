// SPDX-License-Identifier: MIT
/*
 * New connections reach the listeners by a REDIRECT rule in the nat table of
 * each address family (nat_family.h): all of them or none.
 */
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/netlink.h"
#include "redirect/iptables/conntrack_hold.h"
#include "redirect/iptables/leftovers.h"
#include "redirect/iptables/nat_family.h"
#include "redirect/iptables/obstacles.h"
#include "redirect/redirect.h"

struct iptables_redirect {
	struct redirect redirect;
	const struct redirect_config *config;
	struct rulespec rule;
	/* What it was made of: the user's text, or our own. */
	const char *rule_text;
	char default_rule[RULESPEC_DEFAULT_SIZE];
	struct conntrack_hold hold;
	bool rules_changed;
	uint64_t next_look_ns;
	/* From attach to pause. */
	bool in_place;
	struct nat_family families[REDIRECT_FAMILIES];
	size_t family_count;
};

static struct iptables_redirect *from_redirect(struct redirect *redirect)
{
	return (struct iptables_redirect *)redirect;
}

/* @text is for the default. Returns where the rule's text is. */
static const char *rule_text(const struct redirect_config *config,
			     char text[static RULESPEC_DEFAULT_SIZE])
{
	if (config->rulespec)
		return config->rulespec;
	rulespec_default(config->service_port, config->listen_port, text);
	return text;
}

static int make_rule(const struct redirect_config *config,
		     struct rulespec *rule)
{
	char buffer[RULESPEC_DEFAULT_SIZE];
	const char *text = rule_text(config, buffer);
	int err = rulespec_split(text, strlen(text), rule);

	if (!err && rule->count == 0) {
		rulespec_free(rule);
		return -EINVAL;
	}
	return err;
}

static int probe_family(sa_family_t family, char *reason, size_t reason_size)
{
	cleanup_free char *rules = NULL;
	struct xtables xtables;
	int err = xtables_open(&xtables, family, "nat", &rules);

	if (err)
		snprintf(reason, reason_size, "%s: %s%s", xtables.name,
			 xtables.message, xtables_advice(&xtables));
	xtables_release(&xtables);
	return err;
}

static int iptables_probe(const struct redirect_config *config,
			  struct redirect **redirect, char *reason,
			  size_t reason_size)
{
	int err = probe_family(AF_INET, reason, reason_size);

	*redirect = NULL;
	if (!err && config->ipv6)
		err = probe_family(AF_INET6, reason, reason_size);
	return err ? err : obstacles_probe(config, reason, reason_size);
}

static void free_redirect(struct iptables_redirect *self)
{
	for (size_t i = 0; i < self->family_count; i++)
		nat_family_close(&self->families[i], self->config->listen_port);
	close_fd_at(&self->redirect.event_fd);
	conntrack_hold_close(&self->hold);
	rulespec_free(&self->rule);
	free(self);
}

static int open_family(struct iptables_redirect *self, sa_family_t number)
{
	return nat_family_open(&self->families[self->family_count++], number,
			       self->config, &self->rule, &self->hold.rule);
}

/* Those that others change by iptables-nft or nft; iptables-legacy replaces
 * tables without a word. */
static void watch_rules(struct iptables_redirect *self)
{
	static const unsigned int group = NFNLGRP_NFTABLES;
	int fd = netlink_subscribe(NETLINK_NETFILTER, &group, 1);

	if (fd < 0)
		log_debug("the kernel does not tell of changed rules: %s",
			  error_text(fd));
	else
		self->redirect.event_fd = fd;
}

static int iptables_open(const struct redirect_config *config,
			 const struct listeners *listeners,
			 struct redirect **redirect)
{
	struct iptables_redirect *self = calloc(1, sizeof(*self));
	int err;

	if (!self)
		return -ENOMEM;
	self->redirect = (struct redirect){ .ops = &redirect_iptables,
					    .event_fd = -1,
					    .proxies_visitors = true };
	self->config = config;
	self->hold = CONNTRACK_HOLD_NONE;

	self->rule_text = rule_text(config, self->default_rule);
	err = make_rule(config, &self->rule);
	if (err) {
		log_error("the rule for iptables is malformed: %s",
			  config->rulespec ? config->rulespec
					   : error_text(err));
		goto fail;
	}
	err = conntrack_hold_open(&self->hold);
	if (err) {
		log_failure(err, "cannot name the conntrack rule");
		goto fail;
	}
	self->redirect.worker_fd = self->hold.worker_socket;
	if (listeners->ipv4 >= 0)
		err = open_family(self, AF_INET);
	if (!err && config->ipv6 && listeners->ipv6 >= 0)
		err = open_family(self, AF_INET6);
	if (err)
		goto fail;
	watch_rules(self);

	*redirect = &self->redirect;
	return 0;
fail:
	free_redirect(self);
	return err;
}

static void iptables_leftovers(const struct redirect *redirect,
			       struct redirect_leftovers *leftovers)
{
	const struct iptables_redirect *self =
		(const struct iptables_redirect *)redirect;

	for (size_t i = 0; i < self->family_count; i++)
		leftovers->rules[self->families[i].xtables.family == AF_INET6] =
			self->rule_text;
	leftovers->hold = self->hold.name;
}

static int iptables_attach(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);
	size_t tried = 0;
	int err = 0;

	while (!err && tried < self->family_count)
		err = nat_family_attach(&self->families[tried++]);
	for (size_t i = 0; i < tried; i++) {
		if (err)
			nat_family_take_back(&self->families[i]);
		else
			self->families[i].was_attached = true;
	}
	if (!err)
		self->in_place = true;
	return err;
}

/*
 * Somebody has changed rules: a firewall that was loaded again takes ours
 * along, and the validation that it is there for would fail. What fails here
 * is tried again at the next change. Our own makes us look again as well; once
 * a second at most, as there are hosts whose rules never rest.
 */
static int iptables_handle_event(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);
	const uint64_t now = monotonic_ns();

	if (redirect->event_fd >= 0 && netlink_drain(redirect->event_fd) > 0)
		self->rules_changed = true;
	if (!self->rules_changed || now < self->next_look_ns)
		return 0;
	self->rules_changed = false;
	self->next_look_ns = now + NS_PER_S;
	for (size_t i = 0; i < self->family_count; i++) {
		if (self->in_place)
			nat_family_put_back(&self->families[i]);
		else
			nat_family_keep_hold(&self->families[i]);
	}
	return 0;
}

/*
 * Each family is tried even if one fails: half a redirect left is better than
 * a whole one, and the caller is told.
 */
static int iptables_pause(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);
	int result = 0;

	self->in_place = false;
	for (size_t i = 0; i < self->family_count; i++) {
		int err = nat_family_pause(&self->families[i]);

		if (!result)
			result = err;
	}
	return result;
}

/* Nothing of it is in the way after the pause but the hold, which is inert. */
static void iptables_detach(struct redirect *redirect)
{
	(void)redirect;
}

static void iptables_close(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);
	struct timespec left = CONNTRACK_HOLD_AFTER_CLOSE;

	while (self->families[0].was_attached && nanosleep(&left, &left) < 0) {
		if (errno != EINTR)
			break;
	}
	free_redirect(self);
}

/* Both families, whatever is configured now: it may have been otherwise. */
static int iptables_remove_leftovers(const struct redirect_config *config)
{
	static const sa_family_t families[REDIRECT_FAMILIES] = { AF_INET,
								 AF_INET6 };
	struct rulespec rule;
	int result = make_rule(config, &rule);

	/* No instance can have run with a malformed one. */
	if (result)
		return result == -EINVAL ? 0 : result;
	for (size_t i = 0; i < REDIRECT_FAMILIES; i++) {
		int err = leftovers_remove(families[i], &rule,
					   config->listen_port);

		if (!result)
			result = err;
	}
	rulespec_free(&rule);
	return result;
}

static uint64_t iptables_led(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);
	uint64_t packets, total = 0;

	for (size_t i = 0; i < self->family_count; i++)
		if (!xtables_count_redirected(&self->families[i].xtables,
					      self->config->listen_port,
					      &packets))
			total += packets;
	return total;
}

const struct redirect_ops redirect_iptables = {
	.name = "iptables",
	.scope = LISTENER_ANY,
	.probe = iptables_probe,
	.open = iptables_open,
	.leftovers = iptables_leftovers,
	.attach = iptables_attach,
	.pause = iptables_pause,
	.detach = iptables_detach,
	.close = iptables_close,
	.handle_event = iptables_handle_event,
	.led = iptables_led,
	.remove_leftovers = iptables_remove_leftovers,
};
