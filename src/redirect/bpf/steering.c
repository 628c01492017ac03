// SPDX-License-Identifier: MIT
#include "redirect/bpf/steering.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdio.h>

#include "base/log.h"
#include "redirect/bpf/features.h"
#include "steer_conntrack.skel.h"
#include "steer_plain.skel.h"

int steering_load(struct steering *steering, uint16_t service_port,
		  enum steering_pin pin)
{
	const struct program_config config = {
		.service_port = htons(service_port),
		.past_firewall = pin == STEERING_PIN_PAST_FIREWALL,
	};
	const void *image;
	size_t size;

	image = pin == STEERING_NO_PIN ? steer_plain_image__elf_bytes(&size)
				       : steer_conntrack_image__elf_bytes(&size);
	steering->pinned = pin != STEERING_NO_PIN;
	return program_load(&steering->program, image, size, "steer_interfaces",
			    config);
}

int steering_load_best(struct steering *steering, uint16_t service_port,
		       enum steering_pin pin)
{
	int err;

	if (features_may_use_conntrack(steering->no_pin,
				       sizeof(steering->no_pin))) {
		err = steering_load(steering, service_port, pin);
		if (!err)
			return 0;
		snprintf(steering->no_pin, sizeof(steering->no_pin),
			 "kernel %s: %s", features_kernel_release(),
			 error_text(err));
	}
	return steering_load(steering, service_port, STEERING_NO_PIN);
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
