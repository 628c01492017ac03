// SPDX-License-Identifier: MIT
#include "redirect/bpf/report.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "redirect/bpf/features.h"

int report_start(const struct steering *steering,
		 const struct attachments *attachments,
		 const struct redirect_config *config,
		 const struct listeners *listeners)
{
	const bool ipv4 = listeners->ipv4 >= 0;
	const bool ipv6 = listeners->ipv6 >= 0;
	char names[ATTACHMENTS_NAMES_SIZE];
	const size_t attached = attachments_name(attachments, names);

	if (!attached && attachments->count) {
		log_error("the eBPF program could not be attached to any "
			  "interface");
		return -ENODEV;
	}
	if (!attached) {
		log_warning("no interface fits yet%s: waiting for one",
			    config->interface_count ? " --interface" : "");
		return 0;
	}
	log_info("eBPF steers port %u to %s%s%s port %u: %s, %s%s%s%s, "
		 "kernel %s, %zu interfaces:%s",
		 config->service_port, ipv4 ? "127.0.0.1" : "",
		 ipv4 && ipv6 ? " and " : "", ipv6 ? "[::1]" : "",
		 config->listen_port, tc_way_text(attachments->way),
		 steering->pinned ? "conntrack pin" : "no conntrack pin (",
		 steering->pinned ? "" : steering->no_pin,
		 steering->pinned ? "" : ")",
		 config->past_firewall ? ", past the firewall" : "",
		 features_kernel_release(), attached, names);
	return 0;
}

static struct redirect_interface describe(const struct program *program,
					  const struct attachment *attachment)
{
	uint64_t packets[STEER_VERDICTS];
	struct redirect_interface interface;

	program_read(program, attachment->interface.ifindex, packets,
		     STEER_VERDICTS);
	interface = (struct redirect_interface){
		.ifindex = attachment->interface.ifindex,
		.steered = packets[STEER_STEERED],
		.cookies = packets[STEER_COOKIE],
		.not_local = packets[STEER_NOT_LOCAL],
		.not_steering = packets[STEER_NOT_STEERING],
		.existing_flow = packets[STEER_EXISTING_FLOW],
		.container_flow = packets[STEER_CONTAINER_FLOW],
		.unanswered = packets[STEER_UNANSWERED],
		.refused = packets[STEER_REFUSED],
	};
	strcpy(interface.name, attachment->interface.name);
	strcpy(interface.attached_by, tc_way_text(attachment->tc.way));
	return interface;
}

size_t report_interfaces(const struct attachments *attachments,
			 struct redirect_interface *items, size_t most)
{
	size_t attached = 0;

	for (size_t i = 0; i < attachments->count; i++) {
		if (!attachments->items[i].attached)
			continue;
		if (attached < most)
			items[attached] = describe(attachments->program,
						   &attachments->items[i]);
		attached++;
	}
	return attached;
}
