// SPDX-License-Identifier: MIT
#include "supervisor/confinement.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "supervisor/landlock.h"
#include "supervisor/privileges.h"
#include "supervisor/seccomp.h"

/*
 * A folder that was removed is empty for good: nothing can be made in it, not
 * even by its owner.
 */
static bool enter_removed_root(void)
{
	static const char *const parents[] = { "/run", "/tmp", "/var/tmp",
					       "/dev/shm" };

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/acme-alpn-proxy-XXXXXX",
			 parents[i]);
		if (!mkdtemp(path))
			continue;
		if (chdir(path) < 0) {
			rmdir(path);
			continue;
		}
		return rmdir(path) == 0 && chroot(".") == 0;
	}
	return false;
}

int confine(const struct confinement_settings *settings)
{
	static const unsigned int landlock_bits[] = {
		[LANDLOCKED_FILES] = CONFINED_FILES,
		[LANDLOCKED_PORTS] = CONFINED_FILES | CONFINED_PORTS,
		[LANDLOCKED_PROCESSES] = CONFINED_FILES | CONFINED_PORTS |
					 CONFINED_PROCESSES,
	};
	unsigned int in_force = 0;
	int err;

	/* A socket's folder may be another one when its server restarts, so
	 * that none can be held on to: only from the root it is found. */
	if (geteuid() == 0 && !settings->unix_paths && enter_removed_root())
		in_force |= CONFINED_ROOT;
	privileges_limit_resources();
	err = privileges_drop(settings->uid, settings->gid);
	if (err)
		return err;
	in_force |= CONFINED_USER | CONFINED_CAPABILITIES;
	in_force |= landlock_bits[landlock_restrict(
		settings->ports, settings->port_count, settings->unix_names,
		settings->own_sources)];
	if (seccomp_restrict(settings->unix_paths || settings->unix_names,
			     settings->own_sources))
		in_force |= CONFINED_CALLS;
	return (int)in_force;
}

const char *confinement_name(unsigned int bits)
{
	static const char *const names[] = {
		"user",	 "capabilities", "root",      "files",
		"ports", "calls",	 "processes",
	};

	_Static_assert(CONFINED_BY_ALL == (1 << ARRAY_SIZE(names)) - 1,
		       "each has its name");
	const unsigned int bit = (unsigned int)__builtin_ffs((int)bits) - 1;

	return bit < ARRAY_SIZE(names) ? names[bit] : "";
}
