// SPDX-License-Identifier: MIT
#include "redirect/bpf/features.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/clock.h"
#include "base/memory.h"

bool features_may_steer(char *missing, size_t size)
{
	static const struct {
		int capability;
		const char *name;
		/* CAP_SYS_ADMIN was all of these before 5.8, and still is. */
		bool in_sys_admin;
	} needed[] = {
		{ CAP_BPF, "CAP_BPF", true },
		{ CAP_PERFMON, "CAP_PERFMON", true },
		{ CAP_NET_ADMIN, "CAP_NET_ADMIN", false },
	};
	const bool sys_admin = caps_have(CAP_SYS_ADMIN);
	size_t length = 0;

	missing[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (caps_have(needed[i].capability) ||
		    (sys_admin && needed[i].in_sys_admin))
			continue;
		length += (size_t)snprintf(
			missing + length, length < size ? size - length : 0,
			"%s%s", length ? ", " : "", needed[i].name);
	}
	return length == 0;
}

bool features_have_shared_devices(void)
{
	return access("/sys/module/ipvlan", F_OK) == 0 ||
	       access("/sys/module/macvlan", F_OK) == 0;
}

int features_raise_memlock(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	return setrlimit(RLIMIT_MEMLOCK, &unlimited) < 0 ? -errno : 0;
}

int64_t features_clock_offset_ns(void)
{
	FILE *file = fopen("/proc/self/timens_offsets", "re");
	long long seconds = 0;
	long long nanoseconds = 0;

	if (!file)
		return 0;
	/* Written by the kernel; the first line is this clock's. */
	if (fscanf(file, "monotonic %lld %lld", &seconds, &nanoseconds) != 2)
		seconds = nanoseconds = 0;
	fclose(file);
	return seconds * (int64_t)NS_PER_S + nanoseconds;
}

bool features_have_coarse_clock(void)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS,
				       BPF_FUNC_ktime_get_coarse_ns, NULL) == 1;
}

const char *features_kernel_release(void)
{
	static struct utsname name;

	return uname(&name) < 0 ? "unknown" : name.release;
}
