// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/deadline.h"

struct waiter {
	int before;
	struct deadline deadline;
	int after;
};

static void expire_in_order_of_arrival(void **state)
{
	struct deadline_queue queue;
	struct waiter waiters[3] = { 0 };

	(void)state;
	deadline_queue_init(&queue, 100);
	assert_int_equal(deadline_next(&queue), UINT64_MAX);
	for (uint64_t i = 0; i < 3; i++)
		deadline_start(&waiters[i].deadline, &queue, 10 * i);

	assert_int_equal(deadline_next(&queue), 100);
	assert_null(deadline_expired(&queue, 99));
	for (uint64_t i = 0; i < 3; i++) {
		struct deadline *expired = deadline_expired(&queue, 120);

		assert_ptr_equal(
			deadline_owner(expired, struct waiter, deadline),
			&waiters[i]);
	}
	assert_null(deadline_expired(&queue, UINT64_MAX));
	assert_int_equal(deadline_next(&queue), UINT64_MAX);
}

static void stop_and_start_anew(void **state)
{
	struct deadline_queue queue, other;
	struct waiter waiters[3] = { 0 };

	(void)state;
	deadline_queue_init(&queue, 100);
	deadline_queue_init(&other, 5);
	for (uint64_t i = 0; i < 3; i++)
		deadline_start(&waiters[i].deadline, &queue, 0);
	deadline_stop(&waiters[0].deadline);
	deadline_stop(&waiters[0].deadline);
	deadline_start(&waiters[1].deadline, &queue, 50);
	deadline_start(&waiters[2].deadline, &other, 50);

	assert_int_equal(deadline_next(&queue), 150);
	assert_int_equal(deadline_next(&other), 55);
	assert_ptr_equal(deadline_expired(&queue, 1000), &waiters[1].deadline);
	assert_null(deadline_expired(&queue, 1000));
	assert_ptr_equal(deadline_expired(&other, 55), &waiters[2].deadline);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expire_in_order_of_arrival),
		cmocka_unit_test(stop_and_start_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
