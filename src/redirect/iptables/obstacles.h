/* SPDX-License-Identifier: MIT */
/* What a host can have that a rule of ours cannot be right beside. */
#ifndef REDIRECT_IPTABLES_OBSTACLES_H
#define REDIRECT_IPTABLES_OBSTACLES_H

#include <stdbool.h>
#include <stddef.h>

#include "redirect/redirect.h"
#include "redirect/rules/xtables.h"

/* Is there one that can be seen without iptables? Then negative errno, and why
 * in @reason; else 0. */
int obstacles_probe(const struct redirect_config *config, char *reason,
		    size_t size);

/*
 * @nat is the dump of the nat table of @xtables. Returns 0 or negative errno,
 * and logs why; a user who brings a rule may know better, and is only warned.
 * *@first: another rule takes the port, and ours has to come before it.
 */
int obstacles_check(const struct redirect_config *config,
		    struct xtables *xtables, const char *nat, bool *first);

/*
 * Do answers find their way back? A REDIRECT rule sends each packet to the
 * first address of the interface that it comes in on, and what answers is
 * routed as from there. So: is there, in IPv4, an interface with routes and
 * without an address, where the kernel drops what is redirected? Or a policy
 * rule that routes what comes from the service, by its port or by an address
 * that is not the first of its interface? Returns 1 with what it is in @what,
 * 0, or negative errno.
 */
int ways_obstacle(uint16_t service_port, char *what, size_t size);

#endif
