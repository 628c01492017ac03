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
	int interfaces_fd;
	int destinations_fd;
	/* The page that the worker keeps, see struct redirect_ops. */
	volatile uint64_t *lease;
};

/* From here on libbpf's messages go to our log, as those of level debug. */
void program_log_libbpf(void);

/* The same, and: may this process load programs at all? 0, or -EPERM with what
 * is missing in @reason. */
int program_may_load(char *reason, size_t size);
/* Why program_load() failed with @err, in one line. */
void program_explain_refusal(int err, char *reason, size_t size);

/*
 * Load the object whose ELF image is @size bytes of @image, with the first
 * program in it, switched off. @config's clock is filled in here. Returns 0 or
 * negative errno; -EPERM and others as the kernel says, nothing stays then.
 */
int program_load(struct program *program, const void *image, size_t size,
		 struct program_config config);
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

/* What was counted on @ifindex, summed over CPUs; zeros if nothing was. */
struct steer_counters program_read(const struct program *program,
				   unsigned int ifindex);

#endif
