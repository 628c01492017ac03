/* SPDX-License-Identifier: MIT */
/*
 * Does handing off work on this host? Kernels differ in what they let a program
 * read, a RST do and a repair make; so it is tried, on loopback and a port of
 * its own, before the service's port is touched.
 */
#ifndef REDIRECT_BPF_SELFTEST_H
#define REDIRECT_BPF_SELFTEST_H

#include <stddef.h>

#include "redirect/bpf/handoff.h"

/*
 * An ordinary hello must stay with the server it was sent to, a challenge be
 * taken, with 100 kB right both ways after it. @handoff is loaded and attached
 * nowhere, and is so again. 0, or negative errno with what went wrong in @why.
 */
int selftest(struct handoff *handoff, char *why, size_t size);

#endif
