// SPDX-License-Identifier: MIT
#include "redirect/bpf/published_watch.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "redirect/host.h"

/* Asking for NAT rules starts programs: not for each of a thousand events. */
#define INTERVAL_NS (500 * NS_PER_MS)

int published_watch_check(const struct steering *steering,
			  const struct redirect_config *config)
{
	char rule[RULE_TEXT_SIZE];

	if (steering->pinned)
		return 0;
	if (config->past_firewall) {
		log_error("--past-firewall needs the conntrack pin, which "
			  "cannot be had here: %s",
			  steering->no_pin);
		return -EOPNOTSUPP;
	}
	if (!published_find(config->service_port, config->listen_port, rule))
		return 0;
	log_error("port %u is published by a NAT rule (%s), which takes new "
		  "connections away from a program at TC ingress; keeping them "
		  "needs kernel 6.0 with BTF, nf_conntrack and CAP_SYS_ADMIN: "
		  "without it, only another kind of challenge will do",
		  config->service_port, rule);
	return -EOPNOTSUPP;
}

/*
 * In front of a container the firewall need not accept the port, because what
 * is forwarded does not pass its INPUT rules. What is steered does.
 */
void published_watch_warn(const struct redirect_config *config)
{
	char published[RULE_TEXT_SIZE];
	char rule[RULE_TEXT_SIZE];

	if (config->past_firewall ||
	    input_firewall_drops(config->service_port, config->ipv6, rule) <=
		    0 ||
	    !published_find(config->service_port, config->listen_port,
			    published))
		return;
	log_warning("the firewall accepts port %u for a container alone (%s): "
		    "what is steered is dropped, and the container gets each "
		    "connection a second late; use --past-firewall",
		    config->service_port, rule);
}

/*
 * A container engine that starts after us: its rules come with interfaces, be
 * it a moment after the last of them, so that one look more follows. Until we
 * look, the program lets a visitor wait for no more than the second SYN
 * (STEER_UNANSWERED).
 */
bool published_watch_look(struct published_watch *watch,
			  const struct steering *steering,
			  const struct redirect_config *config, bool changed)
{
	const uint16_t service_port = config->service_port;
	const uint64_t now = monotonic_ns();
	char rule[RULE_TEXT_SIZE];
	bool published;

	watch->look |= changed;
	if (steering->pinned || !watch->look ||
	    now - watch->looked_ns < INTERVAL_NS)
		return false;
	watch->looked_ns = now;
	watch->look = changed;
	published = published_find(service_port, config->listen_port, rule);
	if (published == watch->published)
		return false;
	watch->published = published;
	if (published)
		log_warning("port %u is published by a NAT rule now (%s): "
			    "steering stops until it is gone",
			    service_port, rule);
	else
		log_info("no NAT rule publishes port %u any more: steering",
			 service_port);
	return true;
}
