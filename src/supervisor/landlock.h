/* SPDX-License-Identifier: MIT */
/* What files, ports and processes this process can reach (landlock(7)). */
#ifndef SUPERVISOR_LANDLOCK_H
#define SUPERVISOR_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How much the kernel can forbid: each with what is before it. */
enum landlock_reach {
	LANDLOCKED_NOTHING,
	/* No file can be opened (5.13). */
	LANDLOCKED_FILES,
	/* Of TCP ports, none but @ports can be connected to, and none bound to,
	 * unless @own_sources: then one that the kernel chooses (6.7). */
	LANDLOCKED_PORTS,
	/* No other process can be sent a signal, nor, unless @unix_names, be
	 * reached by an abstract socket (6.12). */
	LANDLOCKED_PROCESSES,
};

/* Needs privileges_drop() before. Returns what is in force. */
enum landlock_reach landlock_restrict(const uint16_t *ports, size_t port_count,
				      bool unix_names, bool own_sources);

#endif
