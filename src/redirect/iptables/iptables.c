// SPDX-License-Identifier: MIT
/*
 * New connections reach the listeners by a REDIRECT rule in the nat table.
 *
 * Two rules for each address family, in the order of their lives:
 *
 *   attach   the hold (conntrack_hold.h), then the redirect behind it
 *   pause    the redirect goes; connections redirected before still have
 *            their packets translated, because the hold keeps that going
 *   close    the hold goes, when the last of them has ended
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/memory.h"
#include "redirect/iptables/conntrack_hold.h"
#include "redirect/iptables/hold_sweeper.h"
#include "redirect/iptables/rule_watch.h"
#include "redirect/redirect.h"
#include "redirect/rules/input_firewall.h"
#include "redirect/rules/published.h"
#include "redirect/rules/rule_table.h"
#include "redirect/rules/rulespec.h"
#include "redirect/rules/xtables.h"

#define FAMILIES 2
/* For the last step of a stop. */
#define HOLD_ATTEMPTS 10
#define HOLD_RETRY_MS 500

struct iptables_redirect {
	struct redirect redirect;
	const struct redirect_config *config;
	struct rulespec rule;
	struct conntrack_hold hold;
	struct rule_watch watch;
	/* Has a connection perhaps been redirected? Are new ones now? */
	bool was_attached;
	bool in_place;
	struct family {
		struct xtables xtables;
		/* The redirect may stand in the table already. */
		bool may_be_there;
	} families[FAMILIES];
	size_t family_count;
};

static struct iptables_redirect *from_redirect(struct redirect *redirect)
{
	return (struct iptables_redirect *)redirect;
}

/* What to add to a message when IPv6 alone is the trouble. */
static const char *advice(const struct xtables *xtables)
{
	return xtables->family == AF_INET6
		       ? "; ACME_ALPN_PROXY_DISABLEV6=y leaves IPv6 out"
		       : "";
}

static int complain(const struct xtables *xtables, const char *what, int err)
{
	log_error("cannot %s: %s: %s%s", what, xtables->name,
		  xtables->message[0] ? xtables->message : error_text(err),
		  advice(xtables));
	return err;
}

static int make_rule(const struct redirect_config *config,
		     struct rulespec *rule)
{
	int err;

	if (!config->rulespec)
		return rulespec_default(config->service_port,
					config->listen_port, rule);
	err = rulespec_split(config->rulespec, strlen(config->rulespec), rule);
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
	int err = xtables_find(&xtables, family);

	if (!err)
		err = xtables_list(&xtables, "nat", &rules);
	if (err)
		snprintf(reason, reason_size, "%s: %s%s", xtables.name,
			 xtables.message, advice(&xtables));
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
	return err;
}

/*
 * Container engines publish a port by a DNAT rule, and theirs come first: ours
 * would stand in the table and never see a visitor. A user who brings a rule
 * may know better.
 */
static int check_published_port(const struct iptables_redirect *self,
				const struct xtables *xtables,
				const char *rules)
{
	const struct redirect_config *config = self->config;
	char rule[RULE_TEXT_SIZE];
	int found = published_in_dump(xtables->family, rules,
				      config->service_port, config->listen_port,
				      rule);

	if (found <= 0)
		return found;
	if (config->rulespec) {
		log_warning("%s: port %u is taken by another rule first: %s",
			    xtables->name, config->service_port, rule);
		return 0;
	}
	log_error("%s: port %u is a container's, published by a rule that "
		  "comes before ours (%s): use --bpf",
		  xtables->name, config->service_port, rule);
	return -EEXIST;
}

/*
 * A redirected packet meets the firewall with the listener's port, and one
 * that accepts the service alone would keep every visitor out.
 */
static int check_firewall(const struct iptables_redirect *self,
			  struct xtables *xtables)
{
	const struct redirect_config *config = self->config;
	cleanup_free char *rules = NULL;
	char rule[RULE_TEXT_SIZE];
	int found;

