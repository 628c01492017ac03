/* SPDX-License-Identifier: MIT */
/* What is told of the steering: at the start, and when status asks. */
#ifndef REDIRECT_BPF_REPORT_H
#define REDIRECT_BPF_REPORT_H

#include <stddef.h>

#include "redirect/bpf/attachments.h"
#include "redirect/bpf/steering.h"
#include "redirect/redirect.h"

/* Log in one line what was found here and is used. 0, or -ENODEV: none of the
 * interfaces that fit takes the program. */
int report_start(const struct steering *steering,
		 const struct attachments *attachments,
		 const struct redirect_config *config,
		 const struct listeners *listeners);

/* See ->interfaces of struct redirect_ops. */
size_t report_interfaces(const struct attachments *attachments,
			 struct redirect_interface *items, size_t most);

#endif
