/* SPDX-License-Identifier: MIT */
/* Repair what an instance left behind that was killed. */
#ifndef INSTANCE_RECOVERY_H
#define INSTANCE_RECOVERY_H

#include <stdbool.h>

#include "instance/pidfile.h"
#include "instance/record_file.h"
#include "redirect/redirect.h"

struct recovery {
	/* Acquired, so that nobody lives whom this could hurt. */
	const struct pidfile *pidfile;
	/* What to look for where no state file tells (an earlier release, or
	 * nothing had been made); no rules unless @with_rules: then they are
	 * the user's own. */
	const struct redirect_config *config;
	bool with_rules;
	/* A state file that cannot be followed is set aside, not left. */
	bool set_aside;
	/* For the workers to leave the listen port. */
	unsigned int timeout_ms;
};

/*
 * Remove rules and filters that a killed instance left, as its state file says
 * (record_file.h), in the network namespace where it made them; then tell its
 * workers to drain. Returns when they have left the listen port. If its state
 * file cannot be followed and workers of it live, nothing is touched. Returns
 * 0, or negative errno if something was not, or may not have been, removed
 * (logged).
 */
int recover(const struct recovery *recovery);

/*
 * Undo what the state file tells of this process's own making, and remove it.
 * 0 or negative errno (logged); then the file stays.
 */
int recovery_undo(const struct record_file *file);

#endif