	/* A host without a filter table has no such firewall. */
	if (xtables_list(xtables, "filter", &rules))
		return 0;
	found = input_firewall_drops_redirected(xtables->family, rules,
						config->service_port,
						config->listen_port, rule);
	if (found <= 0)
		return found;
	if (config->rulespec) {
		log_warning("%s: the firewall may drop what is redirected to "
			    "port %u (%s)",
			    xtables->name, config->listen_port, rule);
		return 0;
	}
	log_error("%s: the firewall accepts port %u but not port %u, where "
		  "the redirect leads (%s): use --bpf, or accept the latter "
		  "with -m conntrack --ctstate DNAT",
		  xtables->name, config->service_port, config->listen_port,
		  rule);
	return -EACCES;
}

/* All that can be known to fail before a rule is touched. */
static int open_family(struct iptables_redirect *self, sa_family_t family)
{
	struct family *state = &self->families[self->family_count++];
	struct xtables *xtables = &state->xtables;
	cleanup_free char *rules = NULL;
	int err = xtables_find(xtables, family);

	if (!err)
		err = xtables_list(xtables, "nat", &rules);
	if (err)
		return complain(xtables, "redirect", err);

	/* Looks for the rule, and finds its mistakes on the way. */
	err = xtables_has(xtables, self->rule.words);
	if (err < 0)
		return complain(xtables, "use the rule", err);
	state->may_be_there = err > 0;

	err = check_published_port(self, xtables, rules);
	return err ? err : check_firewall(self, xtables);
}

static void free_redirect(struct iptables_redirect *self)
{
	for (size_t i = 0; i < self->family_count; i++)
		xtables_release(&self->families[i].xtables);
	rule_watch_close(&self->watch);
	conntrack_hold_close(&self->hold);
	rulespec_free(&self->rule);
	free(self);
}

static int iptables_open(const struct redirect_config *config,
			 const struct listeners *listeners,
			 struct redirect **redirect)
{
	struct iptables_redirect *self = calloc(1, sizeof(*self));
	int err;

	if (!self)
		return -ENOMEM;
	self->redirect.ops = &redirect_iptables;
	self->config = config;
	self->hold = CONNTRACK_HOLD_NONE;
	self->watch = RULE_WATCH_NONE;

	err = make_rule(config, &self->rule);
	if (err) {
		log_error("the rule for iptables is malformed: %s",
			  config->rulespec ? config->rulespec
					   : error_text(err));
		goto fail;
	}
	err = conntrack_hold_open(&self->hold);
	if (err) {
		log_error("cannot name the conntrack rule: %s",
			  error_text(err));
		goto fail;
	}
	if (listeners->ipv4 >= 0)
		err = open_family(self, AF_INET);
	if (!err && config->ipv6 && listeners->ipv6 >= 0)
		err = open_family(self, AF_INET6);
	if (err)
		goto fail;
	rule_watch_open(&self->watch);

	*redirect = &self->redirect;
	return 0;
fail:
	free_redirect(self);
	return err;
}

/* Returns 1 if the hold was not there yet, 0 if it was. */
static int add_hold(struct iptables_redirect *self, struct xtables *xtables)
{
	/* Its name is new: it cannot be there before the first time. */
	int there = self->was_attached
			    ? xtables_has(xtables, self->hold.rule.words)
			    : 0;
	int err = there < 0 ? there : 0;

	if (there == 0)
		err = xtables_append(xtables, self->hold.rule.words);
	if (err)
		return complain(xtables, "keep connections tracked", err);
	return !there;
}

/*
 * The hold comes first: a rule left by a killed instance may be the only one
 * that keeps conntrack on, and is deleted next.
 */
static int attach_family(struct iptables_redirect *self, struct family *family)
{
	struct xtables *xtables = &family->xtables;
	int added = add_hold(self, xtables);
	int err = 0;

	if (added < 0) {
		/* Perhaps it is there, and only word of it did not come. */
		if (!self->was_attached)
			xtables_delete_all(xtables, self->hold.rule.words);
		return added;
	}
	if (family->may_be_there)
		err = xtables_delete_all(xtables, self->rule.words);
	family->may_be_there = true;
	if (!err)
		err = xtables_append(xtables, self->rule.words);
	if (!err)
		return 0;
	complain(xtables, "redirect", err);
	xtables_delete_all(xtables, self->rule.words);
	if (added)
		xtables_delete_all(xtables, self->hold.rule.words);
	return err;
}

