/* SPDX-License-Identifier: MIT */
/* The steering program (bpf/steer.bpf.c), and the listeners that it steers
 * to. */
#ifndef REDIRECT_BPF_STEERING_H
#define REDIRECT_BPF_STEERING_H

#include <stdbool.h>

#include "listen/listener.h"
#include "redirect/bpf/program.h"
#include "redirect/redirect.h"

/* As program_load(); @lease_fd as in struct program_image. */
int steering_load(struct program *program, int lease_fd);

/* Where flows are steered to; a family that is -1 is not steered. 0 or
 * negative errno. */
int steering_set_listeners(const struct program *program,
			   const struct listeners *listeners);

/* Are handshakes under way that were steered to a listener on the port of
 * @config? */
bool steering_has_latecomers(const struct program *program,
			     const struct redirect_config *config);

#endif
