/* SPDX-License-Identifier: MIT */
/* Is anybody there? A connection that is made within a time, and says nothing. */
#ifndef BASE_DIAL_H
#define BASE_DIAL_H

#include <stdint.h>

#include "base/address.h"

/*
 * Connect to @endpoint until @deadline_ns of monotonic_ns(). 0 if somebody
 * answers, who then sees the connection end; -ETIMEDOUT if nobody does in time;
 * or negative errno: why not.
 */
int dial(const struct endpoint *endpoint, uint64_t deadline_ns);

#endif
