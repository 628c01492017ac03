/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What a program is told from outside: by the loader once, by the supervisor
 * and the worker while it runs.
 */
#ifndef CONTROL_BPF_H
#define CONTROL_BPF_H

#include "vmlinux/vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/shared.h"

/* Set by the loader before the program is loaded, fixed from then on. */
const volatile struct program_config config SEC(".rodata.config");

/* Two switches, one writer each: this one is the supervisor's. */
volatile struct program_switch program_switch SEC(".data.supervisor");

/*
 * And this one the unprivileged worker's, which has this page mapped and
 * nothing else: the program acts only until then (CLOCK_MONOTONIC). A worker
 * that is dead, stopped or hung gives the port back by that. What else a
 * program keeps in variables goes to a section of its own.
 */
volatile __u64 lease_until;

/* CLOCK_MONOTONIC; to the tick will do. */
static __always_inline __u64 clock_ns(void)
{
	__u64 now = config.coarse_clock ? bpf_ktime_get_coarse_ns()
					: bpf_ktime_get_ns();

	return now + (__u64)config.clock_offset_ns;
}

#endif
