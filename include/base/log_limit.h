/* SPDX-License-Identifier: MIT */
/* Lines that may be due thousands of times a second are not all written, and
 * the number of those left out is. */
#ifndef BASE_LOG_LIMIT_H
#define BASE_LOG_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

/* For a line that says the same each time: one in ten seconds.
 * Zero-initialised: the next line passes. */
struct log_limit {
	uint64_t next_ns;
	uint64_t left_out;
};

/* Is a line due at @now_ns? If so, @left_out is the number of those that were
 * not since the last one that was. */
bool log_limit_pass(struct log_limit *limit, uint64_t now_ns,
		    uint64_t *left_out);

/* For lines that each say something else: so many in a second. */
#define LOG_BUDGET_LINES 1000

/* Zero-initialised and owned by the caller. */
struct log_budget {
	uint64_t second_ends_ns;
	unsigned int lines;
	uint64_t left_out;
};

/* May a line be written at @now_ns? If so, @left_out is the number of those
 * that were not since the last one that was. */
bool log_budget_spend(struct log_budget *budget, uint64_t now_ns,
		      uint64_t *left_out);

#endif
