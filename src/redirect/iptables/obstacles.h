/* SPDX-License-Identifier: MIT */
/* What a host can have that a rule of ours cannot be right beside. */
#ifndef REDIRECT_IPTABLES_OBSTACLES_H
#define REDIRECT_IPTABLES_OBSTACLES_H

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
 */
int obstacles_check(const struct redirect_config *config,
		    struct xtables *xtables, const char *nat);

#endif