/* Take the redirect away again from the first @count families. */
static void undo_attach(struct iptables_redirect *self, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct xtables *xtables = &self->families[i].xtables;
		int err = xtables_delete_all(xtables, self->rule.words);

		if (!err && !self->was_attached)
			err = xtables_delete_all(xtables,
						 self->hold.rule.words);
		if (err)
			complain(xtables, "take the redirect back", err);
	}
}

static int verify(const struct iptables_redirect *self, struct xtables *xtables)
{
	int there = xtables_has(xtables, self->rule.words);

	if (there > 0)
		return 0;
	return complain(xtables, "redirect", there < 0 ? there : -EIO);
}

static int iptables_attach(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);
	size_t attached = 0;
	int err = 0;

	while (!err && attached < self->family_count) {
		err = attach_family(self, &self->families[attached]);
		attached += !err;
	}
	/* Of our own changes. Another's until here is found by what follows. */
	rule_watch_forget(&self->watch);
	for (size_t i = 0; !err && i < attached; i++)
		err = verify(self, &self->families[i].xtables);
	if (err) {
		undo_attach(self, attached);
		return err;
	}
	self->was_attached = true;
	self->in_place = true;
	return 0;
}

/*
 * Somebody has changed rules: a firewall that was loaded again takes ours
 * along, and the validation that it is there for would fail. What fails here
 * is tried again at the next change. Our own makes us look again as well.
 */
static void put_back(struct iptables_redirect *self, struct family *family)
{
	struct xtables *xtables = &family->xtables;

	if (xtables_has(xtables, self->rule.words) != 0)
		return;
	log_warning("%s: somebody else has removed our rule: putting it back",
		    xtables->name);
	attach_family(self, family);
}

static int iptables_handle_event(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);

	if (!rule_watch_due(&self->watch) || !self->in_place)
		return 0;
	for (size_t i = 0; i < self->family_count; i++)
		put_back(self, &self->families[i]);
	return 0;
}

/* Where nobody told us of it: whoever wonders why a validation did not reach
 * the ACME client should find the reason. */
static void warn_if_gone(const struct iptables_redirect *self,
			 struct xtables *xtables)
{
	if (self->was_attached && xtables_has(xtables, self->rule.words) == 0)
		log_warning("%s: somebody else has removed our rule; new "
			    "connections went to the web server since",
			    xtables->name);
}

static int pause_family(struct iptables_redirect *self, struct xtables *xtables)
{
	int err = add_hold(self, xtables);

	if (err < 0)
		return err;
	warn_if_gone(self, xtables);
	err = xtables_delete_all(xtables, self->rule.words);
	if (!err) {
		int there = xtables_has(xtables, self->rule.words);

		err = there > 0 ? -EBUSY : there;
	}
	return err ? complain(xtables, "end the redirect", err) : 0;
}

/*
 * Each family is tried even if one fails: half a redirect left is better than
 * a whole one, and the caller hears of it.
 */
static int iptables_pause(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);
	int result = 0;

	self->in_place = false;
	for (size_t i = 0; i < self->family_count; i++) {
		int err = pause_family(self, &self->families[i].xtables);

		if (err && !result)
			result = err;
	}
	return result;
}

/* Nothing of it is in the way after the pause but the hold, which is inert. */
static void iptables_detach(struct redirect *redirect)
{
	(void)redirect;
}

/* Nobody comes after us: a want of processes or descriptors that passes must
 * not leave the rule behind. */
static int remove_own_hold(struct iptables_redirect *self,
			   struct xtables *xtables)
{
	int err;

	for (int attempt = 1;; attempt++) {
		err = conntrack_hold_remove(xtables, &self->hold.rule,
					    self->config->listen_port);
		if (!err || attempt == HOLD_ATTEMPTS)
			return err;
		poll(NULL, 0, HOLD_RETRY_MS);
	}
}

