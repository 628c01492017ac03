// SPDX-License-Identifier: MIT
#include "base/log_limit.h"

#include "base/clock.h"

#define LINE_INTERVAL_NS (10 * NS_PER_S)

bool log_limit_pass(struct log_limit *limit, uint64_t now_ns,
		    uint64_t *left_out)
{
	if (now_ns < limit->next_ns) {
		limit->left_out++;
		return false;
	}
	*left_out = limit->left_out;
	limit->left_out = 0;
	limit->next_ns = now_ns + LINE_INTERVAL_NS;
	return true;
}

bool log_budget_spend(struct log_budget *budget, uint64_t now_ns,
		      uint64_t *left_out)
{
	if (now_ns >= budget->second_ends_ns) {
		budget->second_ends_ns = now_ns + NS_PER_S;
		budget->lines = 0;
	}
	if (budget->lines == LOG_BUDGET_LINES) {
		budget->left_out++;
		return false;
	}
	budget->lines++;
	*left_out = budget->left_out;
	budget->left_out = 0;
	return true;
}
