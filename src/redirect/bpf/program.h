/* SPDX-License-Identifier: MIT */
/*
 * A program of ours in the kernel, as far as all of them are alike: loaded,
 * switched, told of interfaces (bpf/control.bpf.h, bpf/host.bpf.h). It does not
 * know where it is attached.
 */
#ifndef REDIRECT_BPF_PROGRAM_H
#define REDIRECT_BPF_PROGRAM_H

#include <bpf/libbpf.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>
#include "bpf/shared.h"

struct program {
	struct bpf_object *object;
	int fd;
	uint32_t id;
	int switch_fd;
	int destinations_fd;
	/* By ifindex, and for each CPU: what the program counts. */
	struct bpf_map *interfaces;
	/* The page that the worker keeps, see struct redirect_ops; the map
	 * behind it. */
	volatile uint64_t *lease;
	int lease_fd;
};

/* From here on libbpf's messages go to our log, as those of level debug. */
void program_log_libbpf(void);

/* The same, and: may this process load programs at all? 0, or -EPERM with what
 * is missing in @reason. */
int program_may_load(char *reason, size_t size);
/* Why program_load() failed with @err, in one line. */
void program_explain_refusal(int err, char *reason, size_t size);

/*
 * Let the process lock as much memory as its maps need: before 5.11 the kernel
 * counts them against RLIMIT_MEMLOCK. 0 or negative errno: where it is not
 * allowed it may not be needed either.
 */
int program_raise_memlock(void);

/* "6.1.0-18-amd64" */
const char *program_kernel_release(void);

struct program_image {
	/* The object's ELF image. */
	const void *bytes;
	size_t size;
	/* The name of the program that is attached. */
	const char *program;
	/* The name of its map of interfaces. */
	const char *interfaces;
	/* Of another program that is under the same lease; 0 for a lease of its
	 * own. */
	int lease_fd;
	/* So many first flights are kept at a time; 0: as many as the object
	 * says. */
	uint32_t kept_flights;
};

/*
 * Load an object, with the program in it switched off. Returns 0 or
 * negative errno; -EPERM and others as the kernel says, nothing stays then.
 */
int program_load(struct program *program, const struct program_image *image);
/* Safe on zeros. */
void program_unload(struct program *program);

/* The descriptor of the object's map called @name. */
int program_map_fd(const struct program *program, const char *name);

/* Set the supervisor's switch, and read back that it is so. 0 or negative
 * errno. */
int program_switch(const struct program *program,
		   const struct program_switch *wanted);

/* Begin to count packets of @ifindex, from zero, and end it. Too many
 * interfaces is no error: then it is not counted. */
void program_count(const struct program *program, unsigned int ifindex);
void program_forget(const struct program *program, unsigned int ifindex);

/*
 * Add up over all CPUs the @count numbers that the entry of @ifindex begins
 * with; zeros if it is not counted.
 */
void program_read(const struct program *program, unsigned int ifindex,
		  uint64_t *totals, size_t count);

#endif
