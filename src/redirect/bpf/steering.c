// SPDX-License-Identifier: MIT
#include "redirect/bpf/steering.h"

#include <bpf/bpf.h>

#include "steer.skel.h"

int steering_load(struct program *program, int lease_fd)
{
	struct program_image image = { .interfaces = "steer_interfaces",
				       .lease_fd = lease_fd };

	image.bytes = steer_image__elf_bytes(&image.size);
	return program_load(program, &image);
}

int steering_set_listeners(const struct program *program,
			   const struct listeners *listeners)
{
	const int map_fd = program_map_fd(program, "steer_listeners");
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
