// SPDX-License-Identifier: MIT
#include "redirect/bpf/report.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

int report_attached(const struct attachments *attachments,
		    const struct redirect_config *config,
		    char names[static ATTACHMENTS_NAMES_SIZE])
{
	const size_t attached = attachments_name(attachments, names);

	if (!attached && attachments->count) {
		log_error("the eBPF program could not be attached to any "
			  "interface");
		return -ENODEV;
	}
	if (!attached)
		log_warning("no interface fits yet%s: waiting for one",
			    config->interface_count ? " --interface" : "");
	return (int)attached;
}

size_t report_interfaces(const struct attachments *attachments,
			 report_reader reader, struct redirect_interface *items,
			 size_t most)
{
	size_t attached = 0;

	for (size_t i = 0; i < attachments->count; i++) {
		const struct attachment *attachment = &attachments->items[i];
		struct redirect_interface *item = &items[attached];

		if (!attachment->attached)
			continue;
		if (attached++ >= most)
			continue;
		*item = (struct redirect_interface){
			.ifindex = attachment->interface.ifindex,
		};
		strcpy(item->name, attachment->interface.name);
		strcpy(item->attached_by, tc_way_text(attachment->tc.way));
		reader(attachments->program, item);
	}
	return attached;
}

uint64_t report_steered(const struct attachments *attachments)
{
	uint64_t packets[STEER_VERDICTS];
	uint64_t steered = 0;

	for (size_t i = 0; i < attachments->count; i++) {
		program_read(attachments->program,
			     attachments->items[i].interface.ifindex, packets,
			     STEER_VERDICTS);
		steered += packets[STEER_STEERED];
	}
	return steered;
}
