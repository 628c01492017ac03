/* SPDX-License-Identifier: MIT */
/* What is told of attached programs: at start, and when status asks. */
#ifndef REDIRECT_BPF_REPORT_H
#define REDIRECT_BPF_REPORT_H

#include <stddef.h>

#include "redirect/bpf/attachments.h"
#include "redirect/redirect.h"

/*
 * How many interfaces have the program, with " NAME" of each in @names; 0 if
 * none fits yet, which is logged, or -ENODEV (logged): none of those that fit
 * takes it.
 */
int report_attached(const struct attachments *attachments,
		    const struct redirect_config *config,
		    char names[static ATTACHMENTS_NAMES_SIZE]);

/* Fill in what @program has counted on that interface. */
typedef void (*report_reader)(const struct program *program,
			      struct redirect_interface *interface);

/* See ->interfaces of struct redirect_ops. */
size_t report_interfaces(const struct attachments *attachments,
			 report_reader reader, struct redirect_interface *items,
			 size_t most);

/* SYNs steered so far, on all interfaces. */
uint64_t report_steered(const struct attachments *attachments);

#endif
