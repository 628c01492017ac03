// SPDX-License-Identifier: MIT
#include "redirect/bpf/targets.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/memory.h"
#include "base/netlink.h"
#include "redirect/rules/conntrack_message.h"
#include "redirect/rules/nat_rules.h"

static bool is_own(const struct rule_question *question,
		   const struct in6_addr *address)
{
	return IN6_IS_ADDR_UNSPECIFIED(address) ||
	       address_is_loopback(address) ||
	       address_is_among(address, question->addresses,
				question->address_count);
}

struct entries {
	const struct rule_question *question;
	struct nat_targets *targets;
};

static int read_entry(const struct nlmsghdr *message, void *context)
{
	const struct entries *entries = context;
	const struct rtattr *original =
		conntrack_attribute(message, CTA_TUPLE_ORIG);
	const struct rtattr *reply =
		conntrack_attribute(message, CTA_TUPLE_REPLY);
	const struct in6_addr destination = conntrack_destination(original);
	const struct nat_target target = {
		.address = conntrack_source(reply),
		.port = conntrack_port(reply, CTA_PROTO_SRC_PORT),
	};
	const struct nat_target asked = {
		.address = destination,
		.port = entries->question->port,
	};

	if (conntrack_is_tcp(original) &&
	    conntrack_port(original, CTA_PROTO_DST_PORT) == asked.port &&
	    is_own(entries->question, &destination) && target.port &&
	    !nat_target_is(&target, &asked))
		nat_targets_add(entries->targets, &target);
	return 0;
}

static void read_conntrack(const struct rule_question *question,
			   struct nat_targets *targets)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };

	struct entries entries = { question, targets };

	targets->count = 0;
	/* Asked for, it would be loaded. */
	if (access("/proc/sys/net/netfilter/nf_conntrack_max", F_OK) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		const struct nfgenmsg wanted = {
			.nfgen_family = (uint8_t)families[i],
			.version = NFNETLINK_V0,
		};

		netlink_dump(NETLINK_NETFILTER,
			     CONNTRACK_MESSAGE(IPCTNL_MSG_CT_GET), &wanted,
			     sizeof(wanted), read_entry, &entries);
	}
}

/* Also in order: what rules name comes before what conntrack alone knows. */
static bool differ(const struct nat_targets *before,
		   const struct nat_targets *now)
{
	bool different = before->count != now->count;

	for (size_t i = 0; i < now->count && !different; i++)
		different = !nat_target_is(&before->items[i], &now->items[i]);
	return different;
}

static bool sort_out(struct targets *self, const struct rule_question *question,
		     const struct nat_targets *found, size_t by_rules)
{
	const struct targets before = *self;

	self->own.count = self->others.count = 0;
	self->published = 0;
	for (size_t i = 0; i < found->count; i++) {
		const struct nat_target *target = &found->items[i];

		if (is_own(question, &target->address))
			nat_targets_add(&self->own, target);
		else
			nat_targets_add(&self->others, target);
		if (i < by_rules)
			self->published = self->others.count;
	}
	return before.published != self->published ||
	       differ(&before.own, &self->own) ||
	       differ(&before.others, &self->others);
}

static void add_translation(struct targets *self,
			    const struct in6_addr *address, uint16_t port)
{
	struct handoff_translation *next =
		&self->translations[self->translation_count];

	if (self->translation_count == HANDOFF_TRANSLATIONS)
		return;
	*next = (struct handoff_translation){ .port = htons(port) };
	memcpy(&next->address, address, sizeof(next->address));
	self->translation_count++;
}

/* The packet's own address, and the one that a redirect puts in its place: the
 * first of the interface it comes in on. */
static void add_redirect(struct targets *self,
			 const struct rule_question *question, uint16_t port)
{
	add_translation(self, &in6addr_any, port);
	for (size_t i = 0; i < question->address_count; i++)
		add_translation(self, &question->addresses[i], port);
}

static void translate(struct targets *self,
		      const struct rule_question *question)
{
	self->translation_count = 0;
	/* Exact ones first: there is not room for all that may be. */
	for (size_t i = 0; i < self->own.count; i++) {
		const struct nat_target *own = &self->own.items[i];

		if (!IN6_IS_ADDR_UNSPECIFIED(&own->address))
			add_translation(self, &own->address, own->port);
	}
	for (size_t i = 0; i < self->own.count; i++) {
		const struct nat_target *own = &self->own.items[i];

		if (IN6_IS_ADDR_UNSPECIFIED(&own->address))
			add_redirect(self, question, own->port);
	}
}

bool targets_look(struct targets *self, uint16_t service_port,
		  uint16_t own_port, bool changed, bool ask_conntrack)
{
	struct nat_targets found = { .count = 0 };
	struct rule_question question;
	size_t by_rules;

	if (!rule_watch_is_due(&self->rules, changed || ask_conntrack))
		return false;
	question = question_about(service_port, own_port);
	nat_rules_read(&question, &found);
	by_rules = found.count;
	if (ask_conntrack)
		read_conntrack(&question, &self->known);
	for (size_t i = 0; i < self->known.count; i++)
		nat_targets_add(&found, &self->known.items[i]);
	changed = sort_out(self, &question, &found, by_rules);
	if (changed)
		translate(self, &question);
	free(question.addresses);
	rule_watch_looked(&self->rules);
	return changed;
}
