// SPDX-License-Identifier: MIT
#include "redirect/bpf/program.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/caps.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

/* libbpf's messages help those who know libbpf; the others get our own. */
static int print(enum libbpf_print_level level, const char *format,
		 va_list arguments)
{
	char line[1024];
	char *rest = line;
	char *part;

	if (level == LIBBPF_DEBUG || log_settings.level < LOG_LEVEL_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), format, arguments);
	while ((part = strsep(&rest, "\n"))) {
		if (*part)
			log_debug("%s", part);
	}
	return 0;
}

void program_log_libbpf(void)
{
	libbpf_set_print(print);
}

/* CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, or CAP_SYS_ADMIN and the last. */
int program_may_load(char *reason, size_t size)
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
	char missing[64] = "";

	program_log_libbpf();
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (caps_have(needed[i].capability) ||
		    (sys_admin && needed[i].in_sys_admin))
			continue;
		strcat(missing, *missing ? ", " : "");
		strcat(missing, needed[i].name);
	}
	if (!*missing)
		return 0;
	snprintf(reason, size, "eBPF needs %s", missing);
	return -EPERM;
}

int program_raise_memlock(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	return setrlimit(RLIMIT_MEMLOCK, &unlimited) < 0 ? -errno : 0;
}

const char *program_kernel_release(void)
{
	static struct utsname name;

	return uname(&name) < 0 ? "unknown" : name.release;
}

void program_explain_refusal(int err, char *reason, size_t size)
{
	if (err == -EPERM)
		snprintf(reason, size,
			 "eBPF is forbidden here (a container, or a locked "
			 "down kernel%s)",
			 program_raise_memlock() < 0
				 ? "; before 5.11 also too little locked "
				   "memory: ulimit -l unlimited"
				 : "");
	else
		snprintf(reason, size,
			 "kernel %s does not take the eBPF program (%s): 5.10 "
			 "or newer is needed, with CONFIG_BPF_SYSCALL and "
			 "CONFIG_NET_CLS_ACT",
			 program_kernel_release(), error_text(err));
}

int program_map_fd(const struct program *program, const char *name)
{
	return bpf_object__find_map_fd_by_name(program->object, name);
}

/*
 * How far CLOCK_MONOTONIC is ahead of the clock that BPF programs read: not 0
 * in a time namespace (kernel 5.6) that has set it. Without /proc it is not
 * known, and 0.
 */
static int64_t clock_offset_ns(void)
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

/* Can a program read the clock as of the last tick (kernel 5.11), which is
 * cheaper? */
static bool have_coarse_clock(void)
{
	return libbpf_probe_bpf_helper(BPF_PROG_TYPE_SCHED_CLS,
				       BPF_FUNC_ktime_get_coarse_ns, NULL) == 1;
}

/* Before the program is loaded, so that the verifier sees a constant. */
static int configure(const struct program *program)
{
	const struct program_config config = {
		.clock_offset_ns = clock_offset_ns(),
		.coarse_clock = have_coarse_clock(),
	};

	return bpf_map__set_initial_value(
		bpf_object__find_map_by_name(program->object, ".rodata.config"),
		&config, sizeof(config));
}

/*
 * A mapping of our own: libbpf maps this memory only for skeletons. It is the
 * one page of the program that lives on in the worker.
 */
static int map_lease(struct program *program)
{
	void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE),
			  PROT_READ | PROT_WRITE, MAP_SHARED, program->lease_fd,
			  0);

	if (page == MAP_FAILED)
		return -errno;
	program->lease = page;
	return 0;
}

static int identify(struct program *program, const struct program_image *image)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);
	int err;

	program->fd = bpf_program__fd(bpf_object__find_program_by_name(
		program->object, image->program));
	program->switch_fd = program_map_fd(program, ".data.supervisor");
	program->destinations_fd = program_map_fd(program, "destinations");
	program->lease_fd = program_map_fd(program, ".bss");
	err = bpf_obj_get_info_by_fd(program->fd, &info, &size);
	program->id = info.id;
	return err;
}

static int share_lease(const struct program *program, int lease_fd)
{
	return lease_fd ? bpf_map__reuse_fd(bpf_object__find_map_by_name(
						    program->object, ".bss"),
					    lease_fd)
			: 0;
}

int program_load(struct program *program, const struct program_image *image)
{
	LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "acme_alpn");
	int err;

	/* Where it is not allowed it may not be needed either. */
	program_raise_memlock();
	*program = (struct program){
		.object = bpf_object__open_mem(image->bytes, image->size,
					       &options),
	};
	if (!program->object)
		return -errno;
	program->interfaces = bpf_object__find_map_by_name(program->object,
							   image->interfaces);
	err = configure(program);
	if (!err)
		err = share_lease(program, image->lease_fd);
	if (!err && image->kept_flights)
		err = bpf_map__set_max_entries(
			bpf_object__find_map_by_name(program->object,
						     "kept_flights"),
			image->kept_flights);
	if (!err)
		err = bpf_object__load(program->object);
	if (!err)
		err = identify(program, image);
	if (!err)
		err = map_lease(program);
	if (err)
		program_unload(program);
	return err;
}

void program_unload(struct program *program)
{
	if (program->lease)
		munmap((void *)program->lease, (size_t)sysconf(_SC_PAGESIZE));
	bpf_object__close(program->object);
	*program = (struct program){ .object = NULL };
}

int program_switch(const struct program *program,
		   const struct program_switch *wanted)
{
	const uint32_t key = 0;
	struct program_switch now;
	int err;

	err = bpf_map_update_elem(program->switch_fd, &key, wanted, BPF_ANY);
	if (!err)
		err = bpf_map_lookup_elem(program->switch_fd, &key, &now);
	if (!err && memcmp(&now, wanted, sizeof(now)) != 0)
		err = -EIO;
	return err;
}

/* Room for the map's values of all CPUs, all zeros; NULL without memory. */
static char *new_values(const struct program *program, size_t *cpus)
{
	const int possible = libbpf_num_possible_cpus();

	if (possible < 1)
		return NULL;
	*cpus = (size_t)possible;
	return calloc(*cpus, bpf_map__value_size(program->interfaces));
}

void program_count(const struct program *program, unsigned int ifindex)
{
	size_t cpus;
	char *zeros = new_values(program, &cpus);

	if (zeros)
		bpf_map_update_elem(bpf_map__fd(program->interfaces), &ifindex,
				    zeros, BPF_ANY);
	free(zeros);
}

void program_forget(const struct program *program, unsigned int ifindex)
{
	bpf_map_delete_elem(bpf_map__fd(program->interfaces), &ifindex);
}

void program_read(const struct program *program, unsigned int ifindex,
		  uint64_t *totals, size_t count)
{
	const size_t size = bpf_map__value_size(program->interfaces);
	size_t cpus = 0;
	char *values = new_values(program, &cpus);
	uint64_t number;

	memset(totals, 0, count * sizeof(*totals));
	if (!values || bpf_map_lookup_elem(bpf_map__fd(program->interfaces),
					   &ifindex, values))
		cpus = 0;
	for (size_t cpu = 0; cpu < cpus; cpu++) {
		for (size_t i = 0; i < count; i++) {
			memcpy(&number,
			       values + cpu * size + i * sizeof(number),
			       sizeof(number));
			totals[i] += number;
		}
	}
	free(values);
}
