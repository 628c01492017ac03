// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log_limit.h"

static void lets_a_line_pass_now_and_then(void **state)
{
	struct log_limit limit = { 0 };
	uint64_t left_out = 99;
	unsigned int passed = 0;

	(void)state;
	assert_true(log_limit_pass(&limit, NS_PER_S, &left_out));
	assert_int_equal(left_out, 0);
	for (uint64_t i = 1; i <= 1000; i++)
		passed += log_limit_pass(&limit, NS_PER_S + i, &left_out);
	assert_int_equal(passed, 0);

	assert_true(log_limit_pass(&limit, 100 * NS_PER_S, &left_out));
	assert_int_equal(left_out, 1000);
	assert_true(log_limit_pass(&limit, 200 * NS_PER_S, &left_out));
	assert_int_equal(left_out, 0);
}

static void budgets_a_second(void **state)
{
	struct log_budget budget = { 0 };
	const uint64_t begin = 5 * NS_PER_S;
	uint64_t left_out = 99;

	(void)state;
	for (int i = 0; i < LOG_BUDGET_LINES; i++) {
		assert_true(log_budget_spend(&budget, begin, &left_out));
		assert_int_equal(left_out, 0);
	}
	for (int i = 0; i < 7; i++)
		assert_false(log_budget_spend(&budget, begin + NS_PER_S - 1,
					      &left_out));
	assert_true(log_budget_spend(&budget, begin + NS_PER_S, &left_out));
	assert_int_equal(left_out, 7);
	assert_true(log_budget_spend(&budget, begin + NS_PER_S, &left_out));
	assert_int_equal(left_out, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lets_a_line_pass_now_and_then),
		cmocka_unit_test(budgets_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
