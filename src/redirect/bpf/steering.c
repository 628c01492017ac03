// SPDX-License-Identifier: MIT
#include "redirect/bpf/steering.h"

#include <bpf/bpf.h>
#include <linux/inet_diag.h>
#include <netinet/in.h>
#include <string.h>

#include "listen/latecomers.h"
#include "steer.skel.h"

int steering_load(struct program *program, int lease_fd)
{
	struct program_image image = { .program = "acme_alpn_steer",
				       .interfaces = "steer_interfaces",
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

struct question {
	int program_fd;
	uint16_t listen_port;
};

/* The web server's handshakes have the same port. Whose each is, the kernel
 * tells only a program. */
static bool was_steered(const struct inet_diag_msg *handshake, void *context)
{
	const struct question *question = context;
	const struct inet_diag_sockid *id = &handshake->id;
	const bool ipv4 = handshake->idiag_family == AF_INET;
	struct __sk_buff device = { .ifindex = id->idiag_if };
	struct {
		uint8_t ethernet[STEER_NAME_AT];
		struct bpf_sock_tuple name;
	} frame = { .ethernet = { 0 } };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = &frame);

	if (ipv4) {
		frame.name.ipv4.saddr = id->idiag_dst[0];
		frame.name.ipv4.daddr = id->idiag_src[0];
		frame.name.ipv4.sport = id->idiag_dport;
		frame.name.ipv4.dport = id->idiag_sport;
	} else {
		memcpy(frame.name.ipv6.saddr, id->idiag_dst,
		       sizeof(frame.name.ipv6.saddr));
		memcpy(frame.name.ipv6.daddr, id->idiag_src,
		       sizeof(frame.name.ipv6.daddr));
		frame.name.ipv6.sport = id->idiag_dport;
		frame.name.ipv6.dport = id->idiag_sport;
	}
	run.data_size_in = STEER_NAME_AT + (ipv4 ? sizeof(frame.name.ipv4)
						 : sizeof(frame.name.ipv6));
	/* That of a link-local address, or a VRF. */
	if (device.ifindex) {
		run.ctx_in = &device;
		run.ctx_size_in = sizeof(device);
	}
	return bpf_prog_test_run_opts(question->program_fd, &run) == 0 &&
	       run.retval == question->listen_port;
}

bool steering_has_latecomers(const struct program *program,
			     const struct redirect_config *config)
{
	struct question question = {
		.program_fd = bpf_program__fd(bpf_object__find_program_by_name(
			program->object, "acme_alpn_whose")),
		.listen_port = config->listen_port,
	};

	return latecomers_exist(config->service_port, was_steered, &question);
}
