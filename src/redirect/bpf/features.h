/* SPDX-License-Identifier: MIT */
/* What this kernel and this process can do for the TC redirect. */
#ifndef REDIRECT_BPF_FEATURES_H
#define REDIRECT_BPF_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Does the process hold the capabilities for loading and attaching? CAP_BPF,
 * CAP_PERFMON and CAP_NET_ADMIN, or CAP_SYS_ADMIN and the last. If not, those
 * missing are named in @missing.
 */
bool features_may_steer(char *missing, size_t size);

/*
 * May other network namespaces share devices of ours, link address and all?
 * Known by the modules that do it (ipvlan, macvlan); built into the kernel,
 * they are not seen.
 */
bool features_have_shared_devices(void);

/*
 * Let the process lock as much memory as its maps need: before 5.11 the kernel
 * counts them against RLIMIT_MEMLOCK. Returns 0 or negative errno: where it is
 * not allowed it may not be needed either.
 */
int features_raise_memlock(void);

/*
 * How far CLOCK_MONOTONIC is ahead of the clock that BPF programs read: not 0
 * in a time namespace (kernel 5.6) that has set it. Without /proc it is not
 * known, and 0.
 */
int64_t features_clock_offset_ns(void);

/* Can a BPF program read the clock as of the last tick (kernel 5.11), which
 * is cheaper? */
bool features_have_coarse_clock(void);

/* "6.1.0-18-amd64" */
const char *features_kernel_release(void);

#endif