static void iptables_close(struct redirect *redirect)
{
	struct iptables_redirect *self = from_redirect(redirect);
	struct timespec left = CONNTRACK_HOLD_AFTER_CLOSE;

	while (self->was_attached && nanosleep(&left, &left) < 0) {
		if (errno != EINTR)
			break;
	}
	for (size_t i = 0; i < self->family_count && self->was_attached; i++) {
		struct xtables *xtables = &self->families[i].xtables;
		int err = remove_own_hold(self, xtables);

		if (err)
			complain(xtables, "delete the conntrack rule", err);
	}
	free_redirect(self);
}

static int remove_hold(struct xtables *xtables, const char *name,
		       uint16_t listen_port)
{
	struct rulespec rule;
	int err = conntrack_hold_rule(name, &rule);

	if (err)
		return err;
	err = conntrack_hold_remove(xtables, &rule, listen_port);
	rulespec_free(&rule);
	return err ? complain(xtables, "delete the conntrack rule", err) : 0;
}

/*
 * @rules is a dump from before; a hold that is gone by now does no harm. One
 * whose workers live on is what keeps their connections: it goes after them.
 */
static int remove_stale_holds(struct xtables *xtables, const char *rules,
			      uint16_t listen_port)
{
	char name[CONNTRACK_HOLD_NAME_SIZE];
	const char *cursor = NULL;
	int result = 0;

	while (rule_table_next_comment(rules, "PREROUTING",
				       CONNTRACK_HOLD_PREFIX, &cursor, name,
				       sizeof(name)) > 0) {
		int err = 0;

		switch (conntrack_hold_state(name)) {
		case CONNTRACK_HOLD_ABANDONED:
			err = remove_hold(xtables, name, listen_port);
			break;
		case CONNTRACK_HOLD_ORPHANED:
			hold_sweeper_start(name, listen_port);
			break;
		case CONNTRACK_HOLD_OWNED:
			break;
		}
		if (err && !result)
			result = err;
	}
	return result;
}

static int remove_family_leftovers(struct xtables *xtables,
				   const struct rulespec *rule,
				   uint16_t listen_port)
{
	cleanup_free char *rules = NULL;
	int holds, err;

	/* Not installed, or a host without this table: nothing can be left. */
	if (!xtables->path || xtables_list(xtables, "nat", &rules) ||
	    !strstr(rules, "-A PREROUTING "))
		return 0;

	err = xtables_delete_all(xtables, rule->words);
	/* A rule that this family cannot express is not in its table. */
	if (err == -EINVAL)
		err = 0;
	if (err)
		complain(xtables, "delete the rule of a killed instance", err);
	holds = remove_stale_holds(xtables, rules, listen_port);
	return err ? err : holds;
}

/* Both families, whatever is configured now: it may have been otherwise. */
static int iptables_remove_leftovers(const struct redirect_config *config)
{
	static const sa_family_t families[FAMILIES] = { AF_INET, AF_INET6 };
	struct rulespec rule;
	int result = make_rule(config, &rule);

	/* No instance can have run with a malformed one. */
	if (result)
		return result == -EINVAL ? 0 : result;

	for (size_t i = 0; i < FAMILIES; i++) {
		struct xtables xtables;
		int err;

		xtables_find(&xtables, families[i]);
		err = remove_family_leftovers(&xtables, &rule,
					      config->listen_port);
		xtables_release(&xtables);
		if (err && !result)
			result = err;
	}
	rulespec_free(&rule);
	return result;
}

static int iptables_event_fd(const struct redirect *redirect)
{
	return ((const struct iptables_redirect *)redirect)->watch.fd;
}

static int iptables_worker_fd(const struct redirect *redirect)
{
	return ((const struct iptables_redirect *)redirect)->hold.worker_socket;
}

const struct redirect_ops redirect_iptables = {
	.name = "iptables",
	.scope = LISTENER_ANY,
	.probe = iptables_probe,
	.open = iptables_open,
	.attach = iptables_attach,
	.pause = iptables_pause,
	.detach = iptables_detach,
	.close = iptables_close,
	.event_fd = iptables_event_fd,
	.handle_event = iptables_handle_event,
	.worker_fd = iptables_worker_fd,
	.remove_leftovers = iptables_remove_leftovers,
};
