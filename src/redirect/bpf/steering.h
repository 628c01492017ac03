/* SPDX-License-Identifier: MIT */
/* The steering program (bpf/steer.bpf.h): which of its two objects this host
 * takes, and the listeners that it steers to. */
#ifndef REDIRECT_BPF_STEERING_H
#define REDIRECT_BPF_STEERING_H

#include <stdbool.h>
#include <stdint.h>

#include "listen/listener.h"
#include "redirect/bpf/program.h"

/* How flows are kept from NAT; see bpf/steer.bpf.h. */
enum steering_pin {
	STEERING_NO_PIN,
	/* By an entry in conntrack. */
	STEERING_PIN,
	/* By an entry that INPUT rules take for an established flow. */
	STEERING_PIN_PAST_FIREWALL,
};

struct steering {
	struct program program;
	bool pinned;
	/* If not, why. */
	char no_pin[128];
};

/* Load the object that has @pin; @lease_fd as in struct program_image. Returns
 * as program_load(). */
int steering_load(struct steering *steering, enum steering_pin pin,
		  int lease_fd);
/* The same with @pin if that can be had, else without one. */
int steering_load_best(struct steering *steering, enum steering_pin pin,
		       int lease_fd);
/* Safe on zeros. */
void steering_unload(struct steering *steering);

/* Where flows are steered to; a family that is -1 is not steered. 0 or
 * negative errno. */
int steering_set_listeners(const struct steering *steering,
			   const struct listeners *listeners);

#endif
