/* SPDX-License-Identifier: MIT */
/*
 * This host's destinations, told to a program where the kernel does not tell it
 * for certain whether a packet ends here.
 */
#ifndef REDIRECT_BPF_DESTINATIONS_H
#define REDIRECT_BPF_DESTINATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "redirect/bpf/program.h"

struct destinations {
	/* As in struct program_switch. */
	bool shared_devices;
	bool marked_rules;
	/* Notifications of routes and policy rules. A router gets some at
	 * every moment: they wait for our turn, and do not wake us. */
	int watch_fd;
	/* The number of the last list. */
	uint32_t round;
};

#define DESTINATIONS_NONE ((struct destinations){ .watch_fd = -1 })

/* Begin to watch. 0 or negative errno, which is logged. */
int destinations_open(struct destinations *self);
/* Safe on DESTINATIONS_NONE and twice. */
void destinations_close(struct destinations *self);

/* Has anything changed since the last call? 1, 0 or negative errno. */
int destinations_changed(const struct destinations *self);

/*
 * Look at what the list is needed for, and bring @program's up to date if it
 * is. Returns 1 if the switch is to be set anew, 0, or negative errno, which is
 * logged.
 */
int destinations_follow(struct destinations *self,
			const struct program *program);

/* Bring @program's list up to date, needed or not. 0 or negative errno. */
int destinations_list(struct destinations *self, const struct program *program);

#endif
