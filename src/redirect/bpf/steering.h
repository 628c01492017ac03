/* SPDX-License-Identifier: MIT */
/*
 * The steering program (bpf/steer.bpf.h) in the kernel: loaded, switched,
 * given its listeners, asked for its counts. It does not know where it is
 * attached.
 */
#ifndef REDIRECT_BPF_STEERING_H
#define REDIRECT_BPF_STEERING_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "listen/listener.h"

#include <linux/types.h>
#include "bpf/shared.h"

/* How flows are kept from NAT; see bpf/steer.bpf.h. */
enum steering_pin {
	STEERING_NO_PIN,
	/* By an entry in conntrack. */
	STEERING_PIN,
	/* By one that walks past the INPUT rules, too. */
	STEERING_PIN_PAST_FIREWALL,
};

struct steering {
	struct bpf_object *object;
	int program_fd;
	uint32_t program_id;
	int listeners_fd;
	int switch_fd;
	int interfaces_fd;
	int destinations_fd;
	/* Of steering_list_destinations(). */
	uint32_t round;
	/* The page that the worker keeps, see struct redirect_ops. */
	volatile uint64_t *lease;
};

/*
 * Load the program, switched off. Returns 0 or negative errno; -EPERM and
 * others as the kernel says, nothing stays then.
 */
int steering_load(struct steering *steering, uint16_t service_port,
		  enum steering_pin pin);
/* Safe on zeros. */
void steering_unload(struct steering *steering);

/* Where flows are steered to; a family that is -1 is not steered. 0 or
 * negative errno. */
int steering_set_listeners(const struct steering *steering,
			   const struct listeners *listeners);

/* Set the supervisor's switch, and read back that it is so. 0 or negative
 * errno. */
int steering_switch(const struct steering *steering,
		    const struct program_switch *wanted);

/* Bring the program's list of this host's destinations (routes.h) up to date.
 * 0 or negative errno. */
int steering_list_destinations(struct steering *steering);

/* Begin to count packets of @ifindex, from zero, and end it. Too many
 * interfaces is no error: then it is not counted. */
void steering_count(const struct steering *steering, unsigned int ifindex);
void steering_forget(const struct steering *steering, unsigned int ifindex);

/* What was counted on @ifindex, summed over CPUs; zeros if nothing was. */
struct steer_counters steering_read(const struct steering *steering,
				    unsigned int ifindex);

#endif
