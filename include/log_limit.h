/* SPDX-License-Identifier: MIT */
/* A line that may be due thousands of times a second is written once in a
 * while, with the number of those left out. */
#ifndef LOG_LIMIT_H
#define LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised: the next line passes. */
struct log_limit {
	uint64_t next_ns;
	uint64_t left_out;
};

/* Is a line due at @now_ns? If so, @left_out is the number of those that were
 * not since the last one that was. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_ns,
		    uint64_t *left_out);

#endif
