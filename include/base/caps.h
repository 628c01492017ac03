/* SPDX-License-Identifier: MIT */
/* The rights of this process (capabilities(7)). */
#ifndef BASE_CAPS_H
#define BASE_CAPS_H

#include <stdbool.h>

/* Is @capability (CAP_NET_ADMIN, ...) in effect? No, if that cannot be read. */
bool caps_have(int capability);

/*
 * Give up all for good: none can be had by execve() either. Called last, when
 * the ids have changed. 0 or negative errno.
 */
int caps_drop_all(void);
/* The first half of it, which itself needs a capability, and so comes before
 * the ids change. 0 or negative errno. */
int caps_drop_bounds(void);

#endif
