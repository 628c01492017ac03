// SPDX-License-Identifier: MIT
#include "redirect/bpf/steering.h"

#include <bpf/bpf.h>
#include <stdio.h>

#include "base/log.h"
#include "redirect/bpf/features.h"
#include "steer_conntrack.skel.h"
#include "steer_plain.skel.h"

int steering_load(struct steering *steering, enum steering_pin pin,
		  int lease_fd)
{
	const struct program_config config = {
		.past_firewall = pin == STEERING_PIN_PAST_FIREWALL,
	};
	struct program_image image = { .interfaces = "steer_interfaces",
				       .lease_fd = lease_fd };

	image.bytes = pin == STEERING_NO_PIN
			      ? steer_plain_image__elf_bytes(&image.size)
			      : steer_conntrack_image__elf_bytes(&image.size);
	steering->pinned = pin != STEERING_NO_PIN;
	return program_load(&steering->program, &image, config);
}

int steering_load_best(struct steering *steering, enum steering_pin pin,
		       int lease_fd)
{
	int err;

	if (features_may_use_conntrack(steering->no_pin,
				       sizeof(steering->no_pin))) {
		err = steering_load(steering, pin, lease_fd);
		if (!err)
			return 0;
		snprintf(steering->no_pin, sizeof(steering->no_pin),
			 "kernel %s: %s", features_kernel_release(),
			 error_text(err));
	}
	return steering_load(steering, STEERING_NO_PIN, lease_fd);
}

void steering_unload(struct steering *steering)
{
	program_unload(&steering->program);
}

int steering_set_listeners(const struct steering *steering,
			   const struct listeners *listeners)
{
	const int map_fd =
		program_map_fd(&steering->program, "steer_listeners");
	const int fds[STEER_LISTENERS] = {
		[STEER_LISTENER_IPV4] = listeners->ipv4,
		[STEER_LISTENER_IPV6] = listeners->ipv6,
	};
	int err;

	for (uint32_t key = 0; key < STEER_LISTENERS; key++) {
		const uint64_t value = (uint64_t)fds[key];

		if (fds[key] < 0) {
			/* There may be none to delete. */
			bpf_map_delete_elem(map_fd, &key);
			continue;
		}
		err = bpf_map_update_elem(map_fd, &key, &value, BPF_ANY);
		if (err)
			return err;
	}
	return 0;
}
