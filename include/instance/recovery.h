/* SPDX-License-Identifier: MIT */
/* Repair what an instance left behind that was killed. */
#ifndef INSTANCE_RECOVERY_H
#define INSTANCE_RECOVERY_H

#include "instance/pidfile.h"
#include "redirect/redirect.h"

/*
 * Remove rules and filters that a killed instance with the same ports left
 * (unless !@with_rules: then they are the user's own), and tell its workers
 * to drain; returns when they have left the listen port, at the latest after
 * @timeout_ms. Needs the pidfile acquired, so that nobody lives
 * whom this could hurt. Returns 0, or negative errno if something could not be
 * removed (logged).
 */
int recover(const struct redirect_config *config, const struct pidfile *pidfile,
	    bool with_rules, unsigned int timeout_ms);

#endif
